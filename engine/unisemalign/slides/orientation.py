"""Images stored on their side or mirrored, shown the way their orientation tag asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.slides.slide import OneProcess, Opening, Slide, UnreadableTileError

ORIENTATION_TAG = 274
_SWAPPED = {5, 6, 7, 8}
_MIRRORED_Y, _MIRRORED_X = {3, 4, 7, 8}, {2, 3, 6, 7}  # after the axes were swapped


def orientation_of(value: Any) -> int:
    """Return the orientation a tag states, 1…8; 1, as stored, for anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return stored ``(y, x, …)`` the way a viewer shows it."""
    if orientation in _SWAPPED:
        pixels = pixels.swapaxes(0, 1)
    y, x = (-1 if orientation in mirrored else 1 for mirrored in (_MIRRORED_Y, _MIRRORED_X))
    return pixels[::y, ::x]


def orientation_remarks(orientation: int) -> list[str]:
    """Return a remark for a file that is not stored upright."""
    if orientation == 1:
        return []
    return [
        f"Its orientation tag is {orientation}: it is turned as every viewer shows it, and masks "
        f"and outlines must fit the turned picture."
    ]


class TurnedSlide(OneProcess):
    """A slide seen through its orientation tag. Rectangles are those of the turned picture."""

    def __init__(self, slide: Slide, orientation: int) -> None:
        self._slide = slide
        self._orientation = orientation
        self.path: Path = slide.path
        self.shape_yx = self._swapped(slide.shape_yx)
        self.spacing_um = slide.spacing_um
        self.level_downsamples = slide.level_downsamples
        self.level_shapes = tuple(self._swapped(shape) for shape in slide.level_shapes)
        self.level_tiles = tuple(self._swapped(tile) for tile in slide.level_tiles)
        self.remarks = (*orientation_remarks(orientation), *slide.remarks)
        self.opening: Opening = slide.opening

    def read_level(
        self, level: int, rect: Rect, unreadable: list[UnreadableTileError] | None = None
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        found: list[UnreadableTileError] | None = None if unreadable is None else []
        try:
            stored = self._slide.read_level(level, self._stored(level, rect), found)
        except UnreadableTileError as error:
            raise self._shown(level, error) from error
        if unreadable is not None:
            unreadable += [self._shown(level, error) for error in found or ()]
        return np.ascontiguousarray(turned(stored, self._orientation))

    def close(self) -> None:
        """Let go of the file."""
        self._slide.close()

    def _swapped(self, yx: tuple[int, int]) -> tuple[int, int]:
        return (yx[1], yx[0]) if self._orientation in _SWAPPED else yx

    def _stored(self, level: int, rect: Rect) -> Rect:
        """Return where ``rect`` of the turned picture is stored."""
        if not 0 <= level < len(self.level_shapes):
            return rect  # the slide says that there is no such level
        return self._swapped_rect(self._mirrored(level, rect))

    def _shown(self, level: int, error: UnreadableTileError) -> UnreadableTileError:
        """Return the same fault in pixels of the turned picture."""
        return error.moved(self._mirrored(level, self._swapped_rect(error.rect)), error.grid)

    def _swapped_rect(self, rect: Rect) -> Rect:
        swapped = self._orientation in _SWAPPED
        return Rect(rect.x, rect.y, rect.w, rect.h) if swapped else rect

    def _mirrored(self, level: int, rect: Rect) -> Rect:
        h, w = self.level_shapes[level]
        y = h - rect.y1 if self._orientation in _MIRRORED_Y else rect.y
        x = w - rect.x1 if self._orientation in _MIRRORED_X else rect.x
        return Rect(y, x, rect.h, rect.w)
