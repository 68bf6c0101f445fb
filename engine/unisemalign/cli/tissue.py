"""The verb ``tissue``: what of a slide is looked at, and a correction made elsewhere."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SettingsError
from unisemalign.exchange import export_tissue, import_tissue
from unisemalign.project import Project, TissueChange, TissueStore, corrected
from unisemalign.protocol import TissueDone


def look_at_tissue(
    project: Project, name: str, *, mask_in: Path | None, mask_out: Path | None, as_found: bool
) -> TissueDone:
    """Correct the tissue of a slide as asked, and return what a person needs to know of it.

    Raises
    ------
    SettingsError
        If the choices contradict one another.
    BusyError
        If the tissue is to be corrected while a viewer has the project open.
    """
    if mask_in and as_found:
        raise SettingsError(
            "Tissue needs --import or --as-found, found both. An import replaces the correction "
            "before: leave --as-found out."
        )
    store = TissueStore(project.root)
    name = project.slide(name).name
    # A viewer that shows the tissue would write over it.
    with project.lock_editing() if mask_in or as_found else nullcontext():
        if mask_in:
            import_tissue(project, name, mask_in)
        if as_found:
            store.correct(name, np.zeros((1, 1), np.uint8), 1.0)  # all 0: nothing is marked
    if mask_out:
        export_tissue(project, name, mask_out)
    slide = project.open_slide(name)
    try:
        found = store.found(name, slide)
    finally:
        slide.slide.close()
    values = store.correction(name, found)
    mask = corrected(found, values).mask
    pixel_mm2 = (found.spacing_um / 1000) ** 2
    return TissueDone(
        slide=name,
        share=round(float(mask.mean()), 4),
        mm2=round(int(mask.sum()) * pixel_mm2, 4),
        spacing_um=found.spacing_um,
        added_mm2=_area(values, TissueChange.TISSUE, pixel_mm2),
        skipped_mm2=_area(values, TissueChange.NOT_TISSUE, pixel_mm2),
    )


def sentence(done: TissueDone) -> str:
    """Return what a person reads."""
    marked = ""
    if done.added_mm2 or done.skipped_mm2:
        marked = (
            f" A person marked {done.added_mm2:.2f} mm² as tissue and "
            f"{done.skipped_mm2:.2f} mm² as none."
        )
    return (
        f"{done.slide}: {100 * done.share:.1f} % tissue, {done.mm2:.2f} mm², seen at "
        f"{done.spacing_um:g} µm/px.{marked}"
    )


def _area(values: NDArray[np.uint8], change: TissueChange, pixel_mm2: float) -> float:
    return round(int((values == change).sum()) * pixel_mm2, 4)
