"""A pyramid as a tiled OME-TIFF: every coarser level in a SubIFD, with the size of its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

_TILE_PX = 512
_CLASSIC_LIMIT_BYTES = 2**31
"""Compressed or not, what is larger is written with 64-bit offsets."""


def write_tiff_levels(
    path: Path,
    levels: Sequence[zarr.Array[Any]],
    metadata: Mapping[str, Any],
    spacing_um: float,
    *,
    fill: int = 0,
) -> None:
    """Write stored levels, tile by tile: never more than a row of tiles is in memory.

    Parameters
    ----------
    path
        The file, made or replaced.
    levels
        uint8, ``(Y, X)`` or ``(C, Y, X)``, finest first, each half as large as the one before.
    metadata
        Of the OME image, as ``tifffile`` takes it, without ``axes`` and pixel size.
    spacing_um
        Of the finest level.
    fill
        What tiles hold beyond the image.
    """
    shape = levels[0].shape
    image = {
        "axes": "CYX"[-len(shape) :],
        **metadata,
        **{f"PhysicalSize{axis}": spacing_um for axis in "XY"},
        **{f"PhysicalSize{axis}Unit": "µm" for axis in "XY"},
    }
    big = int(np.prod(shape)) > _CLASSIC_LIMIT_BYTES
    with tifffile.TiffWriter(path, ome=True, bigtiff=big) as tiff:
        for number, level in enumerate(levels):
            per_cm = 1e4 / (spacing_um * 2**number)
            options: dict[str, Any] = (
                {"subifds": len(levels) - 1, "metadata": image}
                if number == 0
                else {"subfiletype": 1, "metadata": None}
            )
            tiff.write(
                _iter_tiles(level, fill),
                shape=level.shape,
                dtype=np.uint8,
                tile=(_TILE_PX, _TILE_PX),
                photometric="minisblack",
                compression="zlib",
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                **options,
            )


def _iter_tiles(level: zarr.Array[Any], fill: int) -> Iterator[NDArray[np.uint8]]:
    *planes, height, width = level.shape
    channels: list[tuple[int, ...]] = [(c,) for c in range(planes[0])] if planes else [()]
    for channel in channels:
        for y in range(0, height, _TILE_PX):
            place: tuple[int | slice, ...] = (*channel, slice(y, y + _TILE_PX))
            row = np.asarray(level[place], np.uint8)
            for x in range(0, width, _TILE_PX):
                tile = np.full((_TILE_PX, _TILE_PX), fill, np.uint8)
                part = row[:, x : x + _TILE_PX]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
