"""Scores on held-out regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.inference.adapting import adapted
from unisemalign.inference.bands import no_progress, predict_rect
from unisemalign.inference.predictor import Predictor
from unisemalign.metrics import Scores
from unisemalign.project import Cleaning, Project, RegionState, Split
from unisemalign.slides import SpacedSlide, TissueMask


@dataclass(frozen=True)
class ScoredRegion:
    """An accepted region beside what a predictor says of it.

    Attributes
    ----------
    slide
        The slide's name.
    rect
        In working pixels of the slide.
    predicted, truth
        Class indices ``(Y, X)`` uint8 of shape ``rect.shape``; 255 = not predicted, not labelled.
    """

    slide: str
    rect: Rect
    predicted: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def predict_split(
    project: Project,
    predictor: Predictor,
    split: Split,
    *,
    slides: dict[str, SpacedSlide] | None = None,
    on_region: Callable[[int, int], None] = no_progress,
) -> Iterator[ScoredRegion]:
    """Label every accepted region of ``split`` beside its truth.

    With ``inference.skip_glass`` neither is there on glass: what a map leaves out is not scored.

    Parameters
    ----------
    project
        Holds the regions and their labels.
    predictor
        Labels each region.
    split
        Which regions.
    slides
        Slides opened before, by name; what is opened here is added, for the next call.
    on_region
        Called with (regions done, regions in all) once a region has been used. May raise, to stop.
    """
    opened = {} if slides is None else slides
    regions = project.regions(state=RegionState.ACCEPTED, split=split)
    for name in dict.fromkeys(region.slide for region in regions):
        project.check_labels(name)
    skip = predictor.settings.inference.skip_glass
    tissue: dict[str, TissueMask] = {}
    for index, region in enumerate(regions):
        if region.slide not in opened:
            opened[region.slide] = project.open_slide(region.slide)
        slide = opened[region.slide]
        band = predict_rect(slide, adapted(predictor, slide, None), region.rect)
        truth = project.labels(region.slide).read(band.rect)
        if skip and region.slide not in tissue:
            tissue[region.slide] = project.tissue(region.slide, slide)
        glass = tissue[region.slide].glass_in(band.rect) if skip else None
        if glass is not None:
            band.classes[glass] = truth[glass] = 0
        # 0 (not predicted, not labelled) becomes 255 on both sides: uint8 wraps.
        yield ScoredRegion(region.slide, band.rect, band.classes - np.uint8(1), truth - np.uint8(1))
        on_region(index + 1, len(regions))


def score_split(
    project: Project,
    predictor: Predictor,
    split: Split,
    *,
    slides: dict[str, SpacedSlide] | None = None,
    on_region: Callable[[int, int], None] = no_progress,
    cleaning: Cleaning | None = None,
) -> Scores:
    """Compare the predictor with every accepted region of ``split`` (methods.md A7).

    The parameters are :func:`predict_split`'s; ``cleaning`` drops specks and holes of what is
    predicted before it is compared. Object scores cost about as much as pixel
    scores (some 12 ms for 775 × 522 px), so training's validations compute them too.
    """
    # Of a class that was added since the round learned nothing is found.
    scores = Scores(max(predictor.n_classes, len(project.info.classes)))
    for region in predict_split(project, predictor, split, slides=slides, on_region=on_region):
        predicted = region.predicted
        if cleaning:
            predicted = cleaning.apply(predicted + np.uint8(1)) - np.uint8(1)  # 255 is 0 and back
        scores.add(predicted, region.truth)
    return scores
