"""Tiled OME-TIFF with a pyramid and the pixel size in µm."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from unisemalign.exchange.ome_zarr import write_ome_zarr
from unisemalign.exchange.pixels import NOTES, ExportPixels
from unisemalign.project import ClassInfo

_TILE_PX = 512
_CLASSIC_LIMIT_PX = 2**31
"""Compressed or not, what is larger is written with 64-bit offsets."""


def write_ome_tiff(
    path: Path, pixels: ExportPixels, classes: tuple[ClassInfo, ...], spacing_um: float
) -> None:
    """Write class indices (255 = ignore) with every coarser level in a SubIFD."""
    big = pixels.shape_yx[0] * pixels.shape_yx[1] > _CLASSIC_LIMIT_PX
    with (
        # The pyramid on disk, beside the file: a whole slide's does not fit into memory.
        tempfile.TemporaryDirectory(prefix=".levels.", dir=path.parent) as folder,
        tifffile.TiffWriter(path, ome=True, bigtiff=big) as tiff,
    ):
        levels = write_ome_zarr(Path(folder) / "levels", pixels, classes, spacing_um)
        for number, level in enumerate(levels):
            options: dict[str, Any] = (
                {"subifds": len(levels) - 1, "metadata": _metadata(pixels, spacing_um)}
                if number == 0
                else {"subfiletype": 1, "metadata": None}
            )
            per_cm = 1e4 / (spacing_um * 2**number)
            tiff.write(
                _iter_tiles(level, pixels.nothing),
                shape=level.shape,
                dtype=np.uint8,
                tile=(_TILE_PX, _TILE_PX),
                photometric="minisblack",
                compression="zlib",
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                **options,
            )


def _metadata(pixels: ExportPixels, spacing_um: float) -> dict[str, Any]:
    return {
        "axes": "YX",
        "Name": pixels.slide.name,
        "Description": NOTES[pixels.what],
        "PhysicalSizeX": spacing_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": spacing_um,
        "PhysicalSizeYUnit": "µm",
    }


def _iter_tiles(level: zarr.Array[Any], nothing: int) -> Iterator[NDArray[np.uint8]]:
    height, width = level.shape
    for y in range(0, height, _TILE_PX):
        band = np.asarray(level[y : y + _TILE_PX], np.uint8)
        for x in range(0, width, _TILE_PX):
            tile = np.full((_TILE_PX, _TILE_PX), nothing, np.uint8)
            part = band[:, x : x + _TILE_PX]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile
