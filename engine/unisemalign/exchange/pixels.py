"""What is exported: a person's labels, a round's prediction, or the best of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import DataError, SlideError
from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE
from unisemalign.project import (
    CleanedMap,
    Cleaning,
    LabelStore,
    PredictionStore,
    Project,
    SlideRecord,
)
from unisemalign.project.pyramid import halve_majority, halve_mean
from unisemalign.project.stored_arrays import CHUNK_PX
from unisemalign.terms import Source as Source
from unisemalign.terms import What as What

INDEX_NOTE = "class index, 255 = ignore"
"""Written into exported masks, so that one of 0 and 255 alone is not taken for black and white."""


NOTES: dict[What, str] = {
    "class": INDEX_NOTE,
    "confidence": "confidence in the predicted class, 0 = not predicted, 255 = sure",
    "disagreement": "0 = none, 1 = prototypes, 2 = words, 3 = both disagree with the decoder",
    "origin": "origin of labels: 0 = none, 1 = drawn, 2 = corrected, 3 = accepted, 4 = imported",
}
"""What the numbers of a result mean, written into it."""

BAND_PX = CHUNK_PX
"""Rows read at a time: the height of a chunk."""


@dataclass(frozen=True)
class ExportPixels:
    """The label values of one slide as they are to leave the project.

    Attributes
    ----------
    slide
        The slide.
    downsample
        Pixels of level 0 per working pixel, along either axis.
    level_0
        Returns ``(height, width)`` of the slide's finest level.
    cleaned
        The prediction without specks and holes; ``None``: it is taken as it is. What a person drew
        is never cleaned.
    what
        What :meth:`file_values` are.
    round
        The round the prediction comes from; ``None`` when labels alone are exported.
    """

    slide: SlideRecord
    downsample: float
    round: int | None
    labels: LabelStore | None
    prediction: PredictionStore | None
    level_0: Callable[[], tuple[int, int]] | None = None
    cleaned: CleanedMap | None = None
    what: What = "class"

    @property
    def shape_yx(self) -> tuple[int, int]:
        """``(height, width)`` at working spacing."""
        return self.slide.shape_yx

    @property
    def level_0_yx(self) -> tuple[int, int]:
        """``(height, width)`` of the slide's finest level; as it must be where its file is gone."""
        try:
            if self.level_0 is not None:
                return self.level_0()
        except SlideError:
            pass  # told by whatever needs the slide's own pixels; an export needs only its size
        h, w = (max(1, round(side * self.downsample)) for side in self.shape_yx)
        return h, w

    @property
    def empty(self) -> bool:
        """Whether there is neither a label nor a prediction."""
        stores = [self.labels.labelled_rects()] if self.labels is not None else []
        if self.prediction is not None:
            stores.append(self.prediction.predicted_rects())
        return not any(stores)

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return label values 0…C, ``(h, w)``; 0 where nobody said anything, and outside."""
        drawn = None if self.labels is None else self.labels.read(rect)
        if self.prediction is None:
            return np.zeros(rect.shape, np.uint8) if drawn is None else drawn
        store = self.prediction
        predicted = self.cleaned.read(rect) if self.cleaned else store.read(rect, "class")
        return predicted if drawn is None else np.where(drawn > 0, drawn, predicted)

    def file_values(self, rect: Rect) -> NDArray[np.uint8]:
        """Return what a result holds under ``rect``, ``(h, w)``; see :data:`NOTES`."""
        if self.what == "class":
            return file_values(self.read(rect))
        if self.what == "origin":
            return (
                np.zeros(rect.shape, np.uint8) if not self.labels else self.labels.read_origin(rect)
            )
        store = self.prediction
        return np.zeros(rect.shape, np.uint8) if store is None else store.read(rect, self.what)

    def halved(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return file values at half the scale."""
        if self.what == "class":
            # Counted as labels, where "nobody said anything" loses a tie.
            return file_values(halve_majority(values + np.uint8(1)))
        if self.what == "confidence":
            return halve_mean(values, values > 0)
        return halve_majority(values)

    @property
    def nothing(self) -> int:
        """The file value of a pixel of which nothing is known."""
        return IGNORE if self.what == "class" else 0

    def iter_file_bands(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the file values in bands of whole rows, top to bottom."""
        h, w = self.shape_yx
        for y in range(0, h, BAND_PX):
            yield self.file_values(Rect(y, 0, min(BAND_PX, h - y), w))

    def iter_bands(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the label values in bands of whole rows, top to bottom."""
        h, w = self.shape_yx
        for y in range(0, h, BAND_PX):
            yield self.read(Rect(y, 0, min(BAND_PX, h - y), w))


def export_pixels(
    project: Project,
    slide: SlideRecord,
    source: Source,
    round_number: int | None,
    cleaning: Cleaning | None = None,
    what: What = "class",
) -> ExportPixels:
    """Open what ``source`` means for a slide.

    Without ``round_number`` the newest round that has a prediction of the slide is taken.

    Raises
    ------
    DataError
        If ``source`` is unknown.
    ProjectError
        If there is no such round.
    """
    if source not in get_args(Source):
        raise DataError(
            f"What to export needs to be one of {', '.join(get_args(Source))}, found '{source}'."
        )
    if what != "class":
        source = "labels" if what == "origin" else "prediction"
    store = None
    if source != "labels":
        round_number, store = _prediction(project, slide.name, round_number)
    return ExportPixels(
        slide=slide,
        downsample=project.info.spacing_um / slide.spacing_um,
        round=round_number if store is not None else None,
        labels=None if source == "prediction" else project.labels(slide.name),
        prediction=store,
        level_0=partial(level_0_shape, project, slide.name),
        cleaned=(
            CleanedMap(partial(_read_class, store), slide.shape_yx, cleaning)
            if cleaning and store is not None
            else None
        ),
        what=what,
    )


def _read_class(store: PredictionStore, rect: Rect) -> NDArray[np.uint8]:
    return store.read(rect, "class")


def level_0_shape(project: Project, name: str) -> tuple[int, int]:
    """Return ``(height, width)`` of a slide's finest level; :class:`SlideError` if it is gone."""
    spaced = project.open_slide(name)
    spaced.slide.close()
    return spaced.slide.shape_yx


def present(values: NDArray[np.uint8]) -> set[int]:
    """Return the values that occur in ``values``, ``(Y, X)``."""
    found: set[int] = set()
    # By bands: counting takes eight times the memory of what is counted.
    for y in range(0, values.shape[0], BAND_PX):
        counts = np.bincount(values[y : y + BAND_PX].ravel())
        found.update(np.flatnonzero(counts).tolist())
    return found


def file_values(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return label values (0 = not labelled, k) as file values (255 = ignore, k − 1)."""
    # uint8 wraps: 0 − 1 is 255, the field's value for ignore.
    return labels - np.uint8(1)


def _prediction(
    project: Project, name: str, round_number: int | None
) -> tuple[int | None, PredictionStore | None]:
    if round_number is not None:
        project.round(round_number)  # says so where there is no such round
        if not project.has_prediction(round_number, name):
            return round_number, None
        return round_number, project.predictions(round_number, name)
    newest = next(iter(project.predicted_rounds(name)), None)
    return newest, None if newest is None else project.predictions(newest, name)
