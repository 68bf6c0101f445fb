"""Slides in the folders people have, and the labels that belong to each by name."""

from __future__ import annotations

from pathlib import Path

from unisemalign.errors import DataError
from unisemalign.project import safe_name
from unisemalign.slides import SLIDE_SUFFIXES, holds_zarr, slide_stem, slides_in

_MASKS = (".png", ".tif", ".tiff", ".bmp", ".zarr")
_OUTLINES = (".geojson", ".geojson.gz", ".geojson.zip", ".xml", ".imagescope.xml", ".asap.xml")
# In the order of preference, where one result lies there in several formats.
LABEL_SUFFIXES = (*_MASKS, *_OUTLINES)


def find_slides(path: Path) -> list[Path]:
    """Return the slide at ``path``, or those in that folder.

    Raises
    ------
    DataError
        If the folder holds none.
    """
    if not path.is_dir() or holds_zarr(path) or path.suffix.lower() == ".zarr":
        return [path]
    slides = slides_in(path)
    if not slides:
        raise DataError(
            f"'{path}' needs at least one slide ({', '.join(SLIDE_SUFFIXES)}), found none. Name "
            f"a slide, "
            f"or the folder that holds the slides."
        )
    return slides


def pair_with_labels(slides: list[Path], folder: Path | None) -> list[tuple[Path, Path | None]]:
    """Return each slide with the mask or outlines in ``folder`` that have its name.

    Suffixes count in any case, hidden files not at all. Results that ``export`` wrote are found
    again.

    Raises
    ------
    DataError
        If there is no such folder, or nothing in it belongs to any slide.
    """
    if folder is None:
        return [(slide, None) for slide in slides]
    if not folder.is_dir():
        raise DataError(f"Masks need a folder, found none at '{folder}'. Check --masks.")
    known: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and _suffix(path):
            known.setdefault(_stem(path), []).append(path)
    pairs = [(slide, _labels_of(slide, known)) for slide in slides]
    if not any(labels for _, labels in pairs):
        raise DataError(
            f"Masks need the same file name as their slide, found none in '{folder}' for "
            f"{len(slides)} slides (first: '{slides[0].name}'). Rename the masks, or check --masks."
        )
    return pairs


def _labels_of(slide: Path, known: dict[str, list[Path]]) -> Path | None:
    stem = slide_stem(slide)
    # The second is what exports of the slide are called.
    names = dict.fromkeys((stem.casefold(), safe_name(stem).casefold()))
    found = [path for name in names for path in known.get(name, [])]
    found = [path for path in found if not (slide.exists() and path.samefile(slide))]
    return min(found, key=lambda path: LABEL_SUFFIXES.index(_suffix(path)), default=None)


def is_called_like(labels: Path, slide: Path, name: str) -> bool:
    """Tell whether a file of labels has the name of a slide, as it lies there or in the project."""
    stem = _stem(labels) if _suffix(labels) else labels.name.partition(".")[0].casefold()
    return stem in {slide_stem(slide).casefold(), name.casefold()}


def _suffix(path: Path) -> str:
    """Return the suffix that makes a file labels; empty when none does."""
    lower = path.name.lower()
    return next((each for each in reversed(LABEL_SUFFIXES) if lower.endswith(each)), "")


def _stem(path: Path) -> str:
    suffix = _suffix(path)
    if suffix in _OUTLINES:
        return path.name[: -len(suffix)].casefold()
    return slide_stem(path).casefold()
