"""Where crops are cut: accepted regions, and tissue without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import DataError
from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE
from unisemalign.project import LabelStore, Project, RegionState, Split
from unisemalign.slides import SpacedSlide, TissueMask, UnreadableTileError

_KEEP_WHOLE_PX = 2048 * 2048
_KEEP_TOTAL_PX = 128 * 2**20
_TRIES = 50


class MemorySlide(SpacedSlide):
    """A small slide kept in memory at working spacing: reading a crop is a copy."""

    def __init__(self, slide: SpacedSlide) -> None:
        super().__init__(slide.slide, slide.spacing_um)
        self._unreadable: list[UnreadableTileError] = []
        self._pixels = slide.read(Rect(0, 0, *slide.shape_yx), self._unreadable)

    def read(
        self, rect: Rect, unreadable: list[UnreadableTileError] | None = None
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`SpacedSlide.read`."""
        met = [error for error in self._unreadable if error.rect.intersect(rect).area]
        if met and unreadable is None:
            raise met[0]
        if unreadable is not None:
            unreadable += met
        inside = rect.intersect(Rect(0, 0, *self.shape_yx))
        if inside == rect:
            return self._pixels[rect.slices]
        out = np.full((rect.h, rect.w, 3), 255, np.uint8)
        if inside.area > 0:
            ys, xs = inside.relative_to(rect).slices
            out[ys, xs] = self._pixels[inside.slices]
        return out


@dataclass(frozen=True)
class LabelledArea:
    """One accepted region of a training slide, and that slide's caption ("": it has none)."""

    slide: SpacedSlide
    labels: LabelStore
    rect: Rect
    closed: tuple[Rect, ...] = ()
    caption: str = ""

    def read_targets(self, rect: Rect) -> NDArray[np.uint8]:
        """Return class indices ``(h, w)`` of ``rect``; 255 outside the region or unlabelled."""
        out = np.full(rect.shape, IGNORE, np.uint8)
        inside = rect.intersect(self.rect)
        if inside.area > 0:
            values = self.labels.read(inside)
            ys, xs = inside.relative_to(rect).slices
            out[ys, xs] = np.where(values == 0, IGNORE, values - 1)
        return out


@dataclass(frozen=True)
class UnlabelledArea:
    """A training slide's tissue, without what is held out or labelled already."""

    slide: SpacedSlide
    tissue: TissueMask
    closed: tuple[Rect, ...]
    area_px: float
    caption: str = ""

    def draw(self, side: int, rng: np.random.Generator, *, tissue_alone: bool = True) -> Rect:
        """Return a square of ``side`` px that holds tissue and no held-out pixel, if one is found.

        With ``tissue_alone`` off it may show glass.

        After 50 tries any square outside the held-out regions, then any square, will do: what is
        held out in it is painted over before anyone sees it.
        """
        best: Rect | None = None
        height, width = self.slide.shape_yx
        for _ in range(_TRIES):
            y = int(rng.integers(max(1, height - side + 1)))
            x = int(rng.integers(max(1, width - side + 1)))
            rect = Rect(y, x, side, side)
            if any(rect.intersect(c).area > 0 for c in self.closed):
                continue
            best = rect
            if not tissue_alone:
                return rect
            if self.tissue.fraction(rect.intersect(Rect(0, 0, height, width))) > 0.1:
                return rect
        return best or Rect(0, 0, side, side)


@dataclass(frozen=True)
class Tissue:
    """Everything a round may learn from, opened once."""

    labelled: tuple[LabelledArea, ...]
    unlabelled: tuple[UnlabelledArea, ...]
    n_classes: int

    @property
    def captioned(self) -> int:
        """How many areas have a caption."""
        captions = [each.caption for each in self.labelled]
        return sum(map(bool, [*captions, *(each.caption for each in self.unlabelled)]))


def open_tissue(project: Project) -> Tissue:
    """Open the training slides and their accepted regions.

    Held-out regions (val, test) are left out, labelled or not. Slides that are labelled as a
    whole give no unlabelled crops, unless nothing else is there.

    Raises
    ------
    DataError
        If no accepted training region holds labels of at least one class.
    ProjectError
        If a slide has lost labels that the journal holds.
    """
    kept_px = 0
    labelled: list[LabelledArea] = []
    unlabelled: list[UnlabelledArea] = []
    covered: list[UnlabelledArea] = []
    for record in project.slides(Split.TRAIN):
        project.check_labels(record.name)
        slide: SpacedSlide = project.open_slide(record.name)
        area = slide.shape_yx[0] * slide.shape_yx[1]
        mask = project.tissue(record.name, slide)
        if area <= _KEEP_WHOLE_PX and kept_px + area <= _KEEP_TOTAL_PX:
            slide, kept_px = MemorySlide(slide), kept_px + area
        store = project.labels(record.name)
        regions = project.regions(slide=record.name)
        accepted = [
            r.rect for r in regions if r.state == RegionState.ACCEPTED and r.split == Split.TRAIN
        ]
        held_out = tuple(r.rect for r in regions if r.split != Split.TRAIN)
        labelled += [
            LabelledArea(slide, store, rect, held_out, record.caption) for rect in accepted
        ]
        free_px = mask.fraction(Rect(0, 0, *slide.shape_yx)) * area
        left_px = free_px - sum(r.area for r in accepted) - sum(r.area for r in held_out)
        here = UnlabelledArea(slide, mask, held_out, max(left_px, 1.0), record.caption)
        (unlabelled if left_px > 0.02 * area else covered).append(here)
    if not any((a.labels.read(a.rect) > 0).any() for a in labelled):
        raise DataError(
            "Training needs at least one accepted region with labels on a training slide, found "
            "none. Mark a region, paint its classes and press Accept, or add slides with --masks."
        )
    return Tissue(tuple(labelled), tuple(unlabelled or covered), len(project.info.classes))
