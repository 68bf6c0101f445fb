"""The levels of a slide as lazy arrays, for a viewer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.slides.slide import Slide, UnreadableTileError


class PyramidLevel:
    """One level that looks like an array ``(y, x, 3)`` of uint8 and reads what is asked for.

    Understands whole numbers, slices (with steps, also negative) and ``...``; always returns NumPy.
    What cannot be decoded is white, and a warning says so.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, slide: Slide, level: int) -> None:
        self._slide = slide
        self._level = level
        self.shape: tuple[int, int, int] = (*slide.level_shapes[level], 3)

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def nbytes(self) -> int:
        """Bytes if it were read whole."""
        return self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        keys = _full_key(key)
        (y, rows), (x, columns) = (
            _span(part, length) for part, length in zip(keys[:2], self.shape[:2], strict=True)
        )
        rect = Rect(y.start, x.start, y.stop - y.start, x.stop - x.start)
        unreadable: list[UnreadableTileError] = []
        block = self._slide.read_level(self._level, rect, unreadable)
        for error in unreadable:
            warnings.warn(str(error), stacklevel=2)  # a viewer goes on showing the rest
        picked: NDArray[np.uint8] = block[rows, ..., :][..., columns, :][..., keys[2]]
        return picked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("A slide is read from its file: there is no array without a copy.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        return f"PyramidLevel({self._slide.path.name!r}, level {self._level}, shape {self.shape})"


def _full_key(key: Any) -> tuple[Any, Any, Any]:
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (4 - len(keys))
    keys += [slice(None)] * (3 - len(keys))
    if len(keys) != 3:
        raise IndexError(f"A slide level has 3 axes (y, x, colour), {len(keys)} were indexed.")
    return keys[0], keys[1], keys[2]


def _span(key: Any, length: int) -> tuple[range, Any]:
    """Return what must be read along an axis, and how to index what was read."""
    wanted = range(length)[key]
    if isinstance(wanted, int):
        return range(wanted, wanted + 1), 0
    if not wanted:
        return range(0), slice(0, 0)
    low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
    index = np.arange(wanted.start, wanted.stop, wanted.step) - low
    plain = slice(None, None, wanted.step) if wanted.step > 0 else index
    return range(low, high + 1), plain


def pyramid_levels(slide: Slide) -> list[PyramidLevel]:
    """Return one lazy array a level, finest first: for ``rgb=True, multiscale=True``."""
    return [PyramidLevel(slide, level) for level in range(len(slide.level_shapes))]
