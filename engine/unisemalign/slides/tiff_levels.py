"""The pages of a TIFF as tiles."""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unisemalign.slides.channels import Colours
from unisemalign.slides.slide import gone
from unisemalign.slides.tiles import TiledLevel, UndecodableError, next_key

# What tifffile and its codecs raise for a torn directory or pixels that cannot be decoded.
UNREADABLE = (
    *(ValueError, RuntimeError, OSError, IndexError, KeyError, TypeError),
    *(struct.error, tifffile.TiffFileError, ArithmeticError, MemoryError),
)
_RAW_TILE_YX = (64, 8192)  # long runs: a read costs more than the bytes
LARGEST_PIECE_BYTES = 2**30


def tiff_level(path: Path, pages: Sequence[Any], colours: Colours, lock: Any) -> TiledLevel:
    """Return a level made of ``pages``: one with all channels, or one a channel.

    ``lock`` guards the file's position.
    """
    first = pages[0].keyframe
    plain = (first.compression, first.predictor, first.fillorder, first.planarconfig) == (1,) * 4
    whole_bytes = first.bitspersample in (8, 16) and not first.is_subsampled
    complete = all(pages[0].dataoffsets) and all(pages[0].databytecounts)
    if len(pages) == 1 and not first.is_tiled and plain and whole_bytes and complete:
        return _RawLevel(path, pages[0], colours, lock)
    return _PieceLevel(path, pages, colours, lock)


class _PieceLevel:
    """Tiles, or strips as wide as the level, each to be decoded whole."""

    def __init__(self, path: Path, pages: Sequence[Any], colours: Colours, lock: Any) -> None:
        self.key = next_key()
        self._path = path
        self._pages = pages
        self._colours = colours
        self._lock = lock
        first = pages[0].keyframe
        self.shape_yx: tuple[int, int] = (first.imagelength, first.imagewidth)
        self.tile_yx: tuple[int, int] = (
            (first.tilelength, first.tilewidth)
            if first.is_tiled
            else (min(first.rowsperstrip, first.imagelength), first.imagewidth)
        )
        self._rows, self._columns = (
            math.ceil(side / tile) for side, tile in zip(self.shape_yx, self.tile_yx, strict=True)
        )
        # Separate planes follow one another: all tiles of red, then all of green.
        self._planes = first.samplesperpixel if first.planarconfig == 2 else 1

    def decode(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """Return a tile; see :meth:`TiledLevel.decode`."""
        at = row * self._columns + column
        pieces = [
            self._decode_piece(page, plane * self._rows * self._columns + at)
            for page in self._pages
            for plane in range(self._planes)
        ]
        there = [piece for piece in pieces if piece is not None]
        if not there:
            return None
        if len(there) < len(pieces):
            raise UndecodableError("some of its channels are missing")
        return np.ascontiguousarray(self._colours.rgb8(np.concatenate(there, axis=2)))

    def _decode_piece(self, page: Any, index: int) -> NDArray[Any] | None:
        try:
            place = page.dataoffsets[index], page.databytecounts[index]
        except IndexError as error:
            raise UndecodableError("the file does not say where it lies") from error
        if not all(place):
            return None
        data = _bytes_at(self._path, page, *place, self._lock)
        if len(data) < place[1]:  # decoders of JPEG would make up the rest
            raise UndecodableError("the file ends before it")
        try:
            tables = {} if page.jpegtables is None else {"jpegtables": page.jpegtables}
            decoded = page.keyframe.decode(data, index, **tables)[0]
        except UNREADABLE as error:
            raise UndecodableError(_reason(error)) from error
        pixels: NDArray[Any] = decoded[0]
        return pixels


class _RawLevel:
    """Uncompressed rows: read in parts of them, so that no strip is too large."""

    def __init__(self, path: Path, page: Any, colours: Colours, lock: Any) -> None:
        self.key = next_key()
        self._path = path
        self._page = page
        self._colours = colours
        self._lock = lock
        self.shape_yx: tuple[int, int] = (page.imagelength, page.imagewidth)
        self.tile_yx: tuple[int, int] = (
            min(_RAW_TILE_YX[0], page.imagelength),
            min(_RAW_TILE_YX[1], page.imagewidth),
        )
        self._dtype = np.dtype(page.parent.byteorder + page.dtype.char)

    def decode(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """Return a tile; see :meth:`TiledLevel.decode`."""
        (h, w), samples = self.tile_yx, self._page.samplesperpixel
        y, x = row * h, column * w
        h, w = min(h, self.shape_yx[0] - y), min(w, self.shape_yx[1] - x)
        pixel_bytes = samples * self._dtype.itemsize
        if self._page.rowsperstrip < 1:
            raise UndecodableError("the file says that its strips have no rows")
        data = bytearray()
        line = y
        while line < y + h:
            strip, within = divmod(line, self._page.rowsperstrip)
            lines = min(y + h - line, self._page.rowsperstrip - within)
            lines = lines if w == self.shape_yx[1] else 1
            try:
                start = self._page.dataoffsets[strip]
            except IndexError as error:
                raise UndecodableError("the file does not say where it lies") from error
            start += (within * self.shape_yx[1] + x) * pixel_bytes
            count = lines * w * pixel_bytes
            data += _bytes_at(self._path, self._page, start, count, self._lock)
            line += lines
        if len(data) < h * w * pixel_bytes:
            raise UndecodableError("the file ends before it")
        values = np.frombuffer(data, self._dtype).reshape(h, w, samples)
        return self._colours.rgb8(values.astype(self._dtype.newbyteorder("=")))


def _bytes_at(path: Path, page: Any, offset: int, count: int, lock: threading.Lock) -> bytes:
    file = page.parent.filehandle
    try:
        with lock:
            if file.closed and page.parent is not page.parent.root:
                file.open()  # another file of the same OME set: tifffile has closed it
            file.seek(offset)
            data: bytes = file.read(count)
    except (OSError, ValueError, AttributeError) as error:  # the last two: it was closed
        raise gone(path, error) from error
    return data


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
