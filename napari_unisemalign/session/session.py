"""One person, one project: what is open and what can be done with it. No Qt, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from psygnal import Signal

from napari_unisemalign.session.progress import Curve, SegmentProgress, TrainingProgress
from napari_unisemalign.session.region_edit import Drafts, Pixels, RegionEdit
from unisemalign.errors import DataError, ProjectError, UnisemalignError
from unisemalign.geometry import Rect
from unisemalign.project import (
    ClassInfo,
    FirstGuess,
    GuessNote,
    JournalEntry,
    LabelEdit,
    PredictionStore,
    Project,
    Region,
    RegionState,
    Round,
    SlideRecord,
    Split,
)
from unisemalign.slides import SpacedSlide

MAX_REGION_PX = 4096
"""Largest side of a region that can be painted without stutter."""


class Session:
    """The open project, the slide on show, the region under the brush, and what runs.

    Every method that cannot do what it was asked raises a ``UnisemalignError`` whose message is
    a sentence for the person, and leaves everything as it was.
    """

    changed = Signal()
    """Anything a person sees may be different."""
    project_changed = Signal()
    slide_changed = Signal()
    region_changed = Signal()
    labels_changed = Signal()
    prediction_changed = Signal()
    """Pixels of the prediction on show, or the round it comes from."""
    dirtied = Signal()
    """Strokes were made that no draft holds yet."""

    def __init__(self) -> None:
        self.project: Project | None = None
        self.slide: str | None = None
        self.edit: RegionEdit | None = None
        self.segmenting: SegmentProgress | None = None
        self.training: TrainingProgress | None = None
        self.curve = Curve()
        self.queueing = False
        self.live = False
        self.pending_slides: tuple[Path, ...] = ()
        self.area: dict[str, float] = {}
        self._open_slides: dict[str, SpacedSlide] = {}
        self._held = ExitStack()
        self._labelled_values: frozenset[int] | None = None
        self._predictions: dict[tuple[int, str], PredictionStore] = {}

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

    def close(self) -> None:
        """Keep unsaved strokes as a draft and let go of the project."""
        try:
            self.save_draft()
        finally:
            self._let_go()
        self.project_changed.emit()
        self.changed.emit()

    def _enter(self, project: Project) -> None:
        held = ExitStack()
        try:
            held.enter_context(project)
            held.enter_context(project.lock_editing())
        except UnisemalignError:
            held.close()
            raise
        if self.project is not None:
            self.save_draft()
        self._let_go()
        self.project, self._held = project, held
        self.project_changed.emit()
        names = [record.name for record in project.slides()]
        drafts = [region for region in self.queue() if region.state is RegionState.REVIEW]
        if drafts:
            self._try_open(drafts[0])
        if self.slide is None and names:
            self._show_first(names)
        self.changed.emit()

    def _let_go(self) -> None:
        for slide in self._open_slides.values():
            slide.slide.close()
        self._open_slides = {}
        self._predictions = {}
        self._labelled_values = None
        self.project = self.slide = self.edit = None
        self.segmenting = self.training = None
        self.curve, self.area = Curve(), {}
        self.queueing = self.live = False
        held, self._held = self._held, ExitStack()
        held.close()
        self.region_changed.emit()
        self.slide_changed.emit()

    def _try_open(self, region: Region) -> None:
        try:
            self.open_region(region.id)
        except UnisemalignError:
            # The slide moved: it stays in the list, and pressing it there says so.
            self.edit = None

    def _show_first(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self.show_slide(name)
            except UnisemalignError:
                continue
            return

    @property
    def _project(self) -> Project:
        if self.project is None:
            raise ProjectError("No project is open. Press New project… or Open project… first.")
        root = self.project.root
        if not self.project.layout.info.exists():
            # Writing on would put half of the labels here and half where the folder went.
            raise ProjectError(
                f"The project is no longer at '{root}': it was moved or deleted while open. "
                f"Move it back there, then repeat the step."
            )
        return self.project

    @property
    def drafts(self) -> Drafts:
        """The drafts of the open project."""
        return Drafts(self._project.layout.drafts)

    # -- slides -------------------------------------------------------------------------------

    def add_slide(
        self, path: Path, *, spacing_um: float | None = None, split: Split = Split.TRAIN
    ) -> SlideRecord:
        """Add a slide and show it. SpacingError: it does not say how large its pixels are."""
        record = self._project.add_slide(path, spacing_um=spacing_um, split=split)
        self.show_slide(record.name)
        return record

    def show_slide(self, name: str) -> None:
        """Put ``name`` on show; the region under the brush is kept as a draft."""
        if name == self.slide:
            return
        self.spaced_slide(name)
        self.close_region()
        self.slide = name
        self.slide_changed.emit()
        self.refresh_area()

    def spaced_slide(self, name: str) -> SpacedSlide:
        """Return the slide at working spacing, opened once."""
        if name not in self._open_slides:
            self._open_slides[name] = self._project.open_slide(name)
        return self._open_slides[name]

    def relocate_slide(self, name: str, path: Path) -> None:
        """Tell the project where the slide is now."""
        self._project.relocate_slide(name, path)
        if (opened := self._open_slides.pop(name, None)) is not None:
            opened.slide.close()
        if name == self.slide:
            self.slide = None
        self.show_slide(name)

    def set_split(self, name: str, split: Split) -> None:
        """Choose what the slide is for; val and test slides are never trained on."""
        self._project.set_slide_split(name, split)
        self._labels_touched()

    def import_labels(self, path: Path) -> None:
        """Read labels of the slide on show from a mask or a GeoJSON file."""
        name = self._slide_name()
        from unisemalign.exchange import import_geojson, import_mask

        if path.suffix.lower() in {".json", ".geojson"}:
            import_geojson(self._project, name, path)
        else:
            import_mask(self._project, name, path)
        self._labels_touched()

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
                f"A region wants at least 16 × 16 pixels of the slide, found {rect.h} × {rect.w}. "
                f"Move the view over the slide, then press Mark region."
            )
        if max(rect.shape) > MAX_REGION_PX:
            raise DataError(
                f"A region wants at most {MAX_REGION_PX} pixels a side to be painted smoothly, "
                f"found {rect.h} × {rect.w}. Choose a smaller side."
            )
        newest = self._project.doubting_round()
        region = self._project.add_region(
            name,
            rect,
            state=RegionState.REVIEW,
            reason="marked by hand",
            round=None if newest is None else newest.number,
        )
        self.open_region(region.id)
        return region

    def open_region(self, region_id: int) -> None:
        """Put a region under the brush, with its draft where there is one."""
        project = self._project
        region = project.region(region_id)
        if self.edit is not None and self.edit.region.id == region_id:
            return
        self.show_slide(region.slide)
        self.close_region()
        labels = project.labels(region.slide)
        before, origin = labels.read(region.rect), labels.read_origin(region.rect)
        draft = self.drafts.load(region)
        if draft is None:
            predicted = self._predicted(region)
            values = np.where(before > 0, before, predicted).astype(np.uint8)
        else:
            values, predicted = draft
        if region.state in {RegionState.UNLABELLED, RegionState.PREDICTED, RegionState.SKIPPED}:
            project.set_region(region_id, state=RegionState.REVIEW)
            region = project.region(region_id)
        self.edit = RegionEdit(
            region, values, before, origin, predicted, restored=draft is not None
        )
        self.region_changed.emit()
        self.changed.emit()

    def close_region(self) -> None:
        """Take the region from under the brush; unsaved strokes become a draft."""
        if self.edit is None:
            return
        self.save_draft()
        self.edit = None
        self.region_changed.emit()
        self.changed.emit()

    def strokes_made(self, values: Pixels) -> None:
        """Note that the editing layer holds ``values`` now."""
        if self.edit is None or values.shape != self.edit.region.rect.shape:
            return
        self.edit.values = values
        if not self.edit.dirty:
            self.edit.dirty = True
            self.changed.emit()
        self.dirtied.emit()

    def save_draft(self) -> None:
        """Write unsaved strokes where a crash cannot take them."""
        if self.edit is not None and self.edit.dirty:
            self.drafts.save(self.edit)

    def accept(self) -> Region:
        """Stand behind the labels under the brush: write them, with the origin of each pixel."""
        edit = self._open_edit("Accept")
        if not edit.values.any():
            raise DataError(
                "Nothing is painted in this region. Choose a class, paint with the brush, "
                "then press Accept; or press Skip."
            )
        count = len(self._project.info.classes)
        if int(edit.values.max()) > count:
            raise DataError(
                f"The region holds the label {int(edit.values.max())}, but the project has "
                f"{count} classes. Paint over it with one of them, then press Accept."
            )
        region = edit.region
        self._project.write_labels(
            region.slide,
            region.rect,
            edit.values,
            edit.resolve_origin(),
            action="accept",
            region_id=region.id,
            round=region.round,
        )
        self._finish(region, RegionState.ACCEPTED)
        self._labels_touched()
        return region

    def skip(self) -> None:
        """Leave the region under the brush unlabelled, and do not offer it again."""
        self._finish(self._open_edit("Skip").region, RegionState.SKIPPED)
        self.changed.emit()

    def hold_out(self, held: bool) -> None:
        """Keep the region under the brush for measuring (val): it is never trained on."""
        edit = self._open_edit("Hold out")
        self._project.set_region(edit.region.id, split=Split.VAL if held else Split.TRAIN)
        edit.region = self._project.region(edit.region.id)
        self.changed.emit()

    def undo(self) -> JournalEntry | None:
        """Take back the newest change of the labels; its region comes under the brush again.

        The labels taken back become the region's draft, so that they can be bettered.
        """
        project = self._project
        entry = self._newest("done")
        if entry is None:
            return None
        values = project.labels(entry.slide).read(entry.rect)
        if project.undo() is None:
            return None
        if entry.region_id is not None:
            region = self._project.region(entry.region_id)
            self._project.set_region(region.id, state=RegionState.REVIEW)
            if region.rect == entry.rect:
                self._draft_from(region, values)
        self._labels_touched()
        return entry

    def redo(self) -> JournalEntry | None:
        """Make again what was taken back."""
        entry = self._project.redo()
        if entry is None:
            return None
        if entry.region_id is not None:
            self._drop_work(self._project.region(entry.region_id))
        self._labels_touched()
        return entry

    def can_undo(self) -> bool:
        """Whether a change of the labels can be taken back."""
        return self._newest("done") is not None

    def can_redo(self) -> bool:
        """Whether a change can be made again."""
        return self._newest("undone") is not None

    def _newest(self, state: str) -> JournalEntry | None:
        journal = [] if self.project is None else self.project.journal()
        return next((each for each in journal if each.state == state), None)

    def _draft_from(self, region: Region, values: Pixels) -> None:
        labels = self._project.labels(region.slide)
        before, origin = labels.read(region.rect), labels.read_origin(region.rect)
        self.drafts.save(RegionEdit(region, values, before, origin, self._predicted(region)))
        self.close_region()
        self.open_region(region.id)

    def _finish(self, region: Region, state: RegionState) -> None:
        self._project.set_region(region.id, state=state)
        self._drop_work(region)

    def _drop_work(self, region: Region) -> None:
        self.drafts.drop(region.id)
        if self.edit is not None and self.edit.region.id == region.id:
            self.edit = None
            self.region_changed.emit()

    def _open_edit(self, verb: str) -> RegionEdit:
        if self.edit is None:
            raise ProjectError(
                f"{verb} wants a region. Press Next region or Mark region to open one."
            )
        return self.edit

    def _predicted(self, region: Region) -> Pixels:
        store = self.prediction(region.slide)
        if store is None:
            return np.zeros(region.rect.shape, np.uint8)
        return store.read(region.rect, "class")

    def queue(self) -> list[Region]:
        """Regions to look at: begun ones first, then the model's doubts, worst first."""
        if self.project is None:
            return []
        begun = self.project.regions(state=RegionState.REVIEW)
        ranked = self.project.regions(state=RegionState.PREDICTED)
        ranked.sort(key=lambda region: -(region.score or 0.0))
        return [*begun, *ranked]

    # -- rounds and predictions ---------------------------------------------------------------

    def rounds(self) -> list[Round]:
        """Every round, oldest first."""
        return [] if self.project is None else list(self.project.rounds())

    def latest_round(self) -> Round | None:
        """Return the newest round that has a model."""
        return None if self.project is None else self.project.latest_round()

    def settled_round(self) -> Round | None:
        """Return the newest round that has a model and is not learning still."""
        learning = None if self.training is None else self.training.round
        return None if self.project is None else self.project.latest_round(besides=learning)

    def round_to_review(self) -> Round | None:
        """Return the round whose doubts are looked at: the newest model's, else the first guess."""
        return None if self.project is None else self.project.doubting_round()

    def guess_note(self) -> GuessNote | None:
        """Return how the first guess was made, or ``None`` when there is none."""
        return None if self.project is None else FirstGuess(self.project).note()

    def clusters(self) -> PredictionStore | None:
        """Return the map of clusters of the slide on show, or ``None`` when there is none."""
        note = self.guess_note()
        if self.project is None or self.slide is None or note is None or not note.directions:
            return None
        try:
            return FirstGuess(self.project).clusters(self.slide)
        except ProjectError:
            return None

    def guess_changed(self) -> None:
        """Note that there is another first guess on disk."""
        # Its maps may have been made anew: what was open is let go of.
        self._predictions = {key: kept for key, kept in self._predictions.items() if key[0] > 0}
        self.prediction_changed.emit()
        self.refresh_area()

    def prediction(self, slide: str | None = None) -> PredictionStore | None:
        """Return the newest prediction of ``slide`` (the one on show when ``None``), or nothing."""
        found = self._find_prediction(slide or self.slide)
        return None if found is None else found[1]

    def prediction_round(self, slide: str | None = None) -> int | None:
        """Return the number of the round whose prediction :meth:`prediction` returns."""
        found = self._find_prediction(slide or self.slide)
        return None if found is None else found[0]

    def _find_prediction(self, name: str | None) -> tuple[int, PredictionStore] | None:
        if self.project is None or name is None:
            return None
        for each in reversed(self.rounds()):
            key = each.number, name
            if key not in self._predictions:
                try:
                    self._predictions[key] = self.project.predictions(*key)
                except ProjectError:
                    continue
            return each.number, self._predictions[key]
        return None

    def refresh_area(self, area: dict[str, float] | None = None) -> None:
        """Take the area per class from a finished job, or measure it."""
        number = self.prediction_round()
        if area is not None:
            self.area = area
        elif self.project is not None and self.slide is not None and number is not None:
            # Polygons and masks are another room's tools: not needed to open a viewer.
            from unisemalign.exchange import area_by_class

            self.area = area_by_class(self.project, self.slide, number)
        else:
            self.area = {}
        self.changed.emit()

    # -- what the next sentence needs to know -------------------------------------------------

    def labelled_values(self) -> frozenset[int]:
        """Label values that occur on training slides; counted once until labels change."""
        if self.project is None:
            return frozenset()
        if self._labelled_values is None:
            found: set[int] = set()
            for record in self.project.slides(Split.TRAIN):
                labels = self.project.labels(record.name)
                for rect in labels.labelled_rects():
                    found.update(int(value) for value in np.unique(labels.read(rect)))
            self._labelled_values = frozenset(found - {0})
        return self._labelled_values

    def _labels_touched(self) -> None:
        self._labelled_values = None
        self.labels_changed.emit()
        self.changed.emit()
