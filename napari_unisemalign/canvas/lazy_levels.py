"""Lazy arrays for read-only layers: labels of a whole slide, predictions, and doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.project import LabelStore, PredictionStore
from unisemalign.project.predictions import Plane
from unisemalign.project.pyramid import COARSEST_PX

Pixels = NDArray[np.uint8]


class LabelLevel:
    """The labels of a slide, or their origins, every ``step``-th pixel.

    Looks like an array ``(y, x)`` of uint8.

    Only chunks that hold labels are read, so that a coarse look at a huge slide stays cheap.

    Attributes
    ----------
    labelled
        The chunks that hold labels; whoever writes labels brings it up to date.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(
        self, store: LabelStore, step: int, labelled: Sequence[Rect], *, origin: bool = False
    ) -> None:
        self._read_pixels = store.read_origin if origin else store.read
        self._step = step
        self.labelled = labelled
        h, w = store.shape_yx
        self.shape = (-(-h // step), -(-w // step))

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, key: Any) -> Pixels:
        rows, columns = _spans(key, self.shape)
        wanted = Rect(rows.start, columns.start, len(rows), len(columns))
        result = np.zeros(wanted.shape, np.uint8)
        for chunk in self.labelled:
            self._fill(result, wanted, chunk)
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype=dtype)

    def _fill(self, result: Pixels, wanted: Rect, chunk: Rect) -> None:
        step = self._step
        y, x = -(-chunk.y // step), -(-chunk.x // step)
        y1, x1 = -(-chunk.y1 // step), -(-chunk.x1 // step)
        here = Rect(y, x, max(0, y1 - y), max(0, x1 - x)).intersect(wanted)
        if not here.area:
            return
        fine = Rect(here.y * step, here.x * step, (here.h - 1) * step + 1, (here.w - 1) * step + 1)
        result[here.relative_to(wanted).slices] = self._read_pixels(fine)[::step, ::step]


class PredictionLevel:
    """One level of a prediction; where it says nothing, coarse answers stand in, finest first.

    Looks like an array ``(y, x)`` of uint8.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, store: PredictionStore, what: Plane, level: int) -> None:
        self._what: Plane = what
        self._level = level
        self._values, self._classes = (store.levels(each)[level] for each in (what, "class"))
        self._coarse: list[tuple[int, Any, Any]] = []
        rows, columns = self._values.shape
        self.shape: tuple[int, int] = rows, columns
        self.set_coarse(store.coarse_answers())

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def set_coarse(self, coarse: Mapping[int, PredictionStore]) -> None:
        """Let the stores of :meth:`PredictionStore.coarse_answers` stand in."""
        self._coarse = []
        for factor, store in coarse.items():
            level = max(0, self._level - (factor.bit_length() - 1))
            step = max(1, factor >> self._level)
            values, classes = (store.levels(each)[level] for each in (self._what, "class"))
            self._coarse.append((step, values, classes))

    def __getitem__(self, key: Any) -> Pixels:
        rows, columns = _spans(key, self.shape)
        values, empty = _read(self._values, self._classes, rows, columns, 1)
        for step, coarse, classes in self._coarse:
            if not empty.any():
                break
            standing, still = _read(coarse, classes, rows, columns, step)
            values = np.where(empty, standing, values)
            empty &= still
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype=dtype)


class HalfLevel:
    """Every second pixel of a small array: napari needs two levels or more to call it a pyramid."""

    ndim = 2

    def __init__(self, fine: Any) -> None:
        self._fine = fine
        self.dtype = fine.dtype
        self.shape: tuple[int, int] = (-(-fine.shape[0] // 2), -(-fine.shape[1] // 2))

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        half: NDArray[Any] = np.asarray(self._fine[:, :])[::2, ::2][key]
        return half

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype=dtype)


class DoubtLevel:
    """Confidence turned around: 0 where nothing is predicted, else 1 (sure) … 255 (in doubt)."""

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, confidence: Any, classes: Any) -> None:
        self._confidence = confidence
        self._classes = classes
        self.shape: tuple[int, int] = tuple(confidence.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, key: Any) -> Pixels:
        doubt = 255 - np.asarray(self._confidence[key], np.uint8)
        doubt = np.maximum(doubt, 1)
        doubt[np.asarray(self._classes[key]) == 0] = 0
        return doubt

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype=dtype)


class ChangedLevel:
    """The class in the newer of two predictions where the older one names another; else 0."""

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, older: Any, newer: Any) -> None:
        self._older = older
        self._newer = newer
        self.shape: tuple[int, int] = tuple(newer.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, key: Any) -> Pixels:
        before = np.asarray(self._older[key], np.uint8)
        after = np.asarray(self._newer[key], np.uint8)
        return np.where((before > 0) & (before != after), after, np.uint8(0))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype=dtype)


def two_or_more(levels: Sequence[Any]) -> list[Any]:
    """Return ``levels``, with a coarser one added to a lone one."""
    return [levels[0], HalfLevel(levels[0])] if len(levels) == 1 else list(levels)


def prediction_levels(store: PredictionStore, what: Plane) -> list[PredictionLevel]:
    """Return what a prediction says, with its coarse answers, as a pyramid, finest first."""
    return [PredictionLevel(store, what, level) for level in range(store.n_levels)]


def label_levels(store: LabelStore, *, origin: bool = False) -> list[LabelLevel]:
    """Return the labels of a slide, or their origins, as a pyramid, finest first."""
    labelled = store.labelled_rects()
    levels = [LabelLevel(store, 1, labelled, origin=origin)]
    step = 2
    while max(levels[-1].shape) > COARSEST_PX:
        levels.append(LabelLevel(store, step, labelled, origin=origin))
        step *= 2
    return levels


def _read(
    values: Any, classes: Any, rows: range, columns: range, step: int
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return ``values``, each pixel ``step`` times a side, and where no class is."""
    y, x = rows.start // step, columns.start // step
    spans = slice(y, -(-rows.stop // step)), slice(x, -(-columns.stop // step))
    found = np.asarray(values[spans], np.uint8)
    empty = (found if values is classes else np.asarray(classes[spans], np.uint8)) == 0
    if step > 1:
        y, x = rows.start - y * step, columns.start - x * step
        here = slice(y, y + len(rows)), slice(x, x + len(columns))
        found, empty = (each.repeat(step, 0).repeat(step, 1)[here] for each in (found, empty))
    return found, empty


def _spans(key: Any, shape: tuple[int, int]) -> tuple[range, range]:
    keys = key if isinstance(key, tuple) else (key,)
    keys = tuple(part for part in keys if part is not Ellipsis)
    full = (*keys, *(slice(None),) * (2 - len(keys)))
    spans = []
    for part, length in zip(full, shape, strict=True):
        if not isinstance(part, slice) or part.step not in (None, 1):
            raise IndexError(f"Labels are read in plain rectangles, found the index {part!r}.")
        spans.append(range(length)[part])
    return spans[0], spans[1]
