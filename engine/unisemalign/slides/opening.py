"""Choosing the backend by what a file holds, not by its name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import openslide
import tifffile

from unisemalign.errors import SlideError, SpacingError
from unisemalign.slides.openslide_slide import OpenSlideSlide
from unisemalign.slides.plain_slide import PlainSlide
from unisemalign.slides.slide import Slide
from unisemalign.slides.tiff_levels import UNREADABLE
from unisemalign.slides.tiff_slide import TiffSlide
from unisemalign.slides.zarr_slide import ZarrSlide

SLIDE_SUFFIXES: tuple[str, ...] = (
    *(".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".dcm"),
    *(".tif", ".tiff", ".ome.tif", ".ome.tiff", ".btf", ".zarr", ".ome.zarr"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp"),
)
"""What file dialogs offer. :func:`open_slide` looks at the content and takes other names too."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_APERIO_FAST = {7, 33005}  # the tag Compression: JPEG, JPEG 2000 in RGB


def open_slide(path: str | os.PathLike[str], *, spacing_um: float | None = None) -> Slide:
    """Open a slide with the backend that suits its content.

    Vendor formats go to OpenSlide; generic TIFF, OME-TIFF and most of Aperio's to tifffile, which
    knows more codecs and is faster; folders to Zarr; the rest to Pillow.

    Parameters
    ----------
    path
        A file, or an OME-Zarr folder.
    spacing_um
        µm per pixel of level 0. Supplies what the file lacks, and overrules what it says.

    Raises
    ------
    SlideError
        If there is nothing to open, or it cannot be read as RGB.
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
    is_tiff = start in _TIFF_STARTS
    if vendor is not None and not (is_tiff and _tifffile_serves(path, vendor)):
        return OpenSlideSlide(path, spacing_um)
    return TiffSlide(path, spacing_um) if is_tiff else PlainSlide(path, spacing_um)


def one_file_a_slide(paths: Iterable[Path]) -> list[Path]:
    """Leave out files that are further levels of a slide already listed: a DICOM series is many.

    Files that are no DICOM, or cannot be read, stay.
    """
    kept, known = [], set()
    for path in paths:
        series = None
        if path.suffix.lower() == ".dcm":
            try:
                with openslide.OpenSlide(path) as file:
                    series = file.properties.get("dicom.SeriesInstanceUID")
            except openslide.OpenSlideError:
                series = None  # opening it as a slide says what is wrong
        if series is None or series not in known:
            kept.append(path)
        known.add(series)
    return kept


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


def _tifffile_serves(path: Path, vendor: str) -> bool:
    """Tell whether tifffile reads a TIFF at least as well as OpenSlide, which knows it too.

    Of OME-TIFF and generic TIFF it knows more codecs. Aperio's JPEG and JPEG 2000 (RGB) tiles give
    the same pixels five times as fast; empty tiles of coarser levels only OpenSlide fills from the
    finer one.
    """
    try:
        with tifffile.TiffFile(path) as file:
            if vendor == "aperio":
                tiled = [page for page in file.pages if page.is_tiled]
                fit = all(page.compression in _APERIO_FAST for page in tiled)
                return fit and all(all(page.databytecounts) for page in tiled[1:])
            return vendor == "generic-tiff" or bool(file.is_ome)
    except UNREADABLE:
        return False  # OpenSlide says what is wrong
