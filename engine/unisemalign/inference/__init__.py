"""From a network and a slide to a map of classes, confidence and doubt. Imports torch."""

from unisemalign.inference.bands import Band, iter_bands, predict_rect
from unisemalign.inference.predictor import Predictor
from unisemalign.inference.scoring import ScoredRegion, predict_split, score_split
from unisemalign.inference.segmenting import load_predictor, segment_slide

__all__ = [
    "Band",
    "Predictor",
    "ScoredRegion",
    "iter_bands",
    "load_predictor",
    "predict_rect",
    "predict_split",
    "score_split",
    "segment_slide",
]
