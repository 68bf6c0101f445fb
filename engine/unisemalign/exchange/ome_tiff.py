"""Class indices as a tiled OME-TIFF with a pyramid and the pixel size in µm."""

from __future__ import annotations

import tempfile
from pathlib import Path

from unisemalign.exchange.ome_zarr import write_ome_zarr
from unisemalign.exchange.pixels import NOTES, ExportPixels
from unisemalign.exchange.tiff_levels import write_tiff_levels
from unisemalign.project import ClassInfo


def write_ome_tiff(
    path: Path, pixels: ExportPixels, classes: tuple[ClassInfo, ...], spacing_um: float
) -> None:
    """Write class indices (255 = ignore) with every coarser level in a SubIFD."""
    # The pyramid on disk, beside the file: a whole slide's does not fit into memory.
    with tempfile.TemporaryDirectory(prefix=".levels.", dir=path.parent) as folder:
        levels = write_ome_zarr(Path(folder) / "levels", pixels, classes, spacing_um)
        metadata = {"Name": pixels.slide.name, "Description": NOTES[pixels.what]}
        write_tiff_levels(path, levels, metadata, spacing_um, fill=pixels.nothing)
