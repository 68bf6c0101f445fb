"""Windows, blended in a band buffer: memory grows with the width of what is labelled only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect, iter_windows
from unisemalign.inference.predictor import Predictor
from unisemalign.slides import SpacedSlide, TissueMask
from unisemalign.slides.padding import read_padded

BAND_STEP_PX = 512
"""Finished rows leave the buffer in multiples of this: whole chunks of the prediction store."""


@dataclass(frozen=True)
class Band:
    """Finished rows of a prediction, all uint8 of shape ``rect.shape``.

    ``classes``: 0 = not predicted, k = class k. ``confidence``: 0…255. ``disagreement``: 0 none,
    1 prototypes disagree with the decoder, 2 words disagree, 3 both.
    """

    rect: Rect
    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    disagreement: NDArray[np.uint8]


def _ignore(_done: int, _total: int) -> None:
    """Take progress and do nothing."""


def iter_bands(
    slide: SpacedSlide,
    predictor: Predictor,
    rect: Rect | None = None,
    *,
    tissue: TissueMask | None = None,
    start_row: int = 0,
    on_window: Callable[[int, int], None] = _ignore,
) -> Iterator[Band]:
    """Label ``rect`` of a slide, top to bottom.

    The windows are those of the whole slide's grid, so a rectangle gets the very
    labels it gets when the whole slide is done, however it is cut.

    Parameters
    ----------
    slide
        Read at working spacing.
    predictor
        Labels windows.
    rect
        What to label; ``None``: the whole slide.
    tissue
        Windows without tissue are left unpredicted; ``None`` labels every window.
    start_row
        Rows above are finished already (a multiple of :data:`BAND_STEP_PX`, or ``rect.y``).
    on_window
        Called with (windows done, windows in all) after each batch. May raise, to stop.
    """
    whole = Rect(0, 0, *slide.shape_yx)
    target = whole if rect is None else rect.intersect(whole)
    target = Rect(
        max(target.y, start_row), target.x, max(0, target.y1 - max(target.y, start_row)), target.w
    )
    if target.area == 0:
        return
    inference = predictor.settings.inference
    windows = [
        w
        for w in iter_windows(
            slide.shape_yx,
            inference.window_px,
            inference.stride_px,
            whole=inference.whole_windows,
        )
        if w.intersect(target).area > 0
    ]
    rows = [list(row) for _, row in groupby(windows, key=lambda w: w.y)]
    buffer = _Buffer(target, predictor)
    done = 0
    for index, row in enumerate(rows):
        wanted = [w for w in row if tissue is None or tissue.fraction(w.intersect(whole)) > 0]
        for first in range(0, len(wanted), inference.batch_windows):
            some = wanted[first : first + inference.batch_windows]
            buffer.add(some, predictor(_read(slide, some, predictor)))
            on_window(done + first + len(some), len(windows))
        done += len(row)
        on_window(done, len(windows))
        finished = rows[index + 1][0].y if index + 1 < len(rows) else target.y1
        yield from buffer.take(finished)


def predict_rect(slide: SpacedSlide, predictor: Predictor, rect: Rect) -> Band:
    """Label ``rect`` in memory, glass included."""
    bands = list(iter_bands(slide, predictor, rect))
    return Band(
        Rect(bands[0].rect.y, bands[0].rect.x, sum(b.rect.h for b in bands), bands[0].rect.w),
        np.concatenate([b.classes for b in bands]),
        np.concatenate([b.confidence for b in bands]),
        np.concatenate([b.disagreement for b in bands]),
    )


class _Buffer:
    """Sums of weighted windows over the rows that are not finished yet."""

    def __init__(self, target: Rect, predictor: Predictor) -> None:
        self._target = target
        self._predictor = predictor
        self._n_classes = predictor.n_classes
        self._top = target.y
        rows = min(target.h, predictor.settings.inference.window_px + BAND_STEP_PX)
        self._sums = np.zeros((self._n_classes + 2, rows, target.w), np.float32)
        self._weight = np.zeros((rows, target.w), np.float32)

    def add(self, windows: list[Rect], outputs: NDArray[np.float32]) -> None:
        """Add outputs ``(B, C + 2, H, W)`` of ``windows``."""
        area = Rect(self._top, self._target.x, self._target.y1 - self._top, self._target.w)
        for window, output in zip(windows, outputs, strict=True):
            part = window.intersect(area)
            ys, xs = part.relative_to(window).slices
            to_y, to_x = part.relative_to(area).slices
            weights = self._predictor.weights[ys, xs]
            self._sums[:, to_y, to_x] += output[:, ys, xs] * weights
            self._weight[to_y, to_x] += weights

    def take(self, finished: int) -> Iterator[Band]:
        """Yield the rows above ``finished`` that make whole steps, and forget them."""
        end = self._target.y1
        upto = end if finished >= end else finished // BAND_STEP_PX * BAND_STEP_PX
        if upto <= self._top:
            return
        rows = upto - self._top
        yield self._band(rows)
        self._top = upto
        for plane in (*self._sums, self._weight):
            plane[:-rows] = plane[rows:].copy()
            plane[-rows:] = 0

    def _band(self, rows: int) -> Band:
        c = self._n_classes
        weight = self._weight[:rows]
        seen = weight > 0
        mean = self._sums[:, :rows] / np.where(seen, weight, 1)
        classes = np.where(seen, mean[:c].argmax(0) + 1, 0).astype(np.uint8)
        confidence = np.where(seen, np.rint(mean[:c].max(0) * 255), 0).astype(np.uint8)
        disagreement = (mean[c] > 0.5).astype(np.uint8) + 2 * (mean[c + 1] > 0.5).astype(np.uint8)
        rect = Rect(self._top, self._target.x, rows, self._target.w)
        return Band(rect, classes, confidence, np.where(seen, disagreement, 0).astype(np.uint8))


def _read(slide: SpacedSlide, windows: list[Rect], predictor: Predictor) -> NDArray[np.uint8]:
    # "zero" padding is zero after normalisation (METHODS A7): the mean colour before it.
    mean = predictor.network.encoder.mean
    fill = (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2]))
    pad = predictor.settings.views.pad
    return np.stack([read_padded(slide, w, pad, fill) for w in windows])
