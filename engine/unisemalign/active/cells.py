"""Sums over a grid of cells of a prediction, read from a coarse level by bands of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.project import PredictionStore

_BAND_PX = 4_000_000
"""Pixels of one array read at a time."""

_WANTED_PX = 16
"""A cell's side on the level that is read: enough to tell, little enough for a huge slide."""


_PLANES = ("pixels", "predicted", "doubt", "disagreement", "borders", "changed")
"""The sums of a cell, but for those of its classes, in the order they are taken."""


@dataclass(frozen=True)
class CellSums:
    """Sums over cells of ``cell_px`` (working pixels), each ``(rows, columns)`` float64.

    Attributes
    ----------
    pixels
        Pixels of the level read that lie in the cell.
    predicted
        Those with a prediction.
    doubt
        Sum of 1 − confidence over the predicted ones.
    disagreement
        Predicted ones on which prototypes or words disagree with the decoder.
    borders
        Predicted ones with another class right of or below them.
    changed
        Predicted ones of another class than an older prediction says.
    classes
        Predicted ones of each class, ``(C, rows, columns)``.
    """

    cell_px: int
    pixels: NDArray[np.float64]
    predicted: NDArray[np.float64]
    doubt: NDArray[np.float64]
    disagreement: NDArray[np.float64]
    borders: NDArray[np.float64]
    changed: NDArray[np.float64]
    classes: NDArray[np.float64]


def sum_cells(
    store: PredictionStore, cell_px: int, n_classes: int, older: PredictionStore | None = None
) -> CellSums:
    """Return the sums of ``store`` over cells of ``cell_px``; the last ones may be cut.

    ``older`` is a prediction of the same slide by an earlier round; without one nothing changed.
    """
    level = _level(store, cell_px)
    scale = 2**level
    h, w = store.shape_yx
    rows, columns = -(-h // cell_px), -(-w // cell_px)
    level_h, level_w = store.levels("class")[level].shape
    row_starts = _starts(rows, cell_px, scale, level_h)
    column_starts = _starts(columns, cell_px, scale, level_w)
    sums = np.zeros((len(_PLANES) + n_classes, rows, columns))
    for first, last in _bands(row_starts, level_h, level_w):
        y = row_starts[first]
        y1 = row_starts[last] if last < rows else level_h
        inner = row_starts[first:last] - y
        for place, plane in enumerate(_planes(store, older, level, y, y1, n_classes)):
            sums[place, first:last] = np.add.reduceat(
                np.add.reduceat(plane.astype(np.float32), inner, axis=0), column_starts, axis=1
            )
    return CellSums(
        cell_px=cell_px, classes=sums[len(_PLANES) :], **dict(zip(_PLANES, sums, strict=False))
    )


def _level(store: PredictionStore, cell_px: int) -> int:
    level = 0
    while level + 1 < store.n_levels and cell_px / 2 ** (level + 1) >= _WANTED_PX:
        level += 1
    return level


def _starts(count: int, cell_px: int, scale: int, length: int) -> NDArray[np.int64]:
    # A cell at the very edge may be thinner than a pixel of this level: it then shares the last.
    return np.minimum(np.arange(count) * cell_px // scale, length - 1)


def _bands(starts: NDArray[np.int64], height: int, width: int) -> Iterator[tuple[int, int]]:
    edges = [*starts.tolist(), height]
    first = 0
    for last in range(1, len(edges)):
        full = last == len(edges) - 1 or (edges[last + 1] - edges[first]) * width > _BAND_PX
        if full:
            yield first, last
            first = last


def _planes(
    store: PredictionStore,
    older: PredictionStore | None,
    level: int,
    y: int,
    y1: int,
    n_classes: int,
) -> Iterator[NDArray[Any]]:
    """Yield what :class:`CellSums` holds the sums of, of rows y…y1, each ``(h, w)``, in order."""
    classes = _rows(store.levels("class")[level], y, y1)
    predicted = classes > 0
    yield np.ones_like(predicted)
    yield predicted
    confidence = _rows(store.levels("confidence")[level], y, y1)
    yield np.where(predicted, 1 - confidence.astype(np.float32) / 255, 0)
    yield predicted & (_rows(store.levels("disagreement")[level], y, y1) > 0)
    yield borders(classes)
    before = classes if older is None else _rows(older.levels("class")[level], y, y1)
    yield predicted & (before > 0) & (before != classes)
    for value in range(1, n_classes + 1):
        yield classes == value


def borders(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a predicted pixel meets another class right of or below it, ``(h, w)``."""
    found = np.zeros(classes.shape, bool)
    for here, there, where in (
        (classes[:, :-1], classes[:, 1:], found[:, :-1]),
        (classes[:-1], classes[1:], found[:-1]),
    ):
        where |= (here != there) & (here > 0) & (there > 0)
    return found


def _rows(array: zarr.Array[Any], y: int, y1: int) -> NDArray[np.uint8]:
    return np.asarray(array[slice(y, y1), :], np.uint8)


def tile_sums(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over squares of two by two cells, one for every place they fit.

    A grid of one row or column gives tiles of that row or column alone.
    """
    down = cells[:-1] + cells[1:] if cells.shape[0] > 1 else cells
    return down[:, :-1] + down[:, 1:] if down.shape[1] > 1 else down


def tile_rect(row: int, column: int, cell_px: int, size_px: int, shape_yx: tuple[int, int]) -> Rect:
    """Return the rectangle of a tile of :func:`tile_sums`, moved in at the far edges."""
    h, w = min(size_px, shape_yx[0]), min(size_px, shape_yx[1])
    y, x = min(row * cell_px, shape_yx[0] - h), min(column * cell_px, shape_yx[1] - w)
    return Rect(y, x, h, w)
