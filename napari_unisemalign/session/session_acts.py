"""What can be taken back and done again: accept, skip, hold out, and the edits of labels."""

from __future__ import annotations

from napari_unisemalign.session.acts import Act, LabelAct, RegionAct
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.records import SURE_CONFIDENCE, SURE_PIXEL_SHARE
from napari_unisemalign.session.region_edit import Pixels, RegionEdit
from napari_unisemalign.session.session_regions import SessionRegions
from unisemalign.errors import DataError, ProjectError
from unisemalign.project import JournalEntry, LabelEdit, Origin, Region, RegionState, Split
from unisemalign.project.names import check_person
from unisemalign.project.second_readings import check_reader


class SessionActs(SessionRegions):
    """Decides about the region under the brush; takes acts back and does them again, in order."""

    def accept(self) -> Region:
        """Stand behind the labels under the brush: write them, with the origin of each pixel.

        A second reader answers with it: as they are, the labels are agreed with.
        """
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
        if self.reader and (reading := self.records.waiting_for(self.reader).get(region.id)):
            before = self._newest_id()
            self._writable().answer_reading(reading.id, edit.values)
            done = "second reading"
        else:
            before, done = -1, "accept"
            labels = LabelEdit(region.rect, edit.values, edit.resolve_origin(), regions=(region,))
            self._writable().accept(region.slide, [labels], action=done, round=region.round)
        self._drop_draft(region.id)
        self._labels_written(region.slide)
        if self._newest_id() > before:
            self._history.add(self._label_act(done))
        return region

    def accept_and_send(self, reader: str) -> Region:
        """Accept the region under the brush and ask a second reader to look at it.

        Raises
        ------
        DataError
            For a name that is none, or one's own. Nothing is then accepted.
        """
        project = self._writable()
        name = check_reader(reader, project.person)
        region = self.accept()
        project.send_to_reader(region.id, name)
        self._tell(Change.REGIONS)
        return region

    def read_as(self, reader: str) -> None:
        """Show a second reader what was sent to them, and nothing else; "": show all again."""
        if reader:
            reader = check_person(reader)
            if not self.records.waiting_for(reader):
                raise ProjectError(
                    f"A second reading needs a region that was sent to '{reader}', found none that "
                    f"waits. Press Accept and send… on a region first."
                )
        self.close_region()
        self._reader = reader
        self._tell(Change.REGIONS | Change.EDIT)
        if reader:
            self.open_region(self.queue()[0].id)

    def sure_regions(self) -> list[Region]:
        """Return regions to look at in which the model doubts hardly a pixel, none overlapping.

        Not begun; half of their pixels predicted at least, and :data:`SURE_PIXEL_SHARE`
        of those at :data:`SURE_CONFIDENCE` or above.
        """
        found: list[Region] = []
        for region in self.queue():
            if region.state is not RegionState.PREDICTED or not self.records.is_sure(region):
                continue
            if not any(
                region.slide == other.slide and region.rect.intersect(other.rect).area
                for other in found
            ):
                found.append(region)
        return found

    def accept_sure(self) -> int:
        """Accept what the model says of :meth:`sure_regions`, all at once; return how many.

        One undo takes all of them back.
        """
        project, regions = self._writable(), self.sure_regions()
        if not regions:
            raise ProjectError(
                f"Accepting at once needs a region where the model is "
                f"{100 * SURE_CONFIDENCE:.0f} % sure of {100 * SURE_PIXEL_SHARE:.0f} % of the "
                f"predicted pixels, found none in the list. Look at them one by one with Next "
                f"region (N)."
            )
        slides = list(dict.fromkeys(region.slide for region in regions))
        for name in slides:
            labels = project.labels(name)
            edits = [
                LabelEdit(
                    each.rect,
                    self._predicted(each),
                    Origin.ACCEPTED,
                    only=labels.read(each.rect) == 0,  # what a person labelled stays
                    regions=(each,),
                )
                for each in regions
                if each.slide == name
            ]
            project.accept(name, edits, action="accept sure", round=regions[0].round)
            self._labels_written(name)
        act = LabelAct("accept sure", self._undo_labels, self._redo_labels, times=len(slides))
        self._history.add(act)
        return len(regions)

    def skip(self) -> None:
        """Leave the region under the brush unlabelled, and do not offer it again.

        What was painted stays its draft.
        """
        before = self._open_edit("Skip").region
        if self.reader:
            raise ProjectError(
                "Skip needs a first reader, found a second one at work. Press Agree, or leave the "
                "region with Next region."
            )
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

    def _draft_from(self, region: Region, values: Pixels, undone: int) -> None:
        self.close_region()
        labels = self._writable().labels(region.slide)
        before, origin = labels.read(region.rect), labels.read_origin(region.rect)
        edit = RegionEdit(region, values, before, origin, self._predicted(region))
        self.drafts.save(edit, undone=undone)
        self._undone_drafts[region.id] = undone
        self.open_region(region.id)

    def _painted_since(self, entry: JournalEntry) -> bool:
        """Tell whether strokes were painted in the edit's region since it was taken back."""
        if entry.region_id is None:
            return False
        if entry.region_id not in self._undone_drafts:
            draft = self._load_draft(self._writable().region(entry.region_id))
            self._undone_drafts[entry.region_id] = entry.id if draft is None else draft.undone
        return self._undone_drafts[entry.region_id] != entry.id

    def _newest_id(self) -> int:
        records = self.read_records()
        journal = () if records is None else records.journal()
        return journal[0].id if journal else 0

    def _labels_written(self, slide: str) -> None:
        self._tell(Change.LABELS | Change.REGIONS, labels_of=slide)
        self.labels_changed.emit()
