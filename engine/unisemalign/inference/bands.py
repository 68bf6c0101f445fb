"""Windows in, bands out: memory grows with neither the slide's height nor its width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.inference.blending import Band, Blend
from unisemalign.inference.plan import Plan, Run
from unisemalign.inference.predictor import Predictor
from unisemalign.slides import TissueMask
from unisemalign.slides.padding import Readable, read_padded
from unisemalign.slides.prefetch import Prefetch


def no_progress(_done: int, _total: int) -> None:
    """Take progress and do nothing."""


@dataclass(frozen=True)
class _Row:
    """A row of a run's windows: how many, those to label, and where the unfinished rows begin."""

    run: Run
    count: int
    wanted: list[Rect]
    finished: int


def iter_bands(
    source: Prefetch,
    predictor: Predictor,
    plan: Plan,
    *,
    tissue: TissueMask | None = None,
    on_window: Callable[[int, int], None] = no_progress,
    probabilities: bool = False,
) -> Iterator[Band]:
    """Label what ``plan`` says of a slide, band after band.

    The windows are those of the whole slide's grid, so a rectangle gets the very
    labels it gets when the whole slide is done, however it is cut.

    Parameters
    ----------
    source
        Reads the slide ahead of the network.
    predictor
        Labels windows.
    plan
        What to label, in which order.
    tissue
        Every pixel that is none is left unpredicted; ``None`` labels everything.
    on_window
        Called with (windows done, windows in all) after each batch. May raise, to stop.
    probabilities
        Give bands the probability of each class too.
    """
    whole = Rect(0, 0, *source.shape_yx)

    def rows() -> Iterator[tuple[_Row, list[Rect], Rect]]:
        for run in plan.runs():
            ends = [*(row[0].y for row in run.rows[1:]), run.rect.y1]
            for row, end in zip(run.rows, ends, strict=True):
                inside = [w.intersect(whole) for w in row]
                keep = [tissue is None or tissue.fraction(part) > 0 for part in inside]
                wanted = [w for w, kept in zip(row, keep, strict=True) if kept]
                read = [part for part, kept in zip(inside, keep, strict=True) if kept]
                yield _Row(run, len(row), wanted, end), read, run.extent

    done, total = 0, plan.total
    blend: Blend | None = None
    for row in source.fetched(rows()):
        if blend is None or blend.rect != row.run.rect:
            blend = Blend(
                row.run.rect,
                predictor.n_classes,
                predictor.weights,
                probabilities=probabilities,
            )
        first = 0
        while first < len(row.wanted):
            some = row.wanted[first : first + predictor.batch_windows]
            blend.add(some, predictor(_read(source, some, predictor)))
            first += len(some)
            on_window(done + first, total)
        done += row.count
        on_window(done, total)
        for band in blend.take(row.finished):
            yield _without(band, source.unreadable, tissue)


def predict_rect(slide: Readable, predictor: Predictor, rect: Rect) -> Band:
    """Label ``rect`` in memory, glass included."""
    plan = Plan(slide.shape_yx, predictor.settings.inference, rect)
    target = plan.target
    planes = np.zeros((3, *target.shape), np.uint8)
    with Prefetch(slide) as source:
        for band in iter_bands(source, predictor, plan):
            ys, xs = band.rect.relative_to(target).slices
            planes[:, ys, xs] = band.classes, band.confidence, band.disagreement
    return Band(target, *planes)


def _without(band: Band, unreadable: list[Rect], tissue: TissueMask | None) -> Band:
    """Return ``band``, unlabelled where the slide could not be read or is no tissue."""
    more = () if band.probabilities is None else band.probabilities
    planes = (band.classes, band.confidence, band.disagreement, *more)
    for rect in unreadable:
        hidden = rect.intersect(band.rect)
        if hidden.area:
            for plane in planes:
                plane[hidden.relative_to(band.rect).slices] = 0
    glass = None if tissue is None else tissue.glass_in(band.rect)
    if glass is not None:
        for plane in planes:
            plane[glass] = 0
    return band


def _read(source: Prefetch, windows: list[Rect], predictor: Predictor) -> NDArray[np.uint8]:
    # "zero" padding is zero after normalisation (methods.md A7): the mean colour before it.
    mean = predictor.network.encoder.mean
    fill = (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2]))
    pad = predictor.settings.views.pad
    return np.stack([read_padded(source, w, pad, fill) for w in windows])
