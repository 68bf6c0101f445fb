"""The slide on show and the region under the brush: opening, painting, keeping strokes."""

from __future__ import annotations

import tempfile
from concurrent.futures import Future
from pathlib import Path

from napari_unisemalign.session.change import Change
from napari_unisemalign.session.drafts import Draft, Drafts
from napari_unisemalign.session.region_edit import Pixels, RegionEdit, start_values
from napari_unisemalign.session.session_rounds import SessionRounds
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Region, RegionState
from unisemalign.terms import MAX_REGION_PX, MIN_REGION_PX


class SessionRegions(SessionRounds):
    """Puts a slide on show and a region under the brush; no stroke in it is lost."""

    def __init__(self) -> None:
        super().__init__()
        self._keeping: Future[None] | None = None
        self._undone_drafts: dict[int, int | None] = {}

    def show_slide(self, name: str) -> None:
        """Put ``name`` on show; the region under the brush is kept as a draft."""
        if name == self.slide:
            return
        self.spaced_slide(name)
        self.close_region()
        self._slide = name
        self.changed.emit(Change.SHOWN_SLIDE)
        self.slide_changed.emit()
        self._note_changes()
        self.refresh_area()

    def mark_region(self, rect: Rect) -> Region:
        """Make a region of ``rect`` (working spacing, cut to the slide) and open it."""
        name = self._slide_name()
        rect = rect.intersect(Rect(0, 0, *self.spaced_slide(name).shape_yx))
        if min(rect.shape) < MIN_REGION_PX:
            raise DataError(
                f"A region needs at least {MIN_REGION_PX} pixels of the slide a side, found "
                f"{rect.h} × {rect.w}. Move the view over the slide, then press Mark region."
            )
        if max(rect.shape) > MAX_REGION_PX:
            raise DataError(
                f"A region needs at most {MAX_REGION_PX} pixels a side to be painted smoothly, "
                f"found {rect.h} × {rect.w}. Choose a smaller side."
            )
        newest = self.round_to_review()
        region = self._writable().add_region(
            name,
            rect,
            state=RegionState.REVIEW,
            reason="marked by hand",
            round=None if newest is None else newest.number,
        )
        self._tell(Change.REGIONS)
        self.open_region(region.id)
        return region

    def open_region(self, region_id: int) -> None:
        """Put a region under the brush, with its draft where there is one."""
        project = self._writable()
        region = project.region(region_id)
        if self.edit is not None and self.edit.region.id == region_id:
            return
        self.show_slide(region.slide)
        self.close_region()
        labels = project.labels(region.slide)
        before, origin = labels.read(region.rect), labels.read_origin(region.rect)
        draft = self._load_draft(region)
        if draft is None:
            predicted = self._predicted(region)
            values = start_values(before, predicted)
        else:
            values, predicted = draft.values, draft.predicted
        if region.state in {RegionState.UNLABELLED, RegionState.PREDICTED, RegionState.SKIPPED}:
            project.set_region(region_id, state=RegionState.REVIEW)
            region = project.region(region_id)
        self._edit = RegionEdit(
            region, values, before, origin, predicted, restored=draft is not None
        )
        if draft is not None:
            self._edit.touched = draft.touched
            self._edit.take_prediction(self._predicted(region))
        self._region_changed()

    def close_region(self) -> None:
        """Take the region from under the brush; unsaved strokes become a draft."""
        if self.edit is None:
            return
        self.save_draft()
        self._edit = None
        self._region_changed()

    def strokes_made(self, values: Pixels) -> None:
        """Note that a stroke was made and that the editing layer holds ``values`` now."""
        if self.edit is None or values.shape != self.edit.region.rect.shape:
            return
        self.edit.values = values
        self.edit.strokes += 1
        if self.edit.strokes == 1:
            # Doing again what was taken back would lose what was painted since.
            self._undone_drafts[self.edit.region.id] = None
            self._tell(Change.EDIT)
        self.dirtied.emit()

    def save_draft(self) -> None:
        """Write unsaved strokes where a crash cannot take them.

        Raises
        ------
        ProjectError
            If the disk is full; the strokes stay under the brush.
        """
        if self.edit is not None and self.edit.dirty:
            self.drafts.save(self.edit)

    def keep_strokes(self) -> None:
        """Begin to write unsaved strokes in a thread; raise what the write before ended with."""
        if self._keeping is not None:
            if not self._keeping.done():
                return
            keeping, self._keeping = self._keeping, None
            keeping.result()
        if self.edit is not None and self.edit.dirty:
            self._keeping = self.drafts.save_soon(self.edit)

    @property
    def keeping_strokes(self) -> bool:
        """Whether strokes are not on disk yet, or the result of writing them is not known."""
        return self._keeping is not None or (self.edit is not None and self.edit.dirty)

    def discard_strokes(self) -> None:
        """Let go of strokes that could not be saved: a person said so."""
        if self._edit is not None:
            self._edit.kept = self._edit.strokes

    def rescue_strokes(self) -> Path | None:
        """Write strokes that the project's disk has no room for elsewhere; return the file."""
        if self.edit is None or not self.edit.dirty:
            return None
        elsewhere = Drafts(Path(tempfile.mkdtemp(prefix="unisemalign-strokes-")))
        elsewhere.save(self.edit)
        elsewhere.close()
        return elsewhere.path(self.edit.region.id)

    def _slide_name(self) -> str:
        if self.slide is None:
            raise ProjectError("No slide is shown. Press Open slide… first.")
        return self.slide

    def _open_edit(self, verb: str) -> RegionEdit:
        if self.edit is None:
            raise ProjectError(
                f"{verb} needs a region. Press Next region or Mark region to open one."
            )
        return self.edit

    def _is_open(self, region: Region) -> bool:
        return self._edit is not None and self._edit.region.id == region.id

    def _load_draft(self, region: Region) -> Draft | None:
        try:
            return self.drafts.load(region)
        except ProjectError as error:
            self.warned.emit(str(error))
            return None

    def _drop_draft(self, region_id: int) -> None:
        """Forget a region's draft: its labels are written. It leaves the brush."""
        self.drafts.drop(region_id)
        self._undone_drafts.pop(region_id, None)
        if self._edit is not None and self._edit.region.id == region_id:
            self._edit = None
            self._region_changed()

    def _region_changed(self) -> None:
        """Tell that another region is under the brush, or none; its state changed with that."""
        self._tell(Change.EDIT | Change.REGIONS)
        self.region_changed.emit()
