"""Pyramids written the way the world writes them, for every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

Levels = Sequence[NDArray[np.uint8]]


def halved(pixels: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """Return ``count`` levels by dropping every other pixel (odd rows are dropped)."""
    levels = [pixels]
    for _ in range(count - 1):
        h, w = (side // 2 for side in levels[-1].shape[:2])
        if not h or not w:
            break
        levels.append(levels[-1][::2, ::2][:h, :w])
    return levels


def write_tiff(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    resolution = {} if spacing_um is None else {"resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        for index, level in enumerate(levels):
            if spacing_um is not None:
                resolution["resolution"] = (1e4 / spacing_um / 2**index,) * 2
            file.write(
                level,
                tile=(32, 32),
                photometric="rgb",
                compression="zlib",
                subfiletype=1 if index else 0,
                metadata=None,
                **resolution,
            )
    return path


def write_ome_tiff(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    metadata = {"axes": "YXS"}
    if spacing_um is not None:
        metadata |= {
            "PhysicalSizeX": spacing_um * 1000,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": spacing_um,
            "PhysicalSizeYUnit": "µm",
        }
    with tifffile.TiffWriter(path, ome=True) as file:
        options = {"tile": (32, 32), "photometric": "rgb", "compression": "deflate"}
        file.write(levels[0], subifds=len(levels) - 1, metadata=metadata, **options)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)
    return path


def write_planar_ome_tiff(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    metadata = {"axes": "CYX"}
    if spacing_um is not None:
        metadata |= {"PhysicalSizeX": spacing_um, "PhysicalSizeY": spacing_um}
    with tifffile.TiffWriter(path, ome=True) as file:
        planes = levels[0].transpose(2, 0, 1)
        file.write(planes, photometric="minisblack", metadata=metadata)
    return path


def write_separate_tiff(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    resolution = None if spacing_um is None else (25400 / spacing_um,) * 2
    tifffile.imwrite(
        path,
        levels[0].transpose(2, 0, 1),
        photometric="rgb",
        planarconfig="separate",
        rowsperstrip=7,
        resolution=resolution,
        resolutionunit="INCH" if resolution else None,
        metadata=None,
    )
    return path


def write_aperio(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    said = "" if spacing_um is None else f"|AppMag = 20|MPP = {spacing_um}"
    with tifffile.TiffWriter(path) as file:
        for level in levels:
            file.write(
                level,
                tile=(32, 32),
                photometric="rgb",
                compression="zlib",
                description=f"Aperio Image Library v1\n1x1{said}",
                metadata=None,
            )
    return path


def _write_zarr(path: Path, levels: Levels, spacing_um: float | None, version: str) -> Path:
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2, overwrite=True)
    unit = {} if spacing_um is None else {"unit": "millimeter"}
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", **unit} for name in "yx"]
    size = 1.0 if spacing_um is None else spacing_um / 1000
    datasets = []
    for index, level in enumerate(levels):
        planes = np.ascontiguousarray(level.transpose(2, 0, 1))
        group.create_array(str(index), data=planes, chunks=(1, 32, 32))
        scale = [1.0, size * 2**index, size * 2**index]
        steps = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(index), "coordinateTransformations": steps})
    multiscales = [{"version": version, "axes": axes, "datasets": datasets}]
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    else:
        group.attrs["multiscales"] = multiscales
    return path


def write_zarr_04(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    return _write_zarr(path, levels, spacing_um, "0.4")


def write_zarr_05(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    return _write_zarr(path, levels, spacing_um, "0.5")


def write_png(path: Path, levels: Levels, spacing_um: float | None = 0.5) -> Path:
    dpi = {} if spacing_um is None else {"dpi": (25400 / spacing_um,) * 2}
    Image.fromarray(levels[0]).save(path, **dpi)
    return path


WRITERS: dict[str, tuple[Callable[..., Path], str, str]] = {
    "TIFF": (write_tiff, "a.tif", "TiffSlide"),
    "OME-TIFF": (write_ome_tiff, "a.ome.tif", "TiffSlide"),
    "planar OME-TIFF": (write_planar_ome_tiff, "a.ome.tif", "TiffSlide"),
    "TIFF with separate planes": (write_separate_tiff, "a.tif", "TiffSlide"),
    "Aperio": (write_aperio, "a.svs", "OpenSlideSlide"),
    "OME-Zarr 0.4": (write_zarr_04, "a.zarr", "ZarrSlide"),
    "OME-Zarr 0.5": (write_zarr_05, "a.zarr", "ZarrSlide"),
    "PNG": (write_png, "a.png", "PlainSlide"),
}
"""Name: who writes it, what to call the file, the backend that must open it."""
