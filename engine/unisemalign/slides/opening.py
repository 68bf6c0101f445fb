"""Choosing the backend by what a file holds, not by its name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import openslide
import tifffile

from unisemalign.errors import SlideError
from unisemalign.slides.files import check_regular
from unisemalign.slides.openslide_slide import OpenSlideSlide
from unisemalign.slides.orientation import TurnedSlide
from unisemalign.slides.plain_slide import PlainSlide
from unisemalign.slides.slide import Opening, Slide
from unisemalign.slides.spacing import check_spacing
from unisemalign.slides.tiff_images import TIFF_STARTS
from unisemalign.slides.tiff_levels import UNREADABLE
from unisemalign.slides.tiff_slide import TiffSlide
from unisemalign.slides.zarr_images import holds_zarr
from unisemalign.slides.zarr_slide import ZarrSlide

SLIDE_SUFFIXES: tuple[str, ...] = (
    *(".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".dcm"),
    *(".tif", ".tiff", ".ome.tif", ".ome.tiff", ".btf", ".zarr", ".ome.zarr"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp"),
)
"""What file dialogs offer. :func:`open_slide` looks at the content and takes other names too."""

_SAME_SPACING_SHARE = 0.01
_APERIO_FAST = {7, 33005}  # the tag Compression: JPEG, JPEG 2000 in RGB


def open_slide(
    path: str | os.PathLike[str],
    *,
    spacing_um: float | None = None,
    fallback_um: float | None = None,
    series: int | None = None,
    profile: bool = True,
) -> Slide:
    """Open a slide with the backend that suits its content.

    Vendor formats go to OpenSlide; generic TIFF, OME-TIFF and most of Aperio's to tifffile, which
    knows more codecs and is faster; folders to Zarr; the rest to Pillow.

    Parameters
    ----------
    path
        A file, or an OME-Zarr folder.
    spacing_um
        µm per pixel of level 0, whatever the file says: what a project noted when it was added.
    fallback_um
        µm per pixel of level 0 for a file that says nothing itself. It never overrules a file.
    series
        Which image of a file that holds several, counted from 0; the largest when ``None``.
    profile
        Whether a colour profile in the file is applied.

    Raises
    ------
    SlideError
        If there is nothing to open, or it cannot be read as RGB.
    SpacingError
        If a spacing is impossible, or the file's pixels are not square.
    """
    path = Path(path)
    for given in (spacing_um, fallback_um):
        if given is not None:
            check_spacing(given, path.name)
    check_regular(path)
    slide = _opened(path, spacing_um, Opening(series, profile))
    if fallback_um is None or spacing_um is not None:
        return slide
    if slide.spacing_um is None:
        slide.spacing_um = fallback_um
        slide.remarks = (
            *slide.remarks,
            f"It does not state its pixel size: {fallback_um:g} µm is used, as given.",
        )
    elif abs(slide.spacing_um / fallback_um - 1) > _SAME_SPACING_SHARE:
        slide.remarks = (
            *slide.remarks,
            f"It states {slide.spacing_um:.4g} µm a pixel: that is used, and not the "
            f"{fallback_um:g} µm given for slides that state nothing.",
        )
    return slide


def reopen_slide(path: Path, spacing_um: float | None, opening: Opening) -> Slide:
    """Open a slide as it was opened before; see :func:`open_slide`."""
    return open_slide(path, spacing_um=spacing_um, series=opening.series, profile=opening.profile)


def _opened(path: Path, spacing_um: float | None, opening: Opening) -> Slide:
    if path.is_dir():
        return ZarrSlide(path, spacing_um, opening)
    start = _first_bytes(path)
    vendor = openslide.OpenSlide.detect_format(path)
    is_tiff = start in TIFF_STARTS
    if vendor is not None and not (is_tiff and _tifffile_serves(path, vendor)):
        return OpenSlideSlide(path, spacing_um, opening)
    if not is_tiff:
        return PlainSlide(path, spacing_um, opening)
    slide = TiffSlide(path, spacing_um, opening)
    return TurnedSlide(slide, slide.orientation) if slide.orientation > 1 else slide


def slide_stem(path: Path) -> str:
    """Return a slide's name without what tells its format: ``a`` for ``a.OME.TIF``."""
    lower = path.name.lower()
    for suffix in sorted(SLIDE_SUFFIXES, key=len, reverse=True):
        if lower.endswith(suffix) and len(lower) > len(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def slides_in(folder: Path) -> list[Path]:
    """Return what looks like a slide in a folder: by suffix in any case, or a Zarr group.

    Hidden files, such as those that macOS leaves beside others on foreign disks, are none.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
        and (path.name.lower().endswith(SLIDE_SUFFIXES) or holds_zarr(path))
    ]
    return one_file_a_slide(found)


def one_file_a_slide(paths: Iterable[Path]) -> list[Path]:
    """Leave out files that are further levels of a slide already listed: a DICOM series is many.

    Files that are no DICOM, or cannot be read, stay.
    """
    kept, known = [], set()
    for path in paths:
        series = None
        if path.suffix.lower() == ".dcm" and path.is_file():
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
    the same pixels about four times as fast; empty tiles of coarser levels only OpenSlide fills
    from the finer one.
    """
    try:
        with tifffile.TiffFile(path) as file:
            if vendor == "aperio":
                tiled = [p for p in file.pages if isinstance(p, tifffile.TiffPage) and p.is_tiled]
                fit = all(page.compression in _APERIO_FAST for page in tiled)
                return fit and all(all(page.databytecounts) for page in tiled[1:])
            return vendor == "generic-tiff" or bool(file.is_ome)
    except UNREADABLE:
        return False  # OpenSlide says what is wrong
