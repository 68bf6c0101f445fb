"""What an export would write, said before it writes: each slide, its round, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import DataError, UnisemalignError
from unisemalign.exchange.pixels import ExportPixels, Source, What, export_pixels
from unisemalign.project import Cleaning, LabelStore, PredictionStore, Project
from unisemalign.protocol import LeftOutSlide, PlannedSlide

_LOOK_UM = 8.0
"""Pixel size at which it is counted how much is covered."""


@dataclass(frozen=True)
class ExportPlan:
    """What an export writes, and what it leaves out.

    Attributes
    ----------
    slides
        What is written of each slide, and into which result.
    left_out
        Slides with nothing to write, and why.
    pixels
        Of the slides that are written, in their order.
    """

    slides: tuple[PlannedSlide, ...]
    left_out: tuple[LeftOutSlide, ...]
    pixels: tuple[ExportPixels, ...]


def planned_sentence(planned: PlannedSlide) -> str:
    """Say what will be written of a slide."""
    made = "labels alone" if planned.round is None else f"round {planned.round}"
    return (
        f"{planned.slide} → {planned.result}: {made}, {_percent(planned.labelled)} labelled, "
        f"{_percent(planned.covered)} of the {planned.of} covered."
    )


def plan_slides(
    project: Project,
    result_of: dict[str, str],
    source: Source,
    names: Sequence[str] | None,
    number: int | None,
    cleaning: Cleaning | None = None,
    what: What = "class",
) -> ExportPlan:
    """Look at what there is to export, and write nothing.

    Parameters
    ----------
    project
        Where it comes from.
    result_of
        Name of a slide → name of the result it goes into.
    source, names, number, cleaning, what
        As :func:`~unisemalign.exchange.export_labels` takes them.

    Raises
    ------
    DataError
        If the source is unknown, or there is nothing to export, of all slides or of one that was
        named.
    ProjectError
        If a slide or the round is missing, or labels are lost that the journal holds.
    """
    wanted = project.slides() if names is None else [project.slide(name) for name in names]
    planned, pixels, left_out = [], [], []
    for slide in wanted:
        if source != "prediction" or what == "origin":
            project.check_labels(slide.name)
        found = export_pixels(project, slide, source, number, cleaning, what)
        if not found.empty:
            planned.append(_planned(project, found, result_of[slide.name]))
            pixels.append(found)
        elif names is None:
            why = f"Slide '{slide.name}' has nothing to export yet."
            left_out.append(LeftOutSlide(slide=slide.name, why=why))
        else:
            wanted_of_it = "a prediction" if source == "prediction" else "labels or a prediction"
            raise DataError(
                f"An export of slide '{slide.name}' needs {wanted_of_it}, found none. Label or "
                f"segment it first."
            )
    if not pixels:
        raise DataError(
            f"An export needs at least one slide with labels or a prediction, found "
            f"{len(wanted)} slides without. Label or segment one first."
        )
    return ExportPlan(tuple(planned), tuple(left_out), tuple(pixels))


def _planned(project: Project, pixels: ExportPixels, result: str) -> PlannedSlide:
    factor = max(1.0, _LOOK_UM / project.info.spacing_um)
    shape = tuple(max(1, round(side / factor)) for side in pixels.shape_yx)
    where, of = np.ones(shape, bool), "slide"
    try:
        tissue = project.tissue(pixels.slide.name).mask
    except (UnisemalignError, OSError):
        pass  # the slide's file has moved, or the like: what there is can be exported all the same
    else:
        if tissue.any():
            where, of = tissue, "tissue"
    labelled = np.zeros(where.shape, bool)
    predicted = np.zeros(where.shape, bool)
    if pixels.labels is not None:
        _look_at_labels(pixels.labels, labelled)
    if pixels.prediction is not None:
        _look_at_prediction(pixels.prediction, predicted)
    total = int(where.sum())
    return PlannedSlide(
        slide=pixels.slide.name,
        result=result,
        round=pixels.round,
        labelled=float((labelled & where).sum() / total),
        covered=float(((labelled | predicted) & where).sum() / total),
        of=of,
    )


def _look_at_labels(store: LabelStore, out: NDArray[np.bool_]) -> None:
    """Set the pixels of ``out``, a smaller picture of the slide, that are labelled."""
    ys, xs = (_centres(n, full) for n, full in zip(out.shape, store.shape_yx, strict=True))
    for rect in store.labelled_rects():
        y0, y1 = np.searchsorted(ys, (rect.y, rect.y1))
        x0, x1 = np.searchsorted(xs, (rect.x, rect.x1))
        if y1 > y0 and x1 > x0:
            here = store.read(rect)[ys[y0:y1, None] - rect.y, xs[x0:x1] - rect.x]
            out[y0:y1, x0:x1] = here > 0


def _look_at_prediction(store: PredictionStore, out: NDArray[np.bool_]) -> None:
    """Set the pixels of ``out``, a smaller picture of the slide, that are predicted."""
    factor = max(1.0, store.shape_yx[0] / out.shape[0])
    level = min(store.n_levels - 1, int(math.log2(factor)))
    array = store.levels("class")[level]
    ys, xs = (_centres(n, full) for n, full in zip(out.shape, array.shape, strict=True))
    for y in np.unique(ys // array.chunks[0]):
        rows = np.flatnonzero(ys // array.chunks[0] == y)
        band = np.asarray(array[ys[rows[0]] : ys[rows[-1]] + 1], np.uint8)
        out[rows[0] : rows[-1] + 1] = band[ys[rows, None] - ys[rows[0]], xs] > 0


def _centres(n: int, full: int) -> NDArray[np.int64]:
    """Return the pixel, of ``full``, in the middle of each of ``n`` equal parts."""
    return np.minimum(((np.arange(n) + 0.5) * full / n).astype(np.int64), full - 1)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1 %"
    return "over 99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %"
