"""Tissue masks in and out: white is tissue, black is to be skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unisemalign.errors import DataError
from unisemalign.exchange.exporting import writing_project_results
from unisemalign.exchange.mask_files import open_mask, read_whole
from unisemalign.exchange.pixels import present
from unisemalign.exchange.run_record import about_project
from unisemalign.project import Project, TissueChange, TissueStore


def export_tissue(project: Project, name: str, path: Path | str) -> None:
    """Write the tissue of a slide, correction included, as a PNG of 0 and 255.

    One pixel is one of the mask's, 8 µm or the working spacing where that is coarser. Beside it
    lies ``PATH.run.json``. Only an earlier mask of this very name, unchanged since, is replaced.

    Raises
    ------
    DataError
        If something else lies there, or the folder is missing.
    SlideError
        If the slide is not there, or cannot be read.
    """
    path = Path(path).absolute()
    with writing_project_results(project, path.parent, [path.name]) as results:
        mask = project.tissue(name)
        note = {**about_project(project), "tissue_of": name, "tissue_spacing_um": mask.spacing_um}
        with results.replaced(path.name, note) as part:
            pixels = np.where(mask.mask, np.uint8(255), np.uint8(0))
            Image.fromarray(pixels).save(part, format="PNG")


def import_tissue(project: Project, name: str, path: Path | str) -> None:
    """Correct the tissue of a slide by a mask made elsewhere.

    Where the mask says what is found anyway, nothing is corrected; the correction before is
    replaced.

    Parameters
    ----------
    project, name
        Whose tissue.
    path
        PNG, TIFF or another image of one channel: 0 is to be skipped, the one other value is
        tissue. Of the tissue mask's size, a multiple of it, or the slide's size at any scale.

    Raises
    ------
    DataError
        If the file is no such image, or has the proportions of another slide.
    SlideError
        If the slide is not there, or cannot be read.
    """
    path = Path(path)
    pixels = read_whole(open_mask(path))
    values = present(pixels) - {0}
    if len(values) > 1:
        raise DataError(
            f"The tissue mask '{path.name}' needs black (0) and one other value, found "
            f"{len(values)} others. Save it without grey in between."
        )
    store = TissueStore(project.root)
    slide = project.open_slide(name)
    try:
        found = store.found(name, slide)
    finally:
        slide.slide.close()
    _check_size(pixels.shape, found.mask.shape, slide.shape_yx, path, name)
    rows, columns = (
        ((np.arange(wanted) + 0.5) * size / wanted).astype(np.int64)
        for size, wanted in zip(pixels.shape, found.mask.shape, strict=True)
    )
    tissue = pixels[rows[:, None], columns] > 0
    store.correct(name, _changes(found.mask, tissue), found.spacing_um)


def _changes(found: NDArray[np.bool_], tissue: NDArray[np.bool_]) -> NDArray[np.uint8]:
    changes = np.full(found.shape, TissueChange.AS_FOUND, np.uint8)
    changes[tissue & ~found] = TissueChange.TISSUE
    changes[found & ~tissue] = TissueChange.NOT_TISSUE
    return changes


def _check_size(
    size: tuple[int, ...], mask: tuple[int, ...], slide: tuple[int, int], path: Path, name: str
) -> None:
    times, rest = divmod(size[0], mask[0])
    multiple = rest == 0 and size[1] == times * mask[1]
    # Sides are rounded to whole pixels: a pixel more or less is no other slide.
    alike = abs(size[0] * slide[1] - size[1] * slide[0]) <= max(slide)
    if not multiple and not alike:
        raise DataError(
            f"The tissue mask '{path.name}' needs the size of slide '{name}' at some scale, such "
            f"as {mask[0]} × {mask[1]} pixels, found {size[0]} × {size[1]}. Begin with the mask "
            f"that --export writes."
        )
