"""A PNG read band by band: a slide's mask need not fit into memory.

Rows of a PNG are stored as differences to the row before. Pillow undoes them, a band at a time:
each band is handed to it as a small PNG of its own, led by the last row of the band before.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
_MODES = {0: ("L", 1), 2: ("RGB", 3), 3: ("P", 1), 4: ("LA", 2), 6: ("RGBA", 4)}
_MOST_CHUNK_BYTES = 2**24
_READ_BYTES = 2**20
_BAND_BYTES = 2**25
_MOST_SIDE = 2**24


class PngError(ValueError):
    """A PNG is damaged."""


@dataclass(frozen=True)
class PngHeader:
    """What stands before the pixels of a PNG.

    Attributes
    ----------
    shape_yx
        ``(height, width)``.
    bits
        Of a sample.
    mode, channels
        As Pillow calls it, and how many samples a pixel has.
    palette
        ``(n, 3)`` uint8, or ``None``.
    exif
        EXIF data; may be empty.
    description
        The text called Description; may be empty.
    """

    path: Path
    shape_yx: tuple[int, int]
    bits: int
    mode: str
    channels: int
    interlaced: bool
    palette: NDArray[np.uint8] | None
    exif: bytes
    description: str

    @classmethod
    def read(cls, path: Path) -> PngHeader:
        """Read the chunks before the pixels; :class:`PngError` if they make no sense."""
        found: dict[bytes, bytes] = {}
        description = ""
        with path.open("rb") as file:
            file.seek(len(PNG_START))
            for kind, size in _iter_chunks(file):
                if kind == b"IDAT":
                    break
                if size > _MOST_CHUNK_BYTES or kind not in {b"IHDR", b"PLTE", b"eXIf", b"tEXt"}:
                    file.seek(size, io.SEEK_CUR)
                    continue
                content = file.read(size)
                if kind == b"tEXt" and content.startswith(b"Description\0"):
                    description = content.partition(b"\0")[2].decode("latin-1")
                found[kind] = content
            else:
                raise PngError("it holds no pixels")
        if len(found.get(b"IHDR", b"")) != 13:
            raise PngError("its header is damaged")
        width, height, bits, kind_of, _, _, interlaced = struct.unpack(">IIBBBBB", found[b"IHDR"])
        if kind_of not in _MODES or bits not in (1, 2, 4, 8, 16):
            raise PngError("its header is damaged")
        if not (0 < width < _MOST_SIDE and 0 < height < _MOST_SIDE):
            raise PngError(f"its header says {height} × {width} pixels")
        mode, channels = _MODES[kind_of]
        palette = None
        if mode == "P":
            colours = found.get(b"PLTE", b"")
            palette = np.frombuffer(colours[: len(colours) // 3 * 3], np.uint8).reshape(-1, 3)
        return cls(
            path,
            (height, width),
            bits,
            mode,
            channels,
            bool(interlaced),
            palette,
            found.get(b"eXIf", b""),
            description,
        )

    def iter_bands(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield stored numbers, ``(h, width)`` uint8 or uint16, in bands of ``rows`` rows.

        For images of one channel that are not interlaced.
        """
        height, width = self.shape_yx
        row_bytes = -(-width * self.bits // 8)
        rows = max(1, min(rows, _BAND_BYTES // row_bytes))
        before = np.zeros(row_bytes, np.uint8)
        stream = _inflated(self.path)
        for y in range(0, height, rows):
            count = min(rows, height - y)
            band = _unfiltered(_take(stream, count * (row_bytes + 1)), before, count, self.bits)
            before = band[-1]
            yield _unpacked(band, width, self.bits)


def _iter_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield kind and size of each chunk; whoever asks reads or skips its content."""
    while True:
        head = file.read(8)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        at = file.tell()
        yield kind, size
        file.seek(at + size + 4)  # behind the check sum


class _Stream:
    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.rest = bytearray()


def _inflated(path: Path) -> _Stream:
    def parts() -> Iterator[bytes]:
        packed = zlib.decompressobj()
        with path.open("rb") as file:
            file.seek(len(PNG_START))
            for kind, size in _iter_chunks(file):
                left = size if kind == b"IDAT" else 0
                while left:
                    data = file.read(min(left, _READ_BYTES))
                    if not data:
                        return
                    left -= len(data)
                    while data:
                        yield packed.decompress(data, _READ_BYTES)
                        data = packed.unconsumed_tail

    return _Stream(parts())


def _take(stream: _Stream, count: int) -> bytes:
    try:
        while len(stream.rest) < count:
            stream.rest += next(stream.parts)
    except StopIteration as error:
        raise PngError("it ends before its last row") from error
    except zlib.error as error:
        raise PngError(f"it is damaged ({error})") from error
    taken = bytes(stream.rest[:count])
    del stream.rest[:count]
    return taken


def _unfiltered(data: bytes, before: NDArray[np.uint8], rows: int, bits: int) -> NDArray[np.uint8]:
    """Return ``(rows, bytes)`` of filtered rows; ``before`` is the row above."""
    # To the filters a pixel is one byte or two: grey of 8 bits, or grey with alpha.
    pixel_bytes = 2 if bits == 16 else 1
    width = len(before) // pixel_bytes
    kind = 4 if pixel_bytes == 2 else 0
    content = zlib.compress(b"\0" + before.tobytes() + data, 0)
    header = struct.pack(">IIBBBBB", width, rows + 1, 8, kind, 0, 0, 0)
    small = PNG_START + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    )
    with Image.open(io.BytesIO(small), formats=("PNG",)) as image:
        found = np.asarray(image)
    return found.reshape(rows + 1, len(before))[1:]


def _unpacked(band: NDArray[np.uint8], width: int, bits: int) -> NDArray[Any]:
    if bits == 8:
        return band
    if bits == 16:
        return np.ascontiguousarray(band).view(">u2").astype(np.uint16)
    each = np.unpackbits(band, axis=1).reshape(len(band), -1, bits)
    weights = (1 << np.arange(bits)[::-1]).astype(np.uint8)
    numbers: NDArray[np.uint8] = (each * weights).sum(axis=2, dtype=np.uint8)[:, :width]
    return numbers
