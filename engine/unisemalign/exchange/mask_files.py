"""Mask files, read by bands of rows: PNG, TIFF, OME-Zarr and other images of one channel."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from unisemalign.errors import DataError, SlideError
from unisemalign.exchange.pixels import INDEX_NOTE
from unisemalign.exchange.png_bands import PNG_START, PngError, PngHeader
from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE
from unisemalign.project.stored_arrays import CHUNK_PX
from unisemalign.slides.channels import ChannelAxes, Colours
from unisemalign.slides.files import check_regular, open_picture
from unisemalign.slides.orientation import ORIENTATION_TAG, orientation_of, turned
from unisemalign.slides.tiff_images import TIFF_STARTS, choose_image
from unisemalign.slides.tiff_levels import LARGEST_PIECE_BYTES, UNREADABLE, tiff_level
from unisemalign.slides.tiles import TiledLevel, UndecodableError
from unisemalign.slides.zarr_images import NONSENSE, choose_zarr_image, holds_zarr

KEPT_PX = 64_000_000
"""A mask of so many pixels is decoded once and kept; a larger one by bands, as often as needed."""
_WHOLE_PX = 1_000_000_000
_BAND_ROWS = CHUNK_PX
_WHITE_IS_ZERO, _PALETTE = 0, 3  # the tag PhotometricInterpretation

Bands = Callable[[], Iterator[NDArray[Any]]]


@dataclass(frozen=True)
class MaskFile:
    """A mask whose header was read; its pixels are read when they are asked for.

    Attributes
    ----------
    path
        Where it is.
    shape_yx
        ``(height, width)`` as viewers show it.
    shown
        ``(256,)`` uint8: the grey that viewers show for each stored number.
    grey
        Whether viewers show grey. A palette of colours makes stored numbers indices of classes.
    bits
        Whether the file knows black and white only.
    indexed
        Whether the file says that its numbers are class indices.
    """

    path: Path
    shape_yx: tuple[int, int]
    stored: Bands = field(repr=False)
    shown: NDArray[np.uint8] = field(repr=False, default_factory=lambda: _grey_levels(8))
    grey: bool = True
    bits: bool = False
    indexed: bool = False
    orientation: int = 1

    @property
    def plain(self) -> bool:
        """Whether stored numbers are the grey that is shown."""
        return self.grey and bool((self.shown == _grey_levels(8)).all())

    def iter_bands(self) -> Iterator[NDArray[np.uint8]]:
        """Yield stored numbers, ``(h, width)`` uint8, in bands of whole rows from top to bottom.

        Raises
        ------
        DataError
            If the file is damaged, or holds numbers beyond 0…255.
        """
        if self._whole is not None:
            yield self._whole
            return
        yield from self._checked_bands()

    @cached_property
    def _whole(self) -> NDArray[np.uint8] | None:
        """The pixels, where they are few enough to be kept or must be turned."""
        h, w = self.shape_yx
        if self.orientation == 1 and h * w > KEPT_PX:
            return None
        if h * w > _WHOLE_PX:
            raise DataError(
                f"The mask '{self.path.name}' has an orientation tag and is too large to be turned "
                f"({h} × {w} pixels). Save it upright."
            )
        bands = list(self._checked_bands())
        return np.ascontiguousarray(turned(np.concatenate(bands), self.orientation))

    def _checked_bands(self) -> Iterator[NDArray[np.uint8]]:
        rows = 0
        try:
            for band in self.stored():
                rows += len(band)
                yield _checked(band, self.path)
        except (*UNREADABLE, UndecodableError, PngError, SyntaxError, EOFError) as error:
            raise unreadable(self.path, error) from error
        if rows != (self.shape_yx[0] if self.orientation < 5 else self.shape_yx[1]):
            raise unreadable(self.path, EOFError("it ends before its last row"))


def open_mask(path: Path) -> MaskFile:
    """Read the header of a mask; :class:`DataError` when it is no image of one channel."""
    check_regular(path, "mask", DataError)
    try:
        if holds_zarr(path):
            return _open_zarr(path)
        if path.is_dir():
            raise DataError(
                f"A mask needs to be an image file, found a folder at '{path}'. Choose the mask's "
                f"file."
            )
        with path.open("rb") as file:
            start = file.read(8)
        if start[:4] in TIFF_STARTS:
            return _open_tiff(path)
        if start == PNG_START:
            header = PngHeader.read(path)
            if not header.interlaced:
                return _open_png(path, header)
        return _open_picture(path)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"The mask '{path.name}' is too large to be decoded as one piece ({error}). Save it as "
            f"a tiled TIFF, or as a PNG that is not interlaced."
        ) from error
    except (*UNREADABLE, PngError, SlideError, UnidentifiedImageError, SyntaxError) as error:
        raise unreadable(path, error) from error


def read_whole(mask: MaskFile) -> NDArray[np.uint8]:
    """Return the grey that viewers show, ``(Y, X)``, of a mask of at most a gigapixel."""
    if mask.shape_yx[0] * mask.shape_yx[1] > _WHOLE_PX:
        raise DataError(
            f"The mask '{mask.path.name}' is too large ({mask.shape_yx[0]} × {mask.shape_yx[1]} "
            f"pixels) to be held in memory. Save it at a coarser scale."
        )
    bands = [mask.shown[band] if mask.grey else band for band in mask.iter_bands()]
    return np.concatenate(bands)


def unreadable(path: Path, error: Exception) -> DataError:
    """Return what to say of a mask that cannot be decoded."""
    return DataError(
        f"The mask '{path.name}' cannot be read as an image: {error}. Save it as PNG or TIFF."
    )


def _open_png(path: Path, header: PngHeader) -> MaskFile:
    if header.channels > 1:
        raise _several_channels(path, header.mode)
    grey, shown = True, _grey_levels(min(header.bits, 8))
    if header.palette is not None:
        grey, shown = _from_palette(header.palette)
    orientation = _exif_orientation(header.exif)
    return MaskFile(
        path,
        _turned_shape(header.shape_yx, orientation),
        lambda: header.iter_bands(_BAND_ROWS),
        shown,
        grey,
        bits=header.bits == 1 and header.palette is None,
        indexed=INDEX_NOTE in header.description,
        orientation=orientation,
    )


def _open_picture(path: Path) -> MaskFile:
    with open_picture(path) as image:
        if len(image.getbands()) > 1:
            raise _several_channels(path, image.mode)
        shape_yx, mode = (image.height, image.width), image.mode
        grey, shown = True, _grey_levels(1 if mode == "1" else 8)
        if mode == "P":
            palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            grey, shown = _from_palette(palette)
        indexed = INDEX_NOTE in str(image.info.get("Description", ""))
        orientation = orientation_of(image.getexif().get(ORIENTATION_TAG))

    def stored() -> Iterator[NDArray[Any]]:
        with open_picture(path) as again:
            yield np.asarray(again)

    shape_yx = _turned_shape(shape_yx, orientation)
    return MaskFile(path, shape_yx, stored, shown, grey, mode == "1", indexed, orientation)


def _open_tiff(path: Path) -> MaskFile:
    with tifffile.TiffFile(path) as tiff:
        image = choose_image(tiff, None, path.name)
        pages = image.levels[0]
        page = pages[0].keyframe
        single = len(pages) == 1 and page.samplesperpixel == 1 and page.imagedepth == 1
        dtype = np.dtype(page.dtype) if page.dtype is not None else None
        if not single or dtype is None or dtype.kind not in "bui" or 0 in page.shape:
            raise _no_numbers(path, dtype, tuple(image.shape))
        shape_yx = (int(page.imagelength), int(page.imagewidth))
        bits, photometric = int(page.bitspersample), int(page.photometric)
        grey, shown = True, _grey_levels(min(bits, 8))
        if photometric == _PALETTE:
            table = np.asarray(page.colormap)
            table = table // 257 if table.max() > 255 else table
            grey, shown = _from_palette(table.T.astype(np.uint8))
        elif photometric == _WHITE_IS_ZERO and not _of_booleans(page, bits):
            shown = np.uint8(255) - shown
        orientation = orientation_of(page.tags.valueof(ORIENTATION_TAG))
        indexed = INDEX_NOTE in (tiff.pages.first.description or "")
    return MaskFile(
        path,
        _turned_shape(shape_yx, orientation),
        lambda: _tiff_bands(path, image.series),
        shown,
        grey,
        bits == 1 and photometric != _PALETTE,
        indexed,
        orientation,
    )


def _of_booleans(page: Any, bits: int) -> bool:
    """Tell whether tifffile wrote an array of booleans: its True is 1, though it calls 1 black."""
    return bits == 1 and str(page.software).startswith("tifffile")


class _Stored(Colours):
    """Numbers as they are stored."""

    def rgb8(self, stored: NDArray[Any]) -> NDArray[Any]:
        return stored


def _tiff_bands(path: Path, series: int) -> Iterator[NDArray[Any]]:
    with tifffile.TiffFile(path) as tiff:
        page = choose_image(tiff, series, path.name).levels[0][0]
        level = tiff_level(path, [page], _Stored(1), threading.Lock())
        h, w = level.tile_yx
        size = h * w * np.dtype(page.keyframe.dtype).itemsize
        if size > LARGEST_PIECE_BYTES:
            raise DataError(
                f"The mask '{path.name}' is stored in pieces of {h} × {w} pixels, each to be "
                f"decoded whole. Save it as a tiled TIFF."
            )
        for row in range(-(-level.shape_yx[0] // h)):
            yield _tile_row(level, row, np.dtype(page.keyframe.dtype))


def _tile_row(level: TiledLevel, row: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    (h, w), (height, width) = level.tile_yx, level.shape_yx
    out = np.zeros((min(h, height - row * h), width), dtype)
    for column in range(-(-width // w)):
        tile = level.decode(row, column)
        if tile is not None:  # a tile that was never written is zeros
            part = out[:, column * w : (column + 1) * w]
            part[:] = tile[: part.shape[0], : part.shape[1], 0]
    return out


def _open_zarr(path: Path) -> MaskFile:
    try:
        image = choose_zarr_image(path, None)
        array = image.group.get(image.multiscale["datasets"][0]["path"])
        said = image.multiscale.get("axes") or list("tczyx")[-array.ndim :]
        names = [each["name"] if isinstance(each, dict) else str(each) for each in said]
        axes = ChannelAxes.find(path.name, names, array.shape)
        if axes.channels(array.shape) != 1 or array.dtype.kind not in "bui" or 0 in array.shape:
            raise _no_numbers(path, array.dtype, array.shape)
        attributes = image.group.attrs.asdict()
        indexed = "image-label" in attributes.get("ome", attributes)
    except NONSENSE as error:
        raise unreadable(path, error) from error
    return MaskFile(
        path,
        axes.shape_yx(array.shape),
        lambda: _zarr_bands(array, axes),
        bits=array.dtype.kind == "b",
        shown=_grey_levels(1 if array.dtype.kind == "b" else 8),
        indexed=indexed,
    )


def _zarr_bands(array: zarr.Array[Any], axes: ChannelAxes) -> Iterator[NDArray[Any]]:
    height, width = axes.shape_yx(array.shape)
    for y in range(0, height, _BAND_ROWS):
        rect = Rect(y, 0, min(_BAND_ROWS, height - y), width)
        yield axes.read(array, rect)[..., 0]


def _grey_levels(bits: int) -> NDArray[np.uint8]:
    """Return the grey of each number of ``bits`` bits, ``(256,)``."""
    most = 2**bits - 1
    levels: NDArray[np.int64] = np.minimum(np.arange(256), most) * 255 // most
    return levels.astype(np.uint8)


def _from_palette(palette: NDArray[np.uint8]) -> tuple[bool, NDArray[np.uint8]]:
    """Return whether a palette, ``(n, 3)``, is of greys, and the grey of each number."""
    shown = _grey_levels(8)
    if not len(palette) or (palette != palette[:, :1]).any():
        return False, shown
    shown = shown.copy()
    shown[: len(palette)] = palette[:256, 0]
    return True, shown


def _turned_shape(shape_yx: tuple[int, int], orientation: int) -> tuple[int, int]:
    return shape_yx if orientation < 5 else (shape_yx[1], shape_yx[0])


def _exif_orientation(exif: bytes) -> int:
    if not exif:
        return 1
    read = Image.Exif()
    try:
        read.load(exif)
    except (SyntaxError, ValueError, OSError, struct.error):
        return 1
    return orientation_of(read.get(ORIENTATION_TAG))


def _checked(band: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if band.dtype == np.uint8:
        return band
    if band.dtype == bool:
        return band.astype(np.uint8)
    if band.ndim != 2 or band.dtype.kind not in "ui":
        raise _no_numbers(path, band.dtype, band.shape)
    if band.dtype == np.uint16:
        band = np.where(band == 65535, np.uint16(IGNORE), band)  # white of 16 bits
    wrong = [value for value in (int(band.max()), int(band.min())) if not 0 <= value <= IGNORE]
    if wrong:
        raise DataError(
            f"The mask '{path.name}' needs values 0…255, found {wrong[0]}. Is it an image of "
            f"instances? Save one of class indices."
        )
    return band.astype(np.uint8)


def _several_channels(path: Path, mode: str) -> DataError:
    return DataError(
        f"The mask '{path.name}' needs one channel, found {mode}. Save it as an 8-bit grey image "
        f"of class indices; colours do not tell which class is meant."
    )


def _no_numbers(path: Path, dtype: Any, shape: tuple[int, ...]) -> DataError:
    return DataError(
        f"The mask '{path.name}' needs one channel of whole numbers, found {dtype} of shape "
        f"{shape}. Save it as an 8-bit grey image of class indices."
    )
