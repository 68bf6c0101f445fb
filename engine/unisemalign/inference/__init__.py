"""From a network and a slide to a map of classes, confidence and doubt. Imports torch."""

from unisemalign.inference.bands import iter_bands, predict_rect
from unisemalign.inference.blending import Band
from unisemalign.inference.loading import load_predictor
from unisemalign.inference.model_files import create_from_model
from unisemalign.inference.plan import Plan
from unisemalign.inference.predictor import Predictor
from unisemalign.inference.probabilities import export_probabilities
from unisemalign.inference.recent_windows import RecentWindows
from unisemalign.inference.scoring import ScoredRegion, predict_split, score_split
from unisemalign.inference.segmenting import (
    OpenedSlide,
    SegmentJob,
    open_for_segmenting,
    segment_slide,
)
from unisemalign.inference.standalone import StandaloneModel, export_model

__all__ = [
    "Band",
    "OpenedSlide",
    "Plan",
    "Predictor",
    "RecentWindows",
    "ScoredRegion",
    "SegmentJob",
    "StandaloneModel",
    "create_from_model",
    "export_model",
    "export_probabilities",
    "iter_bands",
    "load_predictor",
    "open_for_segmenting",
    "predict_rect",
    "predict_split",
    "score_split",
    "segment_slide",
]
