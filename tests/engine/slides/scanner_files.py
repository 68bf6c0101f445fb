"""The least a scanner's file must hold for OpenSlide to read it: DICOM and Leica."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_LONG = {"OB", "OW", "SQ", "UN", "UT"}


def _element(group: int, element: int, kind: str, value: bytes | str | int | float) -> bytes:
    if kind == "US":
        data = struct.pack("<H", value)
    elif kind == "UL":
        data = struct.pack("<I", value)
    elif kind == "FL":
        data = struct.pack("<f", value)
    else:
        data = value.encode() if isinstance(value, str) else bytes(value)
    data += (b"\0" if kind in ("UI", "OB") else b" ") * (len(data) % 2)
    length = struct.pack("<HI" if kind in _LONG else "<H", *([0] * (kind in _LONG)), len(data))
    return struct.pack("<HH", group, element) + kind.encode() + length + data


def _sequence(group: int, element: int, item: bytes) -> bytes:
    packed = struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    return _element(group, element, "SQ", packed)


def write_dicom(
    path: Path, pixels: NDArray[np.uint8], spacing_um: float, tile: int = 32, instance: int = 1
) -> Path:
    """Write ``(h, w, 3)`` as an uncompressed whole-slide level in square frames.

    Files of one folder are levels of one slide; each needs its own ``instance``.
    """
    h, w = pixels.shape[:2]
    rows, columns = -(-h // tile), -(-w // tile)
    full = np.full((rows * tile, columns * tile, 3), 255, np.uint8)
    full[:h, :w] = pixels
    frames = full.reshape(rows, tile, columns, tile, 3).swapaxes(1, 2)
    size_mm = f"{spacing_um / 1000:g}"
    measures = _sequence(0x28, 0x9110, _element(0x28, 0x30, "DS", f"{size_mm}\\{size_mm}"))
    optical = _element(0x48, 0x106, "SH", "1")
    data = b"".join(
        [
            _element(0x08, 0x08, "CS", "ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
            _element(0x08, 0x16, "UI", _WSI),
            _element(0x08, 0x18, "UI", f"1.2.3.4.{instance}"),
            _element(0x08, 0x60, "CS", "SM"),
            _element(0x20, 0x0D, "UI", "1.2.3"),
            _element(0x20, 0x0E, "UI", "1.2.3.1"),
            _element(0x20, 0x9311, "CS", "TILED_FULL"),
            _element(0x28, 0x02, "US", 3),
            _element(0x28, 0x04, "CS", "RGB"),
            _element(0x28, 0x06, "US", 0),
            _element(0x28, 0x08, "IS", str(rows * columns)),
            _element(0x28, 0x10, "US", tile),
            _element(0x28, 0x11, "US", tile),
            _element(0x28, 0x100, "US", 8),
            _element(0x28, 0x101, "US", 8),
            _element(0x28, 0x102, "US", 7),
            _element(0x28, 0x103, "US", 0),
            _element(0x48, 0x06, "UL", w),
            _element(0x48, 0x07, "UL", h),
            _sequence(0x48, 0x105, optical),
            _sequence(0x5200, 0x9229, measures),
            _element(0x7FE0, 0x10, "OB", np.ascontiguousarray(frames).tobytes()),
        ]
    )
    meta = b"".join(
        [
            _element(0x02, 0x01, "OB", b"\0\1"),
            _element(0x02, 0x02, "UI", _WSI),
            _element(0x02, 0x03, "UI", f"1.2.3.4.{instance}"),
            _element(0x02, 0x10, "UI", _EXPLICIT_LITTLE),
            _element(0x02, 0x12, "UI", "1.2.3.9"),
        ]
    )
    start = bytes(128) + b"DICM" + _element(0x02, 0x00, "UL", len(meta))
    path.write_bytes(start + meta + data)
    return path


def write_leica(path: Path, pixels: NDArray[np.uint8], corner: tuple[int, int]) -> Path:
    """Write ``(h, w, 3)`` as the scanned part of a Leica slide of 0.5 µm, at ``corner`` (y, x)."""
    h, w = pixels.shape[:2]
    nm = 500
    macro = np.full((64, 64, 3), 200, np.uint8)
    side = 64 * 16  # the collection, in pixels of the scan
    lines = [
        '<?xml version="1.0"?>',
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">',
        f'<collection name="c" barcode="" sizeX="{side * nm}" sizeY="{side * nm}">',
        '<image name="macro"><pixels sizeX="64" sizeY="64">',
        '<dimension sizeX="64" sizeY="64" r="0" ifd="0"/></pixels>',
        f'<view sizeX="{side * nm}" sizeY="{side * nm}" offsetX="0" offsetY="0"/>',
        "<scanSettings><objectiveSettings><objective>1</objective></objectiveSettings>",
        "<illuminationSettings><illuminationSource>brightfield</illuminationSource>",
        "</illuminationSettings></scanSettings></image>",
        f'<image name="scan"><pixels sizeX="{w}" sizeY="{h}">',
        f'<dimension sizeX="{w}" sizeY="{h}" r="0" ifd="1"/></pixels>',
        f'<view sizeX="{w * nm}" sizeY="{h * nm}" offsetX="{corner[1] * nm}" ',
        f'offsetY="{corner[0] * nm}"/>',
        "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>",
        "<illuminationSettings><illuminationSource>brightfield</illuminationSource>",
        "</illuminationSettings></scanSettings></image></collection></scn>",
    ]
    options = {"tile": (32, 32), "photometric": "rgb", "compression": "zlib", "metadata": None}
    options |= {"resolution": (1e7 / nm,) * 2, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(macro, description="".join(lines), **options)
        file.write(pixels, **options)
    return path
