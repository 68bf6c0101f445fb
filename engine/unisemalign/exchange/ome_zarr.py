"""OME-Zarr 0.5 label image with a pyramid."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from unisemalign.exchange.pixels import BAND_PX, NOTES, ExportPixels
from unisemalign.metrics import IGNORE
from unisemalign.project import ClassInfo
from unisemalign.project.colors import rgb
from unisemalign.project.pyramid import COARSEST_PX, level_shapes

_VERSION = "0.5"


def write_ome_zarr(
    folder: Path, pixels: ExportPixels, classes: tuple[ClassInfo, ...], spacing_um: float
) -> list[zarr.Array[Any]]:
    """Write what is exported as ``folder/0``, ``1`` … and return those arrays.

    Of classes these are indices, 255 = ignore.
    """
    group = zarr.open_group(folder, mode="w-", zarr_format=3)
    shapes = level_shapes(pixels.shape_yx, COARSEST_PX)
    levels = [
        _create(group, str(level), shape, pixels.nothing) for level, shape in enumerate(shapes)
    ]
    y = 0
    for band in pixels.iter_file_bands():
        levels[0][y : y + len(band)] = band
        y += len(band)
    for finer, coarser in itertools.pairwise(levels):
        for y in range(0, coarser.shape[0], BAND_PX):
            part = np.asarray(finer[2 * y : 2 * (y + BAND_PX)], np.uint8)
            coarser[y : y + BAND_PX] = pixels.halved(part)
    about = _metadata(pixels.slide.name, len(levels), classes, spacing_um)
    if pixels.what != "class":
        del about["image-label"]
        about["multiscales"][0]["metadata"] = {"description": NOTES[pixels.what]}
    group.attrs["ome"] = about
    return levels


def _create(
    group: zarr.Group, name: str, shape_yx: tuple[int, int], nothing: int
) -> zarr.Array[Any]:
    return group.create_array(
        name,
        shape=shape_yx,
        dtype="uint8",
        chunks=(BAND_PX, BAND_PX),
        fill_value=nothing,
        compressors=[ZstdCodec(level=3)],
        dimension_names=("y", "x"),
    )


def _metadata(
    name: str, n_levels: int, classes: tuple[ClassInfo, ...], spacing_um: float
) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "multiscales": [
            {
                "name": name,
                "axes": [
                    {"name": axis, "type": "space", "unit": "micrometer"} for axis in ("y", "x")
                ],
                "datasets": [_dataset(level, spacing_um) for level in range(n_levels)],
                "type": "majority",
            }
        ],
        "image-label": {
            "version": _VERSION,
            "colors": [
                {"label-value": index, "rgba": [*rgb(each.color), 255]}
                for index, each in enumerate(classes)
            ]
            + [{"label-value": IGNORE, "rgba": [0, 0, 0, 0]}],
            "properties": [
                {"label-value": index, "name": each.name} for index, each in enumerate(classes)
            ]
            # Readers need the same label values in both lists.
            + [{"label-value": IGNORE, "name": "ignore"}],
        },
    }


def _dataset(level: int, spacing_um: float) -> dict[str, Any]:
    factor = 2**level
    # A coarse pixel's centre lies between those of the fine ones it stands for.
    shift = (factor - 1) / 2 * spacing_um
    return {
        "path": str(level),
        "coordinateTransformations": [
            {"type": "scale", "scale": [factor * spacing_um] * 2},
            {"type": "translation", "translation": [shift] * 2},
        ],
    }
