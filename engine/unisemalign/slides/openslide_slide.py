"""Vendor formats, read by OpenSlide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.slide import (
    OneProcess,
    checked_level,
    flatten_alpha,
    level_downsamples,
    on_white,
)
from unisemalign.slides.spacing import spacing_from_sizes

_BLOCK_PX = 512


class OpenSlideSlide(OneProcess):
    """A slide in a scanner's own format (Aperio, Hamamatsu, Leica, MIRAX, Philips, Ventana, …).

    Coordinates are those of the whole level: the bounds that some scanners note are not applied.
    What was never scanned is white. OpenSlide itself may be called from several threads.

    Raises
    ------
    SlideError
        If OpenSlide cannot open the file.
    """

    def __init__(self, path: Path, spacing_um: float | None = None) -> None:
        self.path = path
        self._closed = False
        try:
            self._file = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError(
                f"Cannot open the slide '{path.name}': OpenSlide says '{error}'. "
                f"Copy the file again from its source, or convert it to a pyramidal TIFF."
            ) from error
        self.level_shapes: tuple[tuple[int, int], ...] = tuple(
            (h, w) for w, h in self._file.level_dimensions
        )
        self.shape_yx = self.level_shapes[0]
        self.level_downsamples = level_downsamples(self.level_shapes)
        self.spacing_um = spacing_um if spacing_um is not None else self._own_spacing()

    def _own_spacing(self) -> float | None:
        said = self._file.properties
        try:
            y, x = (
                float(said[openslide.PROPERTY_NAME_MPP_Y]),
                float(said[openslide.PROPERTY_NAME_MPP_X]),
            )
        except (KeyError, ValueError):
            return None
        return spacing_from_sizes(y, x, "µm", "µm")

    def read_level(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        shape = self.level_shapes[checked_level(self, level)]
        return on_white(rect, shape, lambda inside: self._read_inside(level, inside))

    def _read_inside(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        if self._file.level_downsamples[level].is_integer():
            return self._read_region(level, rect)
        # OpenSlide takes corners in whole level-0 pixels, so between them it blurs by a fraction
        # of a pixel that depends on the corner. Fixed corners make every read blur alike.
        out = np.empty((rect.h, rect.w, 3), np.uint8)
        for block in _blocks(rect):
            part = block.intersect(rect)
            pixels = self._read_region(level, block)
            out[part.relative_to(rect).slices] = pixels[part.relative_to(block).slices]
        return out

    def _read_region(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        downsample = self._file.level_downsamples[level]
        corner = round(rect.x * downsample), round(rect.y * downsample)
        try:
            region = self._file.read_region(corner, level, (rect.w, rect.h))
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"Cannot read level {level} of slide '{self.path.name}' at {rect}: OpenSlide says "
                f"'{error}'. The file is probably damaged: copy it again from its source."
            ) from error
        return flatten_alpha(np.asarray(region))

    def close(self) -> None:
        """Let go of the file."""
        if not self._closed:
            self._file.close()
        self._closed = True


def _blocks(rect: Rect) -> Iterator[Rect]:
    """Yield the blocks of a fixed grid that touch ``rect``."""
    for y in range(rect.y // _BLOCK_PX, -(-rect.y1 // _BLOCK_PX)):
        for x in range(rect.x // _BLOCK_PX, -(-rect.x1 // _BLOCK_PX)):
            yield Rect(y * _BLOCK_PX, x * _BLOCK_PX, _BLOCK_PX, _BLOCK_PX)
