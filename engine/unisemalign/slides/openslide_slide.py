"""Vendor formats, read by OpenSlide."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.files import check_regular_folder
from unisemalign.slides.levels import level_downsamples, overview_remarks
from unisemalign.slides.profiles import find_profile
from unisemalign.slides.slide import (
    WHITE,
    OneProcess,
    Opening,
    UnreadableTileError,
    checked_level,
    flatten_alpha,
    gone,
    on_white,
)
from unisemalign.slides.spacing import Sizes, settle, sizes_um
from unisemalign.slides.tiles import KEPT_BYTES, tiles_touching

_BLOCK_YX = (512, 512)


@cache
def _kept_tiles() -> Any:
    """Return OpenSlide's own cache of decoded tiles, one for all slides of the process."""
    return openslide.OpenSlideCache(KEPT_BYTES)


class OpenSlideSlide(OneProcess):
    """A slide in a scanner's own format (Aperio, Hamamatsu, Leica, MIRAX, Philips, Ventana, …).

    Coordinates are those of the whole level: the bounds that some scanners note are not applied.
    What was never scanned is white. OpenSlide itself may be called from several threads; once it
    has met a damaged tile it refuses every further read, so the file is then opened anew.

    Raises
    ------
    SlideError
        If OpenSlide cannot open the file.
    """

    def __init__(
        self, path: Path, spacing_um: float | None = None, opening: Opening | None = None
    ) -> None:
        self.path = path
        self.opening = opening or Opening()
        if self.opening.series not in (None, 0):
            raise SlideError(
                f"'{path.name}' holds one image (0) as OpenSlide reads it; image "
                f"{self.opening.series} was asked for. Leave --series out."
            )
        self._closed = False
        self._lock = threading.Lock()
        try:
            self._file = self._open()
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideError(
                f"Cannot open the slide '{path.name}': OpenSlide says '{error}'. "
                f"Copy the file again from its source, or convert it to a pyramidal TIFF."
            ) from error
        self.level_shapes: tuple[tuple[int, int], ...] = tuple(
            (h, w) for w, h in self._file.level_dimensions
        )
        self.shape_yx = self.level_shapes[0]
        # Kept: a handle that has met damage does not answer even these.
        self._steps: tuple[float, ...] = tuple(self._file.level_downsamples)
        self.level_tiles: tuple[tuple[int, int], ...] = tuple(
            self._tile_yx(level) for level in range(len(self.level_shapes))
        )
        self.level_downsamples = level_downsamples(self.level_shapes)
        own, said = (spacing_um, []) if spacing_um is not None else settle(path.name, self._sizes())
        self.spacing_um = own
        self._transform, profile_remarks = find_profile(
            self._profile(), "RGB", apply=self.opening.profile
        )
        self.remarks: tuple[str, ...] = (
            *said,
            *profile_remarks,
            *overview_remarks(self.level_shapes),
        )

    def _open(self) -> Any:
        if openslide.OpenSlide.detect_format(self.path) == "dicom":
            check_regular_folder(self.path.parent)  # OpenSlide looks into every file beside it
        file = openslide.OpenSlide(self.path)
        file.set_cache(_kept_tiles())
        return file

    def _profile(self) -> bytes | None:
        profile = self._file.color_profile
        return None if profile is None else bytes(profile.tobytes())

    def _sizes(self) -> Sizes | None:
        said = self._file.properties
        try:
            y, x = (
                float(said[openslide.PROPERTY_NAME_MPP_Y]),
                float(said[openslide.PROPERTY_NAME_MPP_X]),
            )
        except (KeyError, ValueError):
            return None
        return sizes_um(y, x, "µm", "µm")

    def read_level(
        self, level: int, rect: Rect, unreadable: list[UnreadableTileError] | None = None
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        shape = self.level_shapes[checked_level(self, level)]
        return on_white(rect, shape, lambda inside: self._read_inside(level, inside, unreadable))

    def _read_inside(
        self, level: int, rect: Rect, unreadable: list[UnreadableTileError] | None
    ) -> NDArray[np.uint8]:
        if self._steps[level].is_integer():
            file = self._file
            try:
                return self._read_region(file, level, rect)
            except openslide.OpenSlideError as error:
                self._reopen(file, error)
        return self._read_blocks(level, rect, self.level_tiles[level], unreadable)

    def _read_blocks(
        self,
        level: int,
        rect: Rect,
        block_yx: tuple[int, int],
        unreadable: list[UnreadableTileError] | None,
    ) -> NDArray[np.uint8]:
        on_bad = UnreadableTileError.collecting(self.path, level, unreadable)
        out = np.full((rect.h, rect.w, 3), WHITE, np.uint8)
        for block in tiles_touching(rect, block_yx):
            file, part = self._file, block.intersect(rect)
            try:
                pixels = self._read_region(file, level, block)
            except openslide.OpenSlideError as error:
                self._reopen(file, error)
                # Another thread may have met the damage: only a handle of one's own tells.
                try:
                    with self._open() as alone:
                        pixels = self._read_region(alone, level, block)
                except openslide.OpenSlideError as damage:
                    on_bad(block.intersect(Rect(0, 0, *self.level_shapes[level])), damage)
                    continue
            out[part.relative_to(rect).slices] = pixels[part.relative_to(block).slices]
        return out

    def _read_region(self, file: Any, level: int, rect: Rect) -> NDArray[np.uint8]:
        downsample = self._steps[level]
        corner = round(rect.x * downsample), round(rect.y * downsample)
        rgba = np.asarray(file.read_region(corner, level, (rect.w, rect.h)))
        if self._transform is not None:
            rgb = self._transform.rgb(rgba[..., :3])
            rgba = np.concatenate([rgb, rgba[..., 3:]], axis=2)
        return flatten_alpha(rgba)

    def _tile_yx(self, level: int) -> tuple[int, int]:
        if not self._steps[level].is_integer():
            # OpenSlide takes corners in whole level-0 pixels, so between them it blurs by a
            # fraction of a pixel that depends on the corner. Fixed corners make every read alike.
            return _BLOCK_YX
        said = self._file.properties
        try:
            h, w = (int(said[f"openslide.level[{level}].tile-{x}"]) for x in ("height", "width"))
        except (KeyError, ValueError):
            return _BLOCK_YX
        return h, w

    def _reopen(self, failed: Any, error: Exception) -> None:
        """Replace a handle that OpenSlide has given up; raise if the file itself is gone."""
        with self._lock:
            if self._closed:
                raise gone(self.path, error) from error
            if self._file is failed:
                try:
                    # The failed one is not closed here: another thread may still be in it.
                    self._file = self._open()
                except (openslide.OpenSlideError, OSError) as again:
                    raise gone(self.path, again) from error

    def close(self) -> None:
        """Let go of the file."""
        if not self._closed:
            self._file.close()
        self._closed = True
