"""One person, one project: what is open and what can be done with it. No Qt, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from napari_unisemalign.session.acts import ClassesAct, History, LabelAct
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.curve import Curve
from napari_unisemalign.session.drafts import Drafts
from napari_unisemalign.session.records import ProjectRecords
from napari_unisemalign.session.remarks import Remarks
from napari_unisemalign.session.session_acts import SessionActs
from unisemalign.errors import UnisemalignError
from unisemalign.project import (
    ClassInfo,
    Project,
    Region,
    RegionState,
    SlideRecord,
    Split,
    merge_classes,
)


class Session(SessionActs):
    """What one person does with one project.

    Every method that cannot do what it was asked raises a ``UnisemalignError`` whose message is
    a sentence for the person, and leaves everything as it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held = ExitStack()

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
        self._history, self._keeping = History(), None
        self._undone_drafts = {}
        self._reader = ""
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

    # -- classes ------------------------------------------------------------------------------

    def set_person(self, name: str) -> None:
        """Say who edits from now on: the name is kept with every edit of the labels."""
        self._writable().person = name

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

    def merge_classes(self, value: int, into: int) -> None:
        """Make every label of one class one of another; it can be taken back as a whole.

        Strokes that are not accepted yet keep the class they were painted with.
        """
        project, edit = self._writable(), self.edit
        self.close_region()
        try:
            slides = merge_classes(project, value, into)
        finally:
            self._tell(Change.LABELS | Change.REGIONS)
            self.labels_changed.emit()
            if edit is not None:
                self.open_region(edit.region.id)
        if slides:
            act = LabelAct("merge classes", self._undo_labels, self._redo_labels, times=slides)
            self._history.add(act)

    # -- slides -------------------------------------------------------------------------------

    def add_slide(
        self, path: Path, *, spacing_um: float | None = None, split: Split = Split.TRAIN
    ) -> SlideRecord:
        """Add a slide and show it. SpacingError: it does not say how large its pixels are."""
        record = self._writable().add_slide(path, spacing_um=spacing_um, split=split)
        self._tell(Change.SLIDES)
        self.show_slide(record.name)
        return record

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
