"""TIFF, BigTIFF and OME-TIFF pyramids with any codec, read by tifffile."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import ChannelAxes
from unisemalign.slides.slide import (
    WHITE,
    OneProcess,
    checked_level,
    level_downsamples,
    on_white,
)
from unisemalign.slides.spacing import spacing_from_resolution, spacing_from_sizes

# What tifffile, its codecs and Zarr raise for a torn directory or pixels that cannot be decoded.
UNREADABLE = (
    *(ValueError, RuntimeError, OSError, IndexError, KeyError),
    *(struct.error, tifffile.TiffFileError),
)
_CHUNK_KEPT_PX = 2048 * 2048


class TiffSlide(OneProcess):
    """The first image of a TIFF with its reduced copies.

    The pixel size comes from OME metadata, else from the resolution tags where that can be a
    microscope's (below 25 µm); 72, 96 or 300 dpi count as absent. Tiles never written are white.

    Raises
    ------
    SlideError
        If the file is no TIFF, is not 8-bit RGB, or uses a codec that is not there.
    """

    def __init__(self, path: Path, spacing_um: float | None = None) -> None:
        self.path = path
        try:
            self._file = tifffile.TiffFile(path)
        except UNREADABLE as error:
            raise self._damaged(f"it is no readable TIFF ({error})") from error
        try:
            self._open_levels()
            self._check_decodes()
        except SlideError:
            self._file.close()
            raise
        self.spacing_um = spacing_um if spacing_um is not None else self._own_spacing()

    def _open_levels(self) -> None:
        try:
            series = self._file.series[0]
            levels = series.levels
            self._axes = ChannelAxes.find(self.path.name, series.axes, series.shape, series.dtype)
            stores = [series.aszarr(level=i, fillvalue=WHITE) for i in range(len(levels))]
            arrays = [zarr.open_array(store, mode="r") for store in stores]
        except UNREADABLE as error:
            raise self._damaged(f"its directory makes no sense ({error})") from error
        self.level_shapes = tuple(self._axes.shape_yx(level.shape) for level in levels)
        self.shape_yx: tuple[int, int] = self.level_shapes[0]
        self.level_downsamples = level_downsamples(self.level_shapes)
        self._arrays: list[Any] = arrays
        self._whole: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def _check_decodes(self) -> None:
        coarsest = len(self.level_shapes) - 1
        self.read_level(coarsest, Rect(0, 0, 1, 1))

    def _own_spacing(self) -> float | None:
        if self._file.ome_metadata:
            return ome_spacing(self._file.ome_metadata)
        tags = self._file.series[0].keyframe.tags
        if "XResolution" not in tags or "YResolution" not in tags:
            return None
        unit = {2: "inch", 3: "cm"}.get(int(tags.valueof("ResolutionUnit", default=2)), "")
        per_unit_y, per_unit_x = (_ratio(tags.valueof(f"{axis}Resolution")) for axis in "YX")
        return spacing_from_resolution(per_unit_y, per_unit_x, unit)

    def read_level(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        shape = self.level_shapes[checked_level(self, level)]
        try:
            return on_white(rect, shape, lambda inside: self._read_inside(level, inside))
        except UNREADABLE as error:
            raise self._damaged(
                f"its pixels at {rect} of level {level} cannot be decoded ({error})"
            ) from error

    def _read_inside(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        array = self._arrays[level]
        if np.prod([array.chunks[axis] for axis in (self._axes.y, self._axes.x)]) < _CHUNK_KEPT_PX:
            return self._axes.read(array, rect)
        # Stored in one huge piece: any pixel costs all of it, so that is paid once.
        with self._lock:
            if level not in self._whole:
                everything = Rect(0, 0, *self.level_shapes[level])
                self._whole[level] = self._axes.read(array, everything)
        return self._whole[level][rect.slices]

    def _damaged(self, what: str) -> SlideError:
        return SlideError(
            f"Cannot read the slide '{self.path.name}': {what}. "
            f"Copy it again from its source, or convert it to a TIFF with JPEG or deflate tiles."
        )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _ratio(value: Any) -> float:
    numerator, denominator = value
    return float(numerator) / float(denominator) if denominator else 0.0


def ome_spacing(xml: str) -> float | None:
    """Return µm per pixel from the first ``Pixels`` element of OME-XML, or ``None``."""
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314  expat expands no outside entities
    except ElementTree.ParseError:
        return None
    pixels = root.find(".//{*}Pixels")
    if pixels is None or not {"PhysicalSizeX", "PhysicalSizeY"} <= set(pixels.keys()):
        return None
    try:
        y, x = float(pixels.attrib["PhysicalSizeY"]), float(pixels.attrib["PhysicalSizeX"])
    except ValueError:
        return None
    unit_y = pixels.get("PhysicalSizeYUnit", "µm")
    return spacing_from_sizes(y, x, unit_y, pixels.get("PhysicalSizeXUnit", "µm"))
