"""Choosing the backend by what a file holds, not by its name."""

from __future__ import annotations

import os
from pathlib import Path

import openslide
import tifffile

from unisemalign.errors import SlideError, SpacingError
from unisemalign.slides.openslide_slide import OpenSlideSlide
from unisemalign.slides.plain_slide import PlainSlide
from unisemalign.slides.slide import Slide
from unisemalign.slides.tiff_slide import UNREADABLE, TiffSlide
from unisemalign.slides.zarr_slide import ZarrSlide

SLIDE_SUFFIXES: tuple[str, ...] = (
    *(".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".dcm"),
    *(".tif", ".tiff", ".ome.tif", ".ome.tiff", ".btf", ".zarr", ".ome.zarr"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp"),
)
"""What file dialogs offer. :func:`open_slide` looks at the content and takes other names too."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_slide(path: str | os.PathLike[str], *, spacing_um: float | None = None) -> Slide:
    """Open a slide with the backend that suits its content.

    Vendor formats go to OpenSlide; generic TIFF and OME-TIFF to tifffile, which knows more codecs;
    folders to Zarr; the rest to Pillow.

    Parameters
    ----------
    path
        A file, or an OME-Zarr folder.
    spacing_um
        µm per pixel of level 0. Supplies what the file lacks, and overrules what it says.

    Raises
    ------
    SlideError
        If there is nothing to open, or it cannot be read as 8-bit RGB.
    SpacingError
        If ``spacing_um`` is not a positive number.
    """
    path = Path(path)
    if spacing_um is not None and not 0 < spacing_um < float("inf"):
        raise SpacingError(
            f"A pixel size wants to be above 0 µm; {spacing_um} was given for '{path.name}'. "
            f"Pass --spacing-um 0.5."
        )
    if path.is_dir():
        return ZarrSlide(path, spacing_um)
    start = _first_bytes(path)
    vendor = openslide.OpenSlide.detect_format(path)
    if vendor not in (None, "generic-tiff") and not _is_ome(path, start):
        return OpenSlideSlide(path, spacing_um)
    if start in _TIFF_STARTS:
        return TiffSlide(path, spacing_um)
    return PlainSlide(path, spacing_um)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError as error:
        raise SlideError(
            f"There is no slide at '{path}'. Check the path, or that its disk is connected."
        ) from error
    except OSError as error:
        raise SlideError(
            f"The slide '{path}' cannot be opened ({error.strerror}). "
            f"Check that you may read it and that its disk is connected."
        ) from error
    if not start:
        raise SlideError(
            f"The slide '{path.name}' is empty (0 bytes). Copy it again from its source."
        )
    return start


def _is_ome(path: Path, start: bytes) -> bool:
    """Tell whether a TIFF carries OME metadata. Leica's own TIFF does not count as such."""
    if start not in _TIFF_STARTS:
        return False
    try:
        with tifffile.TiffFile(path) as file:
            return bool(file.is_ome)
    except UNREADABLE:
        return False  # whoever opens it next says what is wrong
