"""Scores on held-out regions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unisemalign.inference.bands import predict_rect
from unisemalign.inference.predictor import Predictor
from unisemalign.metrics import IGNORE, OverlapScores
from unisemalign.project import Project, RegionState, Split
from unisemalign.slides import SpacedSlide


def _ignore(_done: int, _total: int) -> None:
    """Take progress and do nothing."""


def score_split(
    project: Project,
    predictor: Predictor,
    split: Split,
    *,
    slides: dict[str, SpacedSlide] | None = None,
    on_region: Callable[[int, int], None] = _ignore,
) -> OverlapScores:
    """Compare the predictor with every accepted region of ``split`` (METHODS A7).

    Parameters
    ----------
    project
        Holds the regions and their labels.
    predictor
        Labels each region, glass included.
    split
        Which regions.
    slides
        Slides opened before, by name; what is opened here is added, for the next call.
    on_region
        Called with (regions done, regions in all). May raise, to stop.
    """
    opened = {} if slides is None else slides
    scores = OverlapScores(predictor.n_classes)
    regions = project.regions(state=RegionState.ACCEPTED, split=split)
    for index, region in enumerate(regions):
        if region.slide not in opened:
            opened[region.slide] = project.open_slide(region.slide)
        slide = opened[region.slide]
        band = predict_rect(slide, predictor, region.rect)
        truth = project.labels(region.slide).read(band.rect)
        # 0 (not predicted, not labelled) becomes 255 on both sides.
        scores.add(
            (band.classes - np.uint8(1)), np.where(truth == 0, IGNORE, truth - 1).astype(np.uint8)
        )
        on_region(index + 1, len(regions))
    return scores
