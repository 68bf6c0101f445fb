"""One person, one project: what is open and what can be done with it. No Qt, no torch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from napari_unisemalign.session.acts import (
    Act,
    ClassesAct,
    History,
    LabelAct,
    RegionAct,
    RoundAct,
)
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.curve import Curve
from napari_unisemalign.session.drafts import Draft, Drafts
from napari_unisemalign.session.records import ProjectRecords
from napari_unisemalign.session.region_edit import Pixels, RegionEdit, start_values
from napari_unisemalign.session.remarks import Remarks
from napari_unisemalign.session.session_state import SessionState
from unisemalign.errors import DataError, ProjectError, UnisemalignError
from unisemalign.geometry import Rect
from unisemalign.project import (
    ClassInfo,
    JournalEntry,
    LabelEdit,
    Project,
    Region,
    RegionState,
    SlideRecord,
    Split,
)

MAX_REGION_PX = 4096
"""Largest side of a region that can be painted without stutter."""


class Session(SessionState):
    """What one person does with one project.

    Every method that cannot do what it was asked raises a ``UnisemalignError`` whose message is
    a sentence for the person, and leaves everything as it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held = ExitStack()
        self._history = History()
        self._keeping: Future[None] | None = None
        self._undone_drafts: dict[int, int | None] = {}

    # -- project ------------------------------------------------------------------------------

    def create(
        self,
        root: Path,
        *,
        classes: Sequence[str | ClassInfo],
        spacing_um: float = 0.5,
        encoder: str = "embedded",
        text: str = "free",
    ) -> None:
        """Make a project in ``root`` and open it."""
        project = Project.create(
            root, classes=classes, spacing_um=spacing_um, encoder=encoder, text=text
        )
        self._enter(project)

    def open(self, root: Path) -> None:
        """Open the project in ``root``; what was open before is closed."""
        if self.project is not None and root.resolve() == self.project.root.resolve():
            return
        self._enter(Project.open(root))

    def close(self, *, discard_strokes: bool = False) -> None:
        """Keep unsaved strokes as a draft and let go of the project.

        Raises
        ------
        ProjectError
            If the strokes cannot be kept: then the project stays open, unless ``discard_strokes``.
        """
        if not discard_strokes:
            self.save_draft()
        self._let_go()
        self.project_changed.emit()
        self.changed.emit(Change.all())

    def _enter(self, project: Project) -> None:
        held = ExitStack()
        try:
            held.enter_context(project)
            held.enter_context(project.lock_editing())
            self.save_draft()
        except UnisemalignError:
            held.close()
            raise
        self._let_go()
        self._project, self._held = project, held
        self._records = ProjectRecords(project)
        self._drafts = Drafts(project.layout.drafts)
        self.project_changed.emit()
        names = [record.name for record in self._records.slides()]
        drafts = [region for region in self.queue() if region.state is RegionState.REVIEW]
        if drafts:
            self._try_open(drafts[0])
        if self.slide is None and names:
            self._show_first(names)
        self.changed.emit(Change.all())

    def _let_go(self) -> None:
        for slide in self._open_slides.values():
            slide.slide.close()
        self._open_slides = {}
        if self._drafts is not None:
            self._drafts.close()
        self._history, self._keeping, self._undone_drafts = History(), None, {}
        self._project = self._records = self._drafts = self._slide = self._edit = None
        self._segmenting = self._training = None
        self._curve, self._area = Curve(), {}
        self._round_on_show = self._compared_round = None
        self._change_note = ""
        self._ranking = self._live = self._all_asked = False
        held, self._held = self._held, ExitStack()
        held.close()
        self.region_changed.emit()
        self.slide_changed.emit()

    def _try_open(self, region: Region) -> None:
        try:
            self.open_region(region.id)
        except UnisemalignError:
            # The slide moved: it stays in the list, and pressing it there says so.
            self._edit = None

    def _show_first(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self.show_slide(name)
            except UnisemalignError:
                continue
            return

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Rename, recolour, add or take away classes; it can be taken back.

        The region under the brush stays there.
        """
        project = self._writable()
        before = project.info.classes
        if tuple(classes) == before:
            return
        self._set_classes(tuple(classes))
        self._history.add(ClassesAct(before, project.info.classes, self._set_classes))

    def _set_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        project, edit = self._writable(), self.edit
        self.close_region()
        try:
            project.set_classes(classes)
        finally:
            self._tell(Change.CLASSES | Change.LABELS | Change.ROUNDS)
            self.classes_changed.emit()
            if edit is not None:
                self.open_region(edit.region.id)
        self.refresh_area()

    # -- slides -------------------------------------------------------------------------------

    def add_slide(
        self, path: Path, *, spacing_um: float | None = None, split: Split = Split.TRAIN
    ) -> SlideRecord:
        """Add a slide and show it. SpacingError: it does not say how large its pixels are."""
        record = self._writable().add_slide(path, spacing_um=spacing_um, split=split)
        self._tell(Change.SLIDES)
        self.show_slide(record.name)
        return record

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

    def relocate_slide(self, name: str, path: Path) -> None:
        """Tell the project where the slide is now."""
        self._writable().relocate_slide(name, path)
        self._tell(Change.SLIDES)
        if (opened := self._open_slides.pop(name, None)) is not None:
            opened.slide.close()
        if name == self._slide:
            self._slide = None
        self.show_slide(name)

    def set_split(self, name: str, split: Split) -> None:
        """Choose what the slide is for; val and test slides are never trained on."""
        self._writable().set_slide_split(name, split)
        self._tell(Change.SLIDES | Change.REGIONS)

    def import_labels(
        self, path: Path, mapping: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Read labels of the slide on show from a mask, GeoJSON, ImageScope or ASAP file.

        Parameters
        ----------
        path
            The file; what it is follows from what it holds.
        mapping
            Class of the file → class of the project, ``""`` where it is left out.

        Returns
        -------
        tuple of str
            What a person should know: what was left out, and what is not kept.

        Raises
        ------
        UnknownClassesError
            If the file names a class that neither the project has nor the mapping.
        DataError
            If the file is not what it needs to be. Nothing is then imported.
        """
        name = self._slide_name()
        from unisemalign.exchange import import_labels

        before, remarks = self._newest_id(), Remarks()
        import_labels(self._writable(), name, path, mapping=mapping, events=remarks)
        self._labels_written(name)
        if self._newest_id() > before:
            self._history.add(self._label_act("import"))
        return tuple(remarks.texts)

    def _slide_name(self) -> str:
        if self.slide is None:
            raise ProjectError("No slide is on show. Press Open slide… first.")
        return self.slide

    # -- regions ------------------------------------------------------------------------------

    def mark_region(self, rect: Rect) -> Region:
        """Make a region of ``rect`` (working spacing, cut to the slide) and open it."""
        name = self._slide_name()
        rect = rect.intersect(Rect(0, 0, *self.spaced_slide(name).shape_yx))
        if rect.h < 16 or rect.w < 16:
            raise DataError(
                f"A region needs at least 16 × 16 pixels of the slide, found {rect.h} × {rect.w}. "
                f"Move the view over the slide, then press Mark region."
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

    def accept(self) -> Region:
        """Stand behind the labels under the brush: write them, with the origin of each pixel."""
        edit = self._open_edit("Accept")
        if not edit.values.any():
            raise DataError(
                "Nothing is painted in this region. Choose a class, paint with the brush, "
                "then press Accept; or press Skip."
            )
        count = len(self._writable().info.classes)
        if int(edit.values.max()) > count:
            raise DataError(
                f"The region holds the label {int(edit.values.max())}, but the project has "
                f"{count} classes. Paint over it with one of them, then press Accept."
            )
        region = edit.region
        labels = LabelEdit(region.rect, edit.values, edit.resolve_origin(), regions=(region,))
        self._writable().accept(region.slide, [labels], action="accept", round=region.round)
        self._drop_draft(region.id)
        self._labels_written(region.slide)
        self._history.add(self._label_act("accept"))
        return region

    def skip(self) -> None:
        """Leave the region under the brush unlabelled, and do not offer it again.

        What was painted stays its draft.
        """
        before = self._open_edit("Skip").region
        self.save_draft()
        after = self._writable().set_region(before.id, state=RegionState.SKIPPED)
        self._edit = None
        self._region_changed()
        self._history.add(RegionAct("skip", before, after, self._restore_region))

    def hold_out(self, held: bool) -> None:
        """Keep the region under the brush for measuring (val): it is never trained on."""
        edit = self._open_edit("Hold out")
        before, split = edit.region, Split.VAL if held else Split.TRAIN
        edit.region = self._writable().set_region(before.id, split=split)
        self._tell(Change.REGIONS | Change.EDIT)
        self._history.add(RegionAct("hold out", before, edit.region, self._restore_region))

    def undo(self) -> Act | None:
        """Take back what was done last and return it; its region comes under the brush again.

        Labels taken back become the region's draft, so that they can be bettered. After a restart,
        edits of the labels can be taken back, newest first.
        """
        self._writable()
        act = self.next_undo()
        if act is not None:
            self._history.undo(act)
        return act

    def redo(self) -> Act | None:
        """Do again what was taken back last and return it.

        Never where strokes were painted since: they would be lost.
        """
        self._writable()
        act = self.next_redo()
        if act is not None:
            self._history.redo(act)
        return act

    def next_undo(self) -> Act | None:
        """Return what :meth:`undo` takes back."""
        records = self.read_records()
        if records is None:
            return None
        act = self._history.last_done
        entry = records.newest_edit("done")
        if isinstance(act, LabelAct) and entry is None:
            return None
        if act is not None:
            return act
        return None if entry is None else self._label_act(entry.action)

    def next_redo(self) -> Act | None:
        """Return what :meth:`redo` does again."""
        records = self.read_records()
        if records is None:
            return None
        act = self._history.last_undone
        entry = records.next_redo()
        if act is not None and not isinstance(act, LabelAct):
            return act
        if entry is None or self._painted_since(entry):
            return None
        return act or self._label_act(entry.action)

    def _label_act(self, verb: str) -> LabelAct:
        return LabelAct(verb, self._undo_labels, self._redo_labels)

    def _undo_labels(self) -> None:
        """Take back the newest act of the journal; a region that was accepted opens again."""
        project, entry = self._writable(), self.records.newest_edit("done")
        if entry is None:
            return
        values = project.labels(entry.slide).read(entry.rect)
        project.undo()
        self._labels_written(entry.slide)
        region = next((each for each in self.records.regions() if each.id == entry.region_id), None)
        if region is None or entry.action != "accept":
            return
        region = project.set_region(region.id, state=RegionState.REVIEW)
        self._tell(Change.REGIONS)
        if region.rect == entry.rect:
            self._draft_from(region, values, entry.id)

    def _redo_labels(self) -> None:
        """Carry out the act again that was taken back last."""
        entry = self._writable().redo()
        if entry is None:
            return
        if entry.region_id is not None:
            self._drop_draft(entry.region_id)
        self._labels_written(entry.slide)

    def _restore_region(self, region: Region) -> None:
        """Give a region an earlier state and split; one to be reviewed comes under the brush."""
        project = self._writable()
        if region.state is not RegionState.REVIEW and self._is_open(region):
            self.close_region()
        restored = project.set_region(region.id, state=region.state, split=region.split)
        self._tell(Change.REGIONS)
        if self._edit is not None and self._is_open(region):
            self._edit.region = restored
            self._tell(Change.EDIT)
        elif region.state is RegionState.REVIEW:
            self.open_region(region.id)

    def _painted_since(self, entry: JournalEntry) -> bool:
        """Tell whether strokes were painted in the edit's region since it was taken back."""
        if entry.region_id is None:
            return False
        if entry.region_id not in self._undone_drafts:
            draft = self._load_draft(self._writable().region(entry.region_id))
            self._undone_drafts[entry.region_id] = entry.id if draft is None else draft.undone
        return self._undone_drafts[entry.region_id] != entry.id

    def _is_open(self, region: Region) -> bool:
        return self._edit is not None and self._edit.region.id == region.id

    def _newest_id(self) -> int:
        records = self.read_records()
        journal = () if records is None else records.journal()
        return journal[0].id if journal else 0

    def _load_draft(self, region: Region) -> Draft | None:
        try:
            return self.drafts.load(region)
        except ProjectError as error:
            self.warned.emit(str(error))
            return None

    def _draft_from(self, region: Region, values: Pixels, undone: int) -> None:
        self.close_region()
        labels = self._writable().labels(region.slide)
        before, origin = labels.read(region.rect), labels.read_origin(region.rect)
        edit = RegionEdit(region, values, before, origin, self._predicted(region))
        self.drafts.save(edit, undone=undone)
        self._undone_drafts[region.id] = undone
        self.open_region(region.id)

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

    def _open_edit(self, verb: str) -> RegionEdit:
        if self.edit is None:
            raise ProjectError(
                f"{verb} needs a region. Press Next region or Mark region to open one."
            )
        return self.edit

    def _predicted(self, region: Region) -> Pixels:
        store = self.prediction(region.slide)
        if store is None:
            return np.zeros(region.rect.shape, np.uint8)
        return store.read(region.rect, "class")

    def predicted(self) -> None:
        """Note that pixels of a prediction were written; the open region shows them."""
        self._tell(Change.PREDICTION)
        self._show_prediction()

    def _show_prediction(self) -> None:
        edit = self._edit
        if edit is not None and edit.take_prediction(self._predicted(edit.region)):
            self._tell(Change.EDIT)
        self.prediction_changed.emit()

    def guess_changed(self) -> None:
        """Note that there is another first guess on disk."""
        self._tell(Change.GUESS | Change.ROUNDS | Change.PREDICTION)
        self._show_prediction()
        self.refresh_area()

    def refresh_area(self, area: dict[str, float] | None = None) -> None:
        """Take the area per class from a finished job, or measure it."""
        shown = self.shown_prediction()
        number = None if shown is None else shown[0]
        if area is not None and number == self.prediction_round():
            self._area = area
        elif self.project is not None and self.slide is not None and number is not None:
            # Polygons and masks are another room's tools: not needed to open a viewer.
            from unisemalign.exchange import area_by_class

            self._area = area_by_class(self.project, self.slide, number)
        else:
            self._area = {}
        self._tell(Change.AREA)

    # -- rounds -------------------------------------------------------------------------------

    def use_round(self, number: int) -> None:
        """Go back, or forward, to a round; newer ones are set aside. It can be taken back."""
        before = self._aside()
        self._writable().use_round(number)
        self._tell_used()
        self._history.add(RoundAct(before, self._aside(), self._set_aside))

    def _aside(self) -> frozenset[int]:
        return frozenset(each.number for each in self.rounds() if each.set_aside)

    def _set_aside(self, numbers: frozenset[int]) -> None:
        self._writable().set_rounds_aside(numbers)
        self._tell_used()

    def _tell_used(self) -> None:
        self._round_on_show = None
        self._tell(Change.ROUNDS | Change.PREDICTION | Change.REGIONS)
        self._show_prediction()
        self._note_changes()
        self.refresh_area()

    def show_round(self, number: int | None) -> None:
        """Show what another round says; ``None``: the newest in use. What is used stays."""
        self._round_on_show = number
        self._tell(Change.PREDICTION)
        self.prediction_changed.emit()
        self._note_changes()
        self.refresh_area()

    def compare_round(self, number: int | None) -> None:
        """Show where the round on show says something else than round ``number``."""
        self._compared_round = number
        self._note_changes()
        self._tell(Change.PREDICTION)
        self.prediction_changed.emit()

    def _note_changes(self) -> None:
        """Say how much changed from the compared round to the one on show."""
        shown, number = self.shown_prediction(), self._compared_round
        self._change_note = ""
        if number is None or shown is None or self.project is None or self.slide is None:
            return
        if self.compared_predictions() is None:
            return
        from unisemalign.exchange import count_changes

        found = count_changes(self.project, self.slide, number, shown[0])
        gained = ", ".join(
            f"{name} {um2 / 1e6:+.3f}\u00a0mm²" for name, um2 in found.gained().items()
        )
        self._change_note = (
            f"From round {number} to round {shown[0]} {100 * found.share:.1f}\u00a0% of what both "
            f"labelled changed its class: {gained}."
        )

    def _labels_written(self, slide: str) -> None:
        self._tell(Change.LABELS | Change.REGIONS, labels_of=slide)
        self.labels_changed.emit()
