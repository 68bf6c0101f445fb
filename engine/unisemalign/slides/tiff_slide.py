"""TIFF, BigTIFF and OME-TIFF pyramids with any codec, read by tifffile."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import CONVERT, ChannelAxes, Colours
from unisemalign.slides.levels import (
    level_downsamples,
    overview_remarks,
    pyramid_advice,
    sound_levels,
    spacing_remarks,
)
from unisemalign.slides.profiles import profile_remarks
from unisemalign.slides.slide import (
    OneProcess,
    UnreadableTileError,
    checked_level,
    on_white,
)
from unisemalign.slides.spacing import believable, spacing_from_resolution, spacing_from_sizes
from unisemalign.slides.tiff_levels import LARGEST_PIECE_BYTES, UNREADABLE, tiff_level
from unisemalign.slides.tiles import TILES, UndecodableError, read_tiles

_GRAY, _GRAY_INVERTED, _RGB, _YCBCR = 1, 0, 2, 6  # the tag PhotometricInterpretation
_JPEGS = {6, 7, 34892, 33007}  # the tag Compression, where decoders turn YCbCr into RGB
_JPEG_2000_YCBCR = 33003  # the decoder leaves these colours as they are
_PREMULTIPLIED = 1  # the tag ExtraSamples


class TiffSlide(OneProcess):
    """The first image of a TIFF with its reduced copies.

    The pixel size comes from OME metadata, from Aperio's description, else from the resolution
    tags where that can be a microscope's (below 25 µm); 72, 96 or 300 dpi count as absent. Tiles
    never written are white. Gray is read as RGB, 16 bits as 8.

    Raises
    ------
    SlideError
        If the file is no TIFF, is not gray or RGB, or uses a codec that is not there.
    """

    def __init__(self, path: Path, spacing_um: float | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
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
        stated = self._stated_spacings()
        self.spacing_um = spacing_um if spacing_um is not None else stated[0]
        self.remarks: tuple[str, ...] = (
            *self._remarks,
            *spacing_remarks(stated, self.level_shapes),
            *overview_remarks(self.level_shapes),
        )

    def _open_levels(self) -> None:
        try:
            pages, axes, shape = _pyramid_pages(self._file)
            first = pages[0][0].keyframe
            found = ChannelAxes.find(self.path.name, axes, shape)
            colours = self._colours(first, found.channels(shape))
            shapes = [(p[0].keyframe.imagelength, p[0].keyframe.imagewidth) for p in pages]
            kept, remarks = sound_levels(shapes)
            self._pages = [pages[index] for index in kept]
            self._levels = [tiff_level(self.path, p, colours, self._lock) for p in self._pages]
            missing = self._missing_tiles()
            profile = first.tags.valueof("InterColorProfile")
        except UNREADABLE as error:
            raise self._damaged(f"its directory makes no sense ({error})") from error
        self._remarks = [*colours.remarks, *remarks, *missing, *profile_remarks(profile)]
        self.level_shapes: tuple[tuple[int, int], ...] = tuple(x.shape_yx for x in self._levels)
        self.level_tiles: tuple[tuple[int, int], ...] = tuple(x.tile_yx for x in self._levels)
        self.shape_yx: tuple[int, int] = self.level_shapes[0]
        if 0 in self.shape_yx:
            raise SlideError(
                f"A slide wants at least one pixel; '{self.path.name}' says it has "
                f"{self.shape_yx[0]} × {self.shape_yx[1]}. Copy it again from its source."
            )
        self.level_downsamples = level_downsamples(self.level_shapes)
        piece = math.prod(self._levels[0].tile_yx) * colours.channels * colours.bits // 8
        if piece > LARGEST_PIECE_BYTES:
            h, w = self.shape_yx
            raise SlideError(
                f"A slide wants tiles; '{self.path.name}' has {h} × {w} px in pieces of "
                f"{self._levels[0].tile_yx[0]} × {self._levels[0].tile_yx[1]}, each to be decoded "
                f"whole. {pyramid_advice()}"
            )

    def _colours(self, page: Any, channels: int) -> Colours:
        photometric, compression = int(page.photometric), int(page.compression)
        known = photometric in (_GRAY, _GRAY_INVERTED, _RGB) and compression != _JPEG_2000_YCBCR
        if not known and not (photometric == _YCBCR and compression in _JPEGS):
            raise SlideError(
                f"A slide wants gray or RGB; '{self.path.name}' stores its colours as "
                f"{_name(page.photometric)} with the compression {_name(page.compression)}. "
                f"{CONVERT}"
            )
        found = Colours.find(self.path.name, page.dtype, channels).with_bits(
            _ome_bits(self._file.ome_metadata)
        )
        return Colours(
            found.channels,
            found.bits,
            inverted=photometric == _GRAY_INVERTED,
            premultiplied=_PREMULTIPLIED in page.extrasamples,
        )

    def _missing_tiles(self) -> list[str]:
        """Tell of a file that was cut off."""
        size = self._file.filehandle.size
        ends = [
            np.add(page.dataoffsets, page.databytecounts)
            for page in chain.from_iterable(self._pages)
            if page.parent is self._file
        ]
        all_ends = np.concatenate([*ends, np.zeros(0, int)])
        cut = int((all_ends > size).sum())
        if not cut:
            return []
        return [
            f"The file is cut off: {cut} of its {len(all_ends)} tiles are missing. They cannot be "
            f"labelled: copy it again from its source."
        ]

    def _check_decodes(self) -> None:
        """See that the codec is there: one tile, unless that is damaged."""
        said = ""
        for level in reversed(self._levels):
            rows, columns = (
                (side - 1) // tile for side, tile in zip(level.shape_yx, level.tile_yx, strict=True)
            )
            for row, column in dict.fromkeys([(0, 0), (rows // 2, columns // 2), (rows, columns)]):
                try:
                    TILES.get(level, row, column)
                except UndecodableError as error:
                    said = said or str(error)
                else:
                    return
        raise self._damaged(f"its pixels cannot be decoded ({said})")

    def _stated_spacings(self) -> list[float | None]:
        """Return what the file says of each level; OME and Aperio speak of the first only."""
        silent: list[float | None] = [None] * (len(self._pages) - 1)
        if self._file.ome_metadata:
            return [ome_spacing(self._file.ome_metadata), *silent]
        if self._file.is_svs:
            return [_aperio_spacing(self._pages[0][0].description), *silent]
        stated = [_tag_spacing(pages[0].keyframe.tags) for pages in self._pages]
        # Writers that copy the first level's tags to all levels say nothing by it.
        return [stated[0], *(None if each == stated[0] else each for each in stated[1:])]

    def read_level(
        self, level: int, rect: Rect, unreadable: list[UnreadableTileError] | None = None
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        tiled = self._levels[checked_level(self, level)]
        on_bad = UnreadableTileError.collecting(self.path, level, unreadable)
        return on_white(rect, tiled.shape_yx, lambda inside: read_tiles(tiled, inside, on_bad))

    def _damaged(self, what: str) -> SlideError:
        return SlideError(
            f"Cannot read the slide '{self.path.name}': {what}. "
            f"Copy it again from its source, or convert it to a TIFF with JPEG or deflate tiles."
        )

    def close(self) -> None:
        """Let go of the file."""
        for level in self._levels:
            TILES.forget(level)
        self._file.close()


def _pyramid_pages(file: Any) -> tuple[list[Sequence[Any]], str, Sequence[int]]:
    """Return the pages of each level (one, or one a channel), and the axes and shape of level 0."""
    series = file.series[0]
    if file.is_svs:
        # The tiled pages, as OpenSlide has it; thumbnail, label and macro are in strips.
        tiled = [page.aspage() for page in file.pages if page.is_tiled]
        return [[page] for page in tiled], tiled[0].axes, tiled[0].shape
    levels: list[Sequence[Any]] = [list(level.pages) for level in series.levels]
    # tifffile takes levels that shrink evenly; others follow as images that say they are reduced.
    levels += [
        list(level.pages)
        for other in file.series[1:]
        for level in other.levels
        if other.keyframe.is_reduced
        and other.axes == series.axes
        and other.dtype == series.dtype
        and len(other.pages) == len(series.pages)
    ]
    if any(page is None for page in chain.from_iterable(levels)):
        raise ValueError("some of its pages are missing")
    levels[1:] = sorted(levels[1:], key=lambda pages: -pages[0].keyframe.imagelength)
    return levels, series.axes, series.shape


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _tag_spacing(tags: Any) -> float | None:
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    unit = {2: "inch", 3: "cm"}.get(int(tags.valueof("ResolutionUnit", default=2)), "")
    per_unit_y, per_unit_x = (_ratio(tags.valueof(f"{axis}Resolution")) for axis in "YX")
    return spacing_from_resolution(per_unit_y, per_unit_x, unit)


def _ratio(value: Any) -> float:
    numerator, denominator = value
    return float(numerator) / float(denominator) if denominator else 0.0


def _aperio_spacing(description: str) -> float | None:
    try:
        said = tifffile.tifffile.svs_description_metadata(description)
        return believable(float(said["MPP"]))
    except (KeyError, ValueError, TypeError):
        return None


def _ome_pixels(xml: str | None) -> ElementTree.Element | None:
    """Return the first ``Pixels`` element of OME-XML, or ``None``."""
    try:
        root = ElementTree.fromstring(xml or "")  # noqa: S314  expat expands no outside entities
    except ElementTree.ParseError:
        return None
    return root.find(".//{*}Pixels")


def _ome_bits(xml: str | None) -> int | None:
    pixels = _ome_pixels(xml)
    said = "" if pixels is None else pixels.get("SignificantBits", "")
    return int(said) if said.isdecimal() else None


def ome_spacing(xml: str) -> float | None:
    """Return µm per pixel from the first ``Pixels`` element of OME-XML, or ``None``."""
    pixels = _ome_pixels(xml)
    if pixels is None or not {"PhysicalSizeX", "PhysicalSizeY"} <= set(pixels.keys()):
        return None
    try:
        y, x = float(pixels.attrib["PhysicalSizeY"]), float(pixels.attrib["PhysicalSizeX"])
    except ValueError:
        return None
    unit_y = pixels.get("PhysicalSizeYUnit", "µm")
    return spacing_from_sizes(y, x, unit_y, pixels.get("PhysicalSizeXUnit", "µm"))
