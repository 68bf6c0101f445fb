"""Looking for the tissue of a slide, in a thread of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unisemalign.errors import UnisemalignError
from unisemalign.project import TissueStore
from unisemalign.slides import Opening, SpacedSlide, TissueMask, reopen_slide


@dataclass(frozen=True)
class TissueSearch:
    """A search for tissue, numbered so that a late answer is known; spacings in µm per pixel."""

    number: int
    store: TissueStore
    slide: str
    path: Path
    level_0_um: float | None
    opening: Opening
    spacing_um: float


def look_for_tissue(search: TissueSearch) -> tuple[TissueSearch, TissueMask | Exception]:
    """Return what is found on a slide, or why nothing is; for a thread."""
    try:
        slide = reopen_slide(search.path, search.level_0_um, search.opening)
        try:
            return search, search.store.found(search.slide, SpacedSlide(slide, search.spacing_um))
        finally:
            slide.close()
    except (UnisemalignError, OSError) as error:
        return search, error
