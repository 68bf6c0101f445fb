"""A slide read at one working spacing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unisemalign.errors import SpacingError
from unisemalign.geometry import Rect, best_level, scaled_shape
from unisemalign.slides.slide import Slide, UnreadableTileError, on_white

_KERNEL = Image.Resampling.BICUBIC
_SUPPORT = 2  # half-width of the kernel, in pixels of the coarser grid
_SOURCE_LIMIT_PX = 16_000_000  # 48 MB: more is read in parts


class SpacedSlide:
    """A slide seen as one image of ``spacing_um`` µm per pixel.

    Pixels are areas: working pixel ``i`` covers ``[i, i + 1) × downsample`` of level 0.

    Raises
    ------
    SpacingError
        If the slide does not know its pixel size, or ``spacing_um`` is not a positive number.
    """

    def __init__(self, slide: Slide, spacing_um: float) -> None:
        if slide.spacing_um is None:
            raise SpacingError(
                f"Cannot read the pixel size of '{slide.path.name}': the file does not state it. "
                f"Scans at 20× have about 0.5 µm, at 40× about 0.25 µm. Pass --spacing-um 0.5."
            )
        if not 0 < spacing_um < math.inf:
            raise SpacingError(
                f"A working spacing wants to be above 0 µm; {spacing_um} was asked for "
                f"'{slide.path.name}'. Pass --spacing-um 0.5."
            )
        self.slide = slide
        self.spacing_um = spacing_um
        self.downsample = spacing_um / slide.spacing_um
        self.shape_yx = scaled_shape(slide.shape_yx, 1 / self.downsample)
        self._level = best_level(slide.level_downsamples, self.downsample)
        # Pixels of the level read for one working pixel; above 1 when there is no closer level.
        self._factor = self.downsample / slide.level_downsamples[self._level]

    def read(
        self, rect: Rect, unreadable: list[UnreadableTileError] | None = None
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` RGB of ``rect`` (working pixels); outside the slide is white.

        Resampled from the coarsest level that is fine enough, with an anti-aliasing bicubic kernel.
        Reading a part gives, up to rounding, the crop of reading the whole.

        Parameters
        ----------
        rect
            Working pixels; may hang over any edge.
        unreadable
            Takes an error for each tile under ``rect`` that cannot be decoded, in working pixels
            and with the rim its white bleeds into; a tile may be named more than once. ``None``:
            the first is raised.

        Raises
        ------
        UnreadableTileError
            If a tile there cannot be decoded and ``unreadable`` was not given.
        SlideError
            If the file can no longer be read at all.
        """
        return on_white(rect, self.shape_yx, lambda inside: self._read_inside(inside, unreadable))

    def _read_inside(
        self, rect: Rect, unreadable: list[UnreadableTileError] | None
    ) -> NDArray[np.uint8]:
        if rect.area * self._factor**2 <= _SOURCE_LIMIT_PX or max(rect.shape) <= 16:
            found: list[UnreadableTileError] = []
            pixels = self._resample(rect, found)
            moved = [error.moved(self._at_working(error.rect), self._grid) for error in found]
            if moved and unreadable is None:
                raise moved[0]
            if unreadable is not None:
                unreadable += moved
            return pixels
        out = np.empty((rect.h, rect.w, 3), np.uint8)
        for part in _halves(rect):
            out[part.relative_to(rect).slices] = self._read_inside(part, unreadable)
        return out

    @property
    def _grid(self) -> str:
        return f"{self.spacing_um:g} µm a pixel"

    def _at_working(self, rect: Rect) -> Rect:
        """Return the working pixels that ``rect`` of the level has a share in."""
        if self._factor == 1.0:
            return rect
        reach = math.ceil(_SUPPORT * max(1.0, self._factor)) + 1
        return rect.grown(reach).scaled(1 / self._factor).intersect(Rect(0, 0, *self.shape_yx))

    def _resample(self, rect: Rect, unreadable: list[UnreadableTileError]) -> NDArray[np.uint8]:
        factor = self._factor
        if factor == 1.0:
            return self._read_clamped(rect, unreadable)  # levels may lack an odd row at the end
        margin = math.ceil(_SUPPORT * max(1.0, factor)) + 1
        source = rect.scaled(factor).grown(margin)
        pixels = self._read_clamped(source, unreadable)
        y, x = rect.y * factor - source.y, rect.x * factor - source.x
        # One axis after the other: left to itself, Pillow picks their order by the shape, and
        # since it clips in between, a part would differ from the crop of the whole.
        wide = (x, 0, x + rect.w * factor, source.h)
        image = Image.fromarray(pixels).resize((rect.w, source.h), _KERNEL, wide)
        high = (0, y, rect.w, y + rect.h * factor)
        return np.asarray(image.resize((rect.w, rect.h), _KERNEL, high))

    def _read_clamped(
        self, source: Rect, unreadable: list[UnreadableTileError]
    ) -> NDArray[np.uint8]:
        """Read with the edge repeated outside, so that white does not bleed into the rim."""
        h, w = self.slide.level_shapes[self._level]
        rows = np.clip(np.arange(source.y, source.y1), 0, h - 1)
        columns = np.clip(np.arange(source.x, source.x1), 0, w - 1)
        y, x = int(rows[0]), int(columns[0])
        inside = Rect(y, x, int(rows[-1]) + 1 - y, int(columns[-1]) + 1 - x)
        pixels = self.slide.read_level(self._level, inside, unreadable)
        return pixels if inside == source else pixels[rows - y][:, columns - x]


def _halves(rect: Rect) -> tuple[Rect, Rect]:
    if rect.h >= rect.w:
        h = rect.h // 2
        return Rect(rect.y, rect.x, h, rect.w), Rect(rect.y + h, rect.x, rect.h - h, rect.w)
    w = rect.w // 2
    return Rect(rect.y, rect.x, rect.h, w), Rect(rect.y, rect.x + w, rect.h, rect.w - w)
