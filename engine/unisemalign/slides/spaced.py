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
SOURCE_LIMIT_PX = 16_000_000  # 48 MB: more is read in parts


class SpacedSlide:
    """A slide seen as one image of ``spacing_um`` µm per pixel.

    Pixels are areas: working pixel ``i`` covers ``[i, i + 1) × downsample`` of level 0.

    Attributes
    ----------
    level_shape
        ``(height, width)`` of the level that is read, in its own pixels.
    tile_yx
        Pixels of that level that its file decodes at a time.
    factor
        Pixels of that level for one working pixel; above 1 when there is no closer level.
    reach
        How many pixels of that level, beyond those it covers, a working pixel is made of.

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
                f"A working spacing needs to be above 0 µm; {spacing_um} was asked for "
                f"'{slide.path.name}'. Pass --spacing-um 0.5."
            )
        self.slide = slide
        self.spacing_um = spacing_um
        self.downsample = spacing_um / slide.spacing_um
        self.shape_yx = scaled_shape(slide.shape_yx, 1 / self.downsample)
        self._level = best_level(slide.level_downsamples, self.downsample)
        self.level_shape = slide.level_shapes[self._level]
        self.tile_yx = slide.level_tiles[self._level]
        self.factor = self.downsample / slide.level_downsamples[self._level]
        # Levels may lack an odd row at the end: where nothing is resampled, it is repeated.
        resampled = self.factor != 1.0
        self.reach = math.ceil(_SUPPORT * max(1.0, self.factor)) + 1 if resampled else 0

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

    def source(self, rect: Rect) -> Rect:
        """Return the pixels of the level that ``rect`` (working pixels) is made of."""
        wanted = self._reached(rect)
        h, w = self.level_shape
        y, x = min(max(wanted.y, 0), h - 1), min(max(wanted.x, 0), w - 1)
        return Rect(y, x, min(max(wanted.y1, 1), h) - y, min(max(wanted.x1, 1), w) - x)

    def read_source(self, source: Rect, unreadable: list[UnreadableTileError]) -> NDArray[np.uint8]:
        """Return ``source``, which lies inside the level, as ``(h, w, 3)`` of the level's pixels.

        ``unreadable`` takes what :meth:`read` gives it.
        """
        found: list[UnreadableTileError] = []
        pixels = self.slide.read_level(self._level, source, found)
        unreadable += [error.moved(self._at_working(error.rect), self._grid) for error in found]
        return pixels

    def resample(self, rect: Rect, source: Rect, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``rect``, which lies inside the slide, as ``(h, w, 3)`` of working pixels.

        Parameters
        ----------
        source, pixels
            A part of the level and what is there: at least ``self.source(rect)``.
        """
        factor, wanted = self.factor, self._reached(rect)
        if Rect(0, 0, *self.level_shape).contains(wanted):
            pixels = pixels[wanted.relative_to(source).slices]
        else:  # the edge is repeated outside, so that white does not bleed into the rim
            h, w = self.level_shape
            rows = np.clip(np.arange(wanted.y, wanted.y1), 0, h - 1) - source.y
            columns = np.clip(np.arange(wanted.x, wanted.x1), 0, w - 1) - source.x
            pixels = pixels[rows][:, columns]
        if factor == 1.0:
            return pixels
        y, x = rect.y * factor - wanted.y, rect.x * factor - wanted.x
        # One axis after the other: left to itself, Pillow picks their order by the shape, and
        # since it clips in between, a part would differ from the crop of the whole.
        wide = (x, 0, x + rect.w * factor, wanted.h)
        image = Image.fromarray(pixels).resize((rect.w, wanted.h), _KERNEL, wide)
        high = (0, y, rect.w, y + rect.h * factor)
        return np.asarray(image.resize((rect.w, rect.h), _KERNEL, high))

    def _read_inside(
        self, rect: Rect, unreadable: list[UnreadableTileError] | None
    ) -> NDArray[np.uint8]:
        if rect.area * self.factor**2 <= SOURCE_LIMIT_PX or max(rect.shape) <= 16:
            found: list[UnreadableTileError] = []
            source = self.source(rect)
            pixels = self.read_source(source, found)
            if found and unreadable is None:
                raise found[0]
            if unreadable is not None:
                unreadable += found
            return self.resample(rect, source, pixels)
        out = np.empty((rect.h, rect.w, 3), np.uint8)
        for part in _halves(rect):
            out[part.relative_to(rect).slices] = self._read_inside(part, unreadable)
        return out

    @property
    def _grid(self) -> str:
        return f"{self.spacing_um:g} µm a pixel"

    def _reached(self, rect: Rect) -> Rect:
        """Return the pixels of the level under ``rect`` and its rim, also outside the level."""
        return rect.scaled(self.factor).grown(self.reach)

    def _at_working(self, rect: Rect) -> Rect:
        """Return the working pixels that ``rect`` of the level has a share in."""
        grown = rect.grown(self.reach).scaled(1 / self.factor)
        return grown.intersect(Rect(0, 0, *self.shape_yx))


def _halves(rect: Rect) -> tuple[Rect, Rect]:
    if rect.h >= rect.w:
        h = rect.h // 2
        return Rect(rect.y, rect.x, h, rect.w), Rect(rect.y + h, rect.x, rect.h - h, rect.w)
    w = rect.w // 2
    return Rect(rect.y, rect.x, rect.h, w), Rect(rect.y, rect.x + w, rect.h, rect.w - w)
