"""TIFF, BigTIFF and OME-TIFF pyramids with any codec, read by tifffile."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import CONVERT, ChannelAxes, Colours, check_named
from unisemalign.slides.levels import (
    level_downsamples,
    overview_remarks,
    pyramid_advice,
    sound_levels,
    spacing_remarks,
)
from unisemalign.slides.ome_xml import OmeImage, ome_images
from unisemalign.slides.orientation import ORIENTATION_TAG, orientation_of
from unisemalign.slides.slide import (
    OneProcess,
    Opening,
    UnreadableTileError,
    checked_level,
    on_white,
)
from unisemalign.slides.spacing import Sizes, mean_um, settle, sizes_from_resolution, sizes_um
from unisemalign.slides.tiff_images import TiffImage, choose_image
from unisemalign.slides.tiff_levels import LARGEST_PIECE_BYTES, UNREADABLE, tiff_level
from unisemalign.slides.tiles import TILES, UndecodableError, read_tiles

# The tag PhotometricInterpretation.
_GRAY, _GRAY_INVERTED, _RGB, _PALETTE, _CMYK, _YCBCR = 1, 0, 2, 3, 5, 6
_JPEGS = {6, 7, 34892, 33007}  # the tag Compression, where decoders turn YCbCr into RGB
_JPEG_2000_YCBCR = 33003  # the decoder leaves these colours as they are
_INKS_CMYK = 1  # the tag InkSet
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2  # the tag ExtraSamples
_LARGEST_SAMPLE = "MaxSampleValue"


class TiffSlide(OneProcess):
    """An image of a TIFF with its reduced copies.

    The pixel size comes from OME metadata, from Aperio's or ImageJ's description, else from the
    resolution tags where that can be a microscope's (below 25 µm); 72, 96 or 300 dpi count as
    absent. Tiles never written are white. Gray and palettes are read as RGB, 16 bits as 8.

    Parameters
    ----------
    path
        The file.
    spacing_um
        µm per pixel of level 0; overrules what the file says.
    opening
        Which image (the largest, unless said) and whether a colour profile is applied.

    Attributes
    ----------
    orientation
        What the orientation tag says, 1…8; reads are of the picture as it is stored.

    Raises
    ------
    SlideError
        If the file is no TIFF, is not gray or RGB, or uses a codec that is not there.
    """

    def __init__(
        self, path: Path, spacing_um: float | None = None, opening: Opening | None = None
    ) -> None:
        self.path = path
        self.opening = opening or Opening()
        self._lock = threading.Lock()
        try:
            self._file = tifffile.TiffFile(path)
        except UNREADABLE as error:
            raise self._damaged(f"it is no readable TIFF ({error})") from error
        try:
            self._open_levels()
            self._check_decodes()
            sizes = self._stated_sizes()
            own, said = (spacing_um, []) if spacing_um is not None else settle(path.name, sizes[0])
        except SlideError:
            self._file.close()
            raise
        self.spacing_um = own
        self.remarks: tuple[str, ...] = (
            *self._remarks,
            *said,
            *spacing_remarks([mean_um(each) for each in sizes], self.level_shapes),
            *overview_remarks(self.level_shapes),
        )

    def _open_levels(self) -> None:
        try:
            image = choose_image(self._file, self.opening.series, self.path.name)
            pages, first = image.levels, image.levels[0][0].keyframe
            self._ome = self._ome_image(image)
            self.orientation = orientation_of(first.tags.valueof(ORIENTATION_TAG))
            found = ChannelAxes.find(self.path.name, image.axes, image.shape)
            colours, remarks = self._colours(first, found.channels(image.shape))
            shapes = [(p[0].keyframe.imagelength, p[0].keyframe.imagewidth) for p in pages]
            kept, left_out = sound_levels(shapes)
            self._pages = [pages[index] for index in kept]
            self._levels = [tiff_level(self.path, p, colours, self._lock) for p in self._pages]
            missing = self._missing_tiles()
        except UNREADABLE as error:
            raise self._damaged(f"its directory makes no sense ({error})") from error
        self._remarks = [*image.remarks, *remarks, *colours.remarks, *left_out, *missing]
        self.level_shapes: tuple[tuple[int, int], ...] = tuple(x.shape_yx for x in self._levels)
        self.level_tiles: tuple[tuple[int, int], ...] = tuple(x.tile_yx for x in self._levels)
        self.shape_yx: tuple[int, int] = self.level_shapes[0]
        self._check_pieces(colours)
        self.level_downsamples = level_downsamples(self.level_shapes)

    def _check_pieces(self, colours: Colours) -> None:
        if 0 in self.shape_yx:
            raise SlideError(
                f"A slide needs at least one pixel; '{self.path.name}' says it has "
                f"{self.shape_yx[0]} × {self.shape_yx[1]}. Copy it again from its source."
            )
        for tile_yx in self.level_tiles:
            piece = math.prod(tile_yx) * colours.channels * (2 if colours.bits > 8 else 1)
            if piece > LARGEST_PIECE_BYTES:
                h, w = self.shape_yx
                raise SlideError(
                    f"A slide needs tiles; '{self.path.name}' has {h} × {w} px in pieces of "
                    f"{tile_yx[0]} × {tile_yx[1]}, each to be decoded whole. {pyramid_advice()}"
                )

    def _ome_image(self, image: TiffImage) -> OmeImage | None:
        """Return what OME-XML says of the chosen image: by its place, else by its size."""
        images = ome_images(self._file.ome_metadata)
        if len(images) == len(self._file.series):
            return images[image.series]
        alike = [each for each in images if each.size_yx == image.size_yx]
        return (alike or [None, *images][-1:])[0] if len(images) == 1 or alike else None

    def _colours(self, page: Any, channels: int) -> tuple[Colours, list[str]]:
        name, photometric = self.path.name, int(page.photometric)
        self._check_photometric(page, photometric, int(page.compression))
        extra, remarks = tuple(page.extrasamples), []
        opaque = bool(extra) and not {_PREMULTIPLIED, _STRAIGHT} & set(extra)
        if photometric == _PALETTE:
            colours = replace(
                Colours(1, np.dtype(page.dtype).itemsize * 8), palette=_palette(page.colormap)
            )
        elif channels == 2 and extra:
            colours = Colours(2, np.dtype(page.dtype).itemsize * 8, opaque=opaque)
        else:
            colours = Colours.find(name, page.dtype, channels)
        if photometric in (_GRAY, _GRAY_INVERTED):
            remarks += self._check_channels(channels, extra)
            opaque = opaque and channels == 2
        colours = replace(
            colours,
            cmyk=photometric == _CMYK,
            inverted=photometric == _GRAY_INVERTED,
            premultiplied=_PREMULTIPLIED in extra,
            opaque=(opaque or (channels == 4 and not extra)) and photometric != _CMYK,
        )
        if colours.opaque and channels in (2, 4):
            remarks.append(
                f"The last of its {channels} channels is not said to be transparency: it is left "
                f"out."
            )
        if photometric != _PALETTE:
            colours = colours.with_bits(self._bits(page))
        profile = page.tags.valueof("InterColorProfile")
        return colours.with_profile(profile, apply=self.opening.profile), remarks

    def _check_photometric(self, page: Any, photometric: int, compression: int) -> None:
        known = photometric in (_GRAY, _GRAY_INVERTED, _RGB, _PALETTE)
        known = known and compression != _JPEG_2000_YCBCR
        inks = (
            photometric == _CMYK
            and compression not in _JPEGS
            and page.samplesperpixel == 4
            and page.tags.valueof("InkSet", default=_INKS_CMYK) == _INKS_CMYK
        )
        if not known and not inks and not (photometric == _YCBCR and compression in _JPEGS):
            raise SlideError(
                f"A slide needs gray or RGB; '{self.path.name}' stores its colours as "
                f"{_name(page.photometric)} with the compression {_name(page.compression)}. "
                f"{CONVERT}"
            )

    def _check_channels(self, channels: int, extra: Sequence[int]) -> list[str]:
        """See that several channels, each stored as gray, are red, green and blue."""
        names = self._ome.channel_names if self._ome else ()
        if not any(names) and self._file.is_imagej:
            labels = (self._file.imagej_metadata or {}).get("Labels") or ()
            names = tuple(str(label) for label in labels)
        sure = self._ome is not None and self._ome.colours
        if channels == 2:
            return []
        return check_named(self.path.name, names[:channels], channels, sure=sure and not extra)

    def _bits(self, page: Any) -> int | None:
        """Return the significant bits a channel, where the file says fewer than are stored."""
        stored = page.bitspersample
        if not isinstance(stored, int):
            raise SlideError(
                f"A slide needs as many bits in each channel; '{self.path.name}' has {stored}. "
                f"{CONVERT}"
            )
        if self._ome is not None and self._ome.bits:
            return min(stored, self._ome.bits) if stored > 8 else stored
        largest = page.tags.valueof(_LARGEST_SAMPLE)
        said = max(largest) if isinstance(largest, tuple) and largest else largest
        if stored == 16 and isinstance(said, int) and 255 < said < 65535 and not said & (said + 1):
            return said.bit_length()
        return int(stored)

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

    def _stated_sizes(self) -> list[Sizes | None]:
        """Return the pixel sizes the file states of each level; descriptions speak of the first."""
        first = self._pages[0][0].keyframe
        silent: list[Sizes | None] = [None] * (len(self._pages) - 1)
        if self._ome is not None and self._ome.sizes:
            return [self._ome.sizes, *silent]
        if self._file.is_svs and (said := _aperio_sizes(first.description)):
            return [said, *silent]
        if self._file.is_imagej:
            unit = str((self._file.imagej_metadata or {}).get("unit", ""))
            return [_tag_sizes(first.tags, unit), *silent]
        stated = [_tag_sizes(pages[0].keyframe.tags) for pages in self._pages]
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


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _palette(colormap: Any) -> NDArray[np.uint8]:
    """Return ``(n, 3)`` of the tag ColorMap, which holds 16 bits a colour, some writers' only 8."""
    table = np.asarray(colormap)
    if table.ndim != 2 or table.shape[0] != 3 or not table.size:
        raise ValueError("it names colours by number and has no table of them")
    return (table // 257 if table.max() > 255 else table).T.astype(np.uint8)


def _tag_sizes(tags: Any, unit: str = "") -> Sizes | None:
    """Return a pixel's sizes from the resolution tags; ``unit`` is ImageJ's, if stated."""
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    per_unit_y, per_unit_x = (_ratio(tags.valueof(f"{axis}Resolution")) for axis in "YX")
    number = int(tags.valueof("ResolutionUnit", default=2))
    if unit and per_unit_y > 0 and per_unit_x > 0 and number == 1:
        return sizes_um(1 / per_unit_y, 1 / per_unit_x, unit, unit)
    said = {2: "inch", 3: "cm"}.get(number, "")
    return sizes_from_resolution(per_unit_y, per_unit_x, said)


def _ratio(value: Any) -> float:
    numerator, denominator = value
    return float(numerator) / float(denominator) if denominator else 0.0


def _aperio_sizes(description: str) -> Sizes | None:
    for part in description.split("|"):
        key, _, value = part.partition("=")
        if key.strip() == "MPP":
            try:
                size = float(value.strip().replace(",", "."))
            except ValueError:
                return None
            return sizes_um(size, size, "µm", "µm")
    return None
