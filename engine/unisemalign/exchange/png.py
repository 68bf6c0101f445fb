"""8-bit grey PNG, written row by row: a slide's mask need not fit into memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray


def write_png(
    path: Path, shape_yx: tuple[int, int], bands: Iterable[NDArray[np.uint8]], note: str
) -> None:
    """Write ``bands`` of whole rows, ``(h, width)`` uint8, one below the other.

    ``note`` says what the numbers mean, as the text called Description.
    """
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        height, width = shape_yx
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        _write_chunk(file, b"tEXt", b"Description\0" + note.encode("latin-1"))
        packer = zlib.compressobj(6)
        for band in bands:
            # Each row is led by the number of its filter: 0, none.
            rows = np.zeros((band.shape[0], width + 1), np.uint8)
            rows[:, 1:] = band
            _write_chunk(file, b"IDAT", packer.compress(rows.tobytes()))
        _write_chunk(file, b"IDAT", packer.flush())
        _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    check = zlib.crc32(content, zlib.crc32(kind))
    file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check))
