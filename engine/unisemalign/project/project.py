"""The project folder: everything about a study, and the only thing processes share."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unisemalign import slides as slide_room
from unisemalign.errors import (
    BusyError,
    DataError,
    KnownSlideError,
    ProjectError,
    SlideError,
    SpacingError,
)
from unisemalign.geometry import Rect
from unisemalign.project.creating import make_project
from unisemalign.project.database import Database
from unisemalign.project.edits import LabelEdit, LabelEditor
from unisemalign.project.facts import check_facts, note_class_count
from unisemalign.project.info import (
    ClassInfo,
    ProjectInfo,
    build_classes,
    build_info,
    read_info,
    write_info,
)
from unisemalign.project.journal import Journal, RegionChange, UnreadableEditError
from unisemalign.project.labels import LabelStore, check_rect, holds_labels, make_labels
from unisemalign.project.locks import PATIENCE_S, ProcessLock
from unisemalign.project.names import check_person, unique_name
from unisemalign.project.predictions import PredictionStore, remove_predictions
from unisemalign.project.records import (
    JournalEntry,
    Origin,
    Region,
    RegionState,
    Round,
    RoundState,
    SecondReading,
    SlideRecord,
)
from unisemalign.project.region_table import RegionTable
from unisemalign.project.round_table import RoundTable
from unisemalign.project.second_readings import ReadingTable, check_reader, compare
from unisemalign.project.slide_table import MAX_CAPTION, SlideTable
from unisemalign.project.tissue import TissueStore
from unisemalign.protocol import PROJECT_FILE, ProjectLayout, RoundScores
from unisemalign.runtime.files import explaining_full_disk, part_beside
from unisemalign.terms import Split


class Project:
    """A project folder, opened. Make one with :meth:`create` or :meth:`open`.

    Any number of processes may have a project open; each edit is whole for all of them. Rectangles
    are pixels of the working spacing, ``y, x`` order. Methods may be called from any thread.

    Attributes
    ----------
    root
        The folder, absolute.
    layout
        Where its files lie.
    info
        What ``project.toml`` says.

    Raises
    ------
    ProjectError
        From every method that writes, when the disk is full or may only be read
        (:class:`UnwritableError`); what was there is then unchanged.
    """

    def __init__(self, root: Path, info: ProjectInfo, database: Database) -> None:
        self.root = root
        self.layout = ProjectLayout(root)
        self.info = info
        self._remarks: list[str] = [database.read_only] if database.read_only else []
        self._database = database
        self._slides = SlideTable(database, root)
        self._regions = RegionTable(database)
        self._rounds = RoundTable(database, self.layout.round_folder)
        self._journal = Journal(database)
        self._readings = ReadingTable(database)
        self._label_stores: dict[str, LabelStore] = {}
        self._editing = self._process_lock(
            "editing",
            f"'{root}' is open for editing in another viewer ({{holder}}). "
            f"Close it there, then open it here.",
        )
        self._training = self._process_lock(
            "training",
            f"A training already runs in '{root}' ({{holder}}). "
            f"Wait until it is done, or cancel it, then train again.",
        )
        self._adding = self._process_lock(
            "slides",
            f"Another process ({{holder}}) has been adding or taking out slides of '{root}' for "
            f"long. Wait until it is done, then try again.",
        )
        labelling = self._process_lock(
            "labels",
            f"Another process ({{holder}}) has been writing labels in '{root}' for long. "
            f"Wait until it is done, then try again.",
        )
        self._editor = LabelEditor(self._journal, self.labels, labelling, len(info.classes))

    @classmethod
    def create(
        cls,
        root: Path | str,
        *,
        classes: Sequence[str | ClassInfo],
        spacing_um: float = 0.5,
        encoder: str = "embedded",
        text: str = "free",
    ) -> Self:
        """Make a project in a new or empty folder.

        What a killed process left half made is made anew, and the very project, still empty, is
        opened: the call can be repeated.

        Parameters
        ----------
        root
            The folder.
        classes
            Their names, or names with colours and words, in the order of the label values 1…C.
        spacing_um
            Working spacing, µm/px.
        encoder, text
            Names of the encoder and of the text tower.

        Raises
        ------
        ProjectError
            If the folder holds something, or the classes or the spacing are impossible.
        """
        root = Path(root).absolute()
        layout = ProjectLayout(root)
        info = build_info(
            {
                "classes": build_classes(classes),
                "spacing_um": spacing_um,
                "encoder": encoder,
                "text": text,
            },
            "A new project",
        )
        make_project(layout, info)
        return cls.open(root)

    @classmethod
    def open(cls, root: Path | str) -> Self:
        """Open the project in ``root`` and take back edits that a killed process left half done.

        Where nothing can be written it can be read, and where a row of the tables is damaged the
        others can be used; :attr:`remarks` says so.

        Raises
        ------
        ProjectError
            If ``root`` is missing, no project, damaged, or made by a newer release.
        """
        root = Path(root).absolute()
        if not root.is_dir():
            raise ProjectError(
                f"There is no project folder '{root}'. Make one with "
                f"`unisemalign new {quote(root.name)} --classes background,gland`."
            )
        layout = ProjectLayout(root)
        if not layout.info.is_file():
            raise ProjectError(
                f"'{root}' is no project: it has no {PROJECT_FILE}. Choose the folder that has one."
            )
        info = read_info(layout.info)
        database = Database.open(layout.database)
        try:
            check_facts(database, info)
            project = cls(root, info, database)
            project._recover()
            project._remarks += project._damage()
        except BaseException:
            database.close()
            raise
        return project

    def close(self) -> None:
        """Close the tables. Everything is saved already."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def version(self) -> tuple[int, int]:
        """Return the version of the tables: of what others wrote, and of what this object wrote.

        While it stays the same, slides, regions, rounds and journal need not be read again.
        """
        return self._database.version()

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Rename and recolour classes, add some at the end, or take the last ones away.

        The order stays: label value k is the class at place k−1.

        Raises
        ------
        ProjectError
            If a class that was ever labelled would be gone, or names or colours are impossible.
        """
        wanted = [each.model_dump() for each in classes]
        info = build_info({**self.info.model_dump(), "classes": wanted}, "The classes")
        count = len(info.classes)
        with self._editor.exclusive():
            for entry in self.journal(limit=None) if count < len(self.info.classes) else ():
                if self._journal.highest_label(entry) > count:
                    name = self.info.classes[-1].name
                    raise ProjectError(
                        f"Removing a class needs it to be unused, found labels of '{name}', now or "
                        f"in what can be taken back, on slide '{entry.slide}'. Rename it instead."
                    )
            # A kill between the two leaves more classes in the file than in the table, as a
            # person's own edit of the file does.
            with explaining_full_disk(self.layout.info):
                if count < len(self.info.classes):
                    note_class_count(self._database, count)
                write_info(self.layout.info, info)
                note_class_count(self._database, count)
            self.info, self._editor.n_classes = info, count

    # Locks

    def lock_editing(self) -> AbstractContextManager[None]:
        """Hold the right to edit while the block runs; :class:`BusyError` names who has it.

        Where nothing can be written there is nothing to hold.
        """
        return self._editing.held() if self._database.read_only is None else nullcontext()

    def lock_training(self) -> AbstractContextManager[None]:
        """Hold the right to train while the block runs; :class:`BusyError` names who has it.

        Raises
        ------
        ProjectError
            If a row of the tables is damaged: it may be a region that must not be trained on.
        """
        if damage := self._damage():
            raise ProjectError(f"Training needs tables that are whole. {damage[0]}")
        return self._training.held()

    def lock_prediction(
        self,
        round: int | None,  # noqa: A002
        slide_name: str,
    ) -> AbstractContextManager[None]:
        """Hold the right to segment a slide for a round while the block runs.

        ``None`` stands for the clusters of a first guess. :class:`BusyError` names who has it.
        """
        name = self.slide(slide_name).name
        what = "clusters" if round is None else f"prediction-{self._rounds.get(round).number}"
        place = "a first guess" if round is None else f"round {round}"
        lock = self._process_lock(
            f"{what}-{name}",
            f"Slide '{name}' is being segmented for {place} by {{holder}}. Wait until that is "
            f"done, or stop it there, then try again.",
        )
        return lock.held()

    def training_pid(self) -> int | None:
        """Return the process that trains now, or ``None``."""
        return self._training.pid()

    # Slides

    def add_slide(
        self,
        path: Path | str,
        *,
        spacing_um: float | None = None,
        split: Split = Split.TRAIN,
        series: int | None = None,
        profile: bool = True,
    ) -> SlideRecord:
        """Add a slide; the file stays where it is.

        Parameters
        ----------
        path
            The file (or Zarr folder).
        spacing_um
            Pixel size of level 0, µm, for a file that does not state its own. A file that does
            keeps what it states.
        split
            What the slide is for.
        series
            Which image of a file that holds several, counted from 0; the largest when ``None``.
        profile
            Whether a colour profile in the file is applied, now and whenever it is read.

        Raises
        ------
        SlideError
            If it cannot be opened; :class:`SpacingError` if its pixel size is unknown.
        ProjectError
            If it is in the project already (:class:`KnownSlideError`), or another process has been
            adding slides for long (:class:`BusyError`).
        """
        path = Path(path).absolute()
        self._refuse_known(path)
        slide = slide_room.open_slide(path, fallback_um=spacing_um, series=series, profile=profile)
        try:
            shape_yx = slide_room.SpacedSlide(slide, self.info.spacing_um).shape_yx
            level_0_um = slide.spacing_um
        finally:
            slide.close()
        if level_0_um is None:
            raise SpacingError(
                f"Cannot read the pixel size of '{path.name}': the file does not say. "
                f"Give it in µm per pixel, for example --spacing-um 0.5."
            )
        if max(shape_yx) < 2:
            raise SlideError(
                f"A slide needs more than one pixel, found {shape_yx[0]} × {shape_yx[1]} at "
                f"{self.info.spacing_um:g} µm in '{path.name}'. Check the pixel size."
            )
        with self._adding.held(PATIENCE_S):
            self._refuse_known(path)  # again: another process may have added it meanwhile
            name = unique_name(slide_room.slide_stem(path), self._name_taken)
            folder = self.layout.labels(name)
            with explaining_full_disk(folder):
                make_labels(folder, shape_yx)
            # Where this fails the folder stays, empty: whoever adds a slide of that name takes it.
            self._slides.insert(
                name,
                path,
                shape_yx,
                level_0_um,
                Split(split),
                opening=slide.opening,
                remarks=slide.remarks,
            )
            return self.slide(name)

    def remove_slide(self, name: str) -> None:
        """Take out a slide nobody has labelled, with its predictions; its file is left alone.

        A correction of its tissue goes with it.

        Raises
        ------
        ProjectError
            If it was ever labelled: what a person drew is not thrown away.
            :class:`BusyError` if another process has been adding slides or labelling for long.
        """
        with self._adding.held(PATIENCE_S), self._editor.exclusive():
            record = self.slide(name)
            if self._journal.knows(record.id):
                raise ProjectError(
                    f"Taking out slide '{name}' needs it to be unlabelled, found edits of its "
                    f"labels. It stays; give it the split 'test' to keep it out of training."
                )
            # First what can be made again: a kill must not leave it to another slide of that name.
            remove_predictions(self.layout.clusters(name))
            for each in self.rounds():
                remove_predictions(self.layout.prediction(each.number, name))
            self._slides.remove(record)
            self._label_stores.pop(name, None)
            shutil.rmtree(self.layout.labels(name), ignore_errors=True)
            TissueStore(self.root).forget(name)

    def slides(self, split: Split | None = None) -> list[SlideRecord]:
        """Return the slides in the order they were added, or those of one split."""
        return self._slides.all(split)

    def slide(self, name: str) -> SlideRecord:
        """Return one slide; :class:`ProjectError` when there is none of that name."""
        return self._slides.get(name)

    def open_slide(self, name: str) -> slide_room.SpacedSlide:
        """Open a slide at working spacing. Close it with ``.slide.close()``.

        Raises
        ------
        SlideError
            If the file has moved, or is another one than was added.
        """
        record = self.slide(name)
        if not record.path.exists():
            raise SlideError(
                f"Slide '{name}' is no longer at '{record.path}'. Tell the project where it is: "
                f"press Relocate in the dock, or run "
                f"`unisemalign relocate {quote(self.root.name)} {quote(name)} NEW_PATH`."
            )
        return self._open_checked(record, record.path)

    def tissue(
        self, name: str, slide: slide_room.SpacedSlide | None = None
    ) -> slide_room.TissueMask:
        """Return where a slide holds tissue: as found, with the person's correction on top.

        Whatever looks for tissue on a slide of a project asks here. :class:`TissueStore` keeps the
        correction.

        Parameters
        ----------
        name
            The slide.
        slide
            The same, where the caller has it open; ``None``: it is opened, and closed again.

        Raises
        ------
        SlideError
            If the slide is not there, or cannot be read.
        ProjectError
            If the correction is damaged, or of a slide of another size.
        """
        store = TissueStore(self.root)
        if slide is not None:
            return store.mask(self.slide(name).name, slide)
        opened = self.open_slide(name)
        try:
            return store.mask(name, opened)
        finally:
            opened.slide.close()

    def relocate_slide(self, name: str, path: Path | str) -> SlideRecord:
        """Tell where a slide's file is now; :class:`SlideError` if it is another slide."""
        record = self.slide(name)
        path = Path(path).absolute()
        for other in self.slides():
            if other.name != name and _same_file(other.path, path):
                raise ProjectError(
                    f"'{path.name}' is slide '{other.name}' of this project already. Choose the "
                    f"file that '{name}' was added from."
                )
        self._open_checked(record, path).slide.close()
        self._slides.set_path(name, path)
        return self.slide(name)

    def set_slide_split(self, name: str, split: Split) -> SlideRecord:
        """Change what a slide is for, and its regions that were for the same."""
        self._slides.set_split(self.slide(name), Split(split))
        return self.slide(name)

    def set_captions(self, captions: Mapping[str, str]) -> None:
        """Keep a sentence on what each of these slides shows: name → caption; all or none.

        An empty one takes the caption away.

        Raises
        ------
        DataError
            For a caption of more than 2000 characters.
        ProjectError
            For a slide that is not in the project.
        """
        for name, caption in captions.items():
            if len(caption) > MAX_CAPTION:
                raise DataError(
                    f"The caption of slide '{name}' needs at most {MAX_CAPTION} characters, found "
                    f"{len(caption)}. Shorten it."
                )
        ids = {self.slide(name).id: caption for name, caption in captions.items()}
        self._slides.set_captions(ids)

    # Labels

    def labels(self, name: str) -> LabelStore:
        """Return the labels of a slide, to read."""
        if name not in self._label_stores:
            record = self.slide(name)
            store = LabelStore(self.layout.labels(record.name))
            if store.shape_yx != record.shape_yx:
                raise ProjectError(
                    f"The labels in '{store.folder}' need the slide's {record.shape_yx[0]} × "
                    f"{record.shape_yx[1]} pixels, found {store.shape_yx[0]} × "
                    f"{store.shape_yx[1]}. Take that folder from a backup."
                )
            self._label_stores[name] = store
        return self._label_stores[name]

    def write_labels(
        self,
        name: str,
        rect: Rect,
        values: NDArray[np.uint8],
        origin: Origin | NDArray[np.uint8],
        *,
        action: str,
        region_id: int | None = None,
        round: int | None = None,  # noqa: A002  the field's word for a training run
    ) -> JournalEntry:
        """Replace the labels under ``rect``, zeros included, as one edit that can be undone.

        Parameters
        ----------
        name
            The slide.
        rect
            Inside the slide.
        values
            ``(h, w)`` uint8, 0…C.
        origin
            One origin for all labelled pixels, or ``(h, w)`` uint8 of :class:`Origin` values.
        action
            A word for the journal, such as ``accept``.
        region_id, round
            The region and the round the edit belongs to. Undoing the edit also gives the region
            back the state it had before.

        Raises
        ------
        DataError
            If shapes, values or the rectangle do not fit.
        BusyError
            If another process has been writing labels for long.
        """
        region_change = RegionChange()
        if region_id is not None:
            region_change = RegionChange((self._region_on(name, region_id),))
        edit = LabelEdit(rect, values, origin)
        return self._editor.write(self.slide(name), [(edit, region_change)], action, round)[0]

    def accept(
        self,
        name: str,
        edits: Iterable[LabelEdit],
        *,
        action: str,
        state: RegionState = RegionState.ACCEPTED,
        reason: str = "",
        round: int | None = None,  # noqa: A002
    ) -> list[Region]:
        """Write labels and give their regions a state, as one act: whole, also after a kill.

        One :meth:`undo` takes back the labels of every edit and gives the regions the states they
        had.

        Parameters
        ----------
        name
            The slide.
        edits
            At least one; taken one after the other while other writers wait.
        action, round
            As :meth:`write_labels` takes them.
        state
            Of the regions of the edits.
        reason
            Of the regions that are made.

        Returns
        -------
        list[Region]
            The regions, in the order of the edits.

        Raises
        ------
        DataError
            If shapes, values or a rectangle do not fit. Nothing is written then.
        BusyError
            If another process has been writing labels for long.
        """
        slide = self.slide(name)

        def region(given: Rect | Region) -> Region:
            if isinstance(given, Region):
                return self._region_on(name, given.id)
            check_rect(given, slide.shape_yx, "A region")
            return Region(
                0, name, given, RegionState(state), slide.split, reason=reason, round=round
            )

        def region_change(edit: LabelEdit) -> RegionChange:
            return RegionChange(tuple(map(region, edit.regions)), RegionState(state))

        done = self._editor.write(
            slide, ((each, region_change(each)) for each in edits), action, round
        )
        ids = [region_id for entry in done for region_id in self._journal.regions_of(entry)]
        known = {each.id: each for each in self.regions(slide=name)}
        return [known[region_id] for region_id in ids]

    @property
    def person(self) -> str:
        """Who edits: the name is kept with every edit of the labels; "" where nobody said."""
        return self._journal.person

    @person.setter
    def person(self, name: str) -> None:
        self._journal.person = check_person(name) if name else ""

    def edit_persons(self) -> dict[int, str]:
        """Return who made an edit: id of its :class:`JournalEntry` → name, where one was said."""
        return self._journal.persons()

    def send_to_reader(self, region_id: int, reader: str) -> SecondReading:
        """Ask ``reader`` to look at an accepted region; :attr:`person` sends it.

        Raises
        ------
        DataError
            For a name that is empty, too long or the sender's own.
        ProjectError
            If the region is not accepted.
        """
        region, reader = self.region(region_id), check_reader(reader, self.person)
        if region.state is not RegionState.ACCEPTED:
            raise ProjectError(
                f"A second reader needs an accepted region, found region {region_id} "
                f"'{region.state.value}'. Accept it first."
            )
        return self._readings.send(region_id, reader, self.person)

    def second_readings(self) -> list[SecondReading]:
        """Return what was sent to second readers, in that order, answered or not."""
        return self._readings.all()

    def answer_reading(self, reading_id: int, values: NDArray[np.uint8]) -> SecondReading:
        """Keep a second reader's labels of a region, and how far they agree with the first's.

        Pixels that differ become ``corrected``; one :meth:`undo` takes them back, the answer stays.
        After a kill the same call can be repeated.

        Parameters
        ----------
        reading_id
            Which reading.
        values
            ``(h, w)`` uint8 of the region, 0…C: the first reader's where the second one agrees.
        """
        reading = self._readings.get(reading_id)
        region = self.region(reading.region_id)
        labels = self.labels(region.slide)
        before, origin = labels.read(region.rect), labels.read_origin(region.rect)
        same, edit = compare(region, before, origin, values)
        noted = 1.0 if reading.agreement is None else reading.agreement
        self._readings.note_agreement(reading_id, min(noted, same))
        if edit is not None:
            self.accept(region.slide, [edit], action="second reading", round=region.round)
        return self._readings.answer(reading_id)

    def _region_on(self, name: str, region_id: int) -> Region:
        region = self.region(region_id)
        if region.slide != name:
            raise DataError(
                f"An edit of slide '{name}' needs a region of that slide, found region "
                f"{region_id} of '{region.slide}'."
            )
        return region

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person is to be told: why it can only be read, edits that could not be mended."""
        return (*self._remarks, *self._editor.remarks)

    def undo(self) -> JournalEntry | None:
        """Take the newest act back, also one of an earlier session; ``None`` if there is none."""
        return self._editor.undo()

    def redo(self) -> JournalEntry | None:
        """Make the act undone last again; ``None`` if there is none."""
        return self._editor.redo()

    def journal(self, limit: int | None = 100) -> list[JournalEntry]:
        """Return the newest edits, newest first; every one when ``limit`` is ``None``."""
        return self._journal.entries(-1 if limit is None else limit)

    def regions_of(self, entry: JournalEntry) -> list[int]:
        """Return the ids of the regions an edit belongs to."""
        return self._journal.regions_of(entry)

    def changed_pixels(self, entry: JournalEntry) -> int:
        """Return how many pixels have another label after an edit; 0 where its row is damaged."""
        try:
            sides = [self._journal.pixels(entry, side).labels for side in ("before", "after")]
        except UnreadableEditError:
            return 0
        return int((sides[0] != sides[1]).sum())

    def check_labels(self, name: str) -> None:
        """Raise :class:`ProjectError` where the journal holds labels that the folder has lost."""
        record = self.slide(name)
        found = next(self._editor.iter_lost(record), None)
        if found is not None:
            try:
                with self._editor.exclusive():
                    found = next(self._editor.iter_lost(record), None)
            except BusyError:
                return  # somebody is writing: what was missing may come yet
            except (ProjectError, OSError):
                pass  # where nothing can be written nobody writes
        if found is not None:
            raise ProjectError(
                f"Slide '{name}' has lost labels: the journal holds edits, such as at "
                f"y, x, h, w = {found[0]}, that are missing in '{self.layout.labels(name)}'. Put "
                f"them back with `unisemalign recover {quote(self.root.name)}`, or take that "
                f"folder from a backup."
            )

    def recover_labels(self, name: str) -> list[Rect]:
        """Put labels back that the journal holds and the folder has lost; return where.

        A folder that cannot be read is kept beside, under a name that ends in ``.damaged``.

        Raises
        ------
        BusyError
            If another process has been writing labels for long.
        """
        record = self.slide(name)
        folder = self.layout.labels(name)
        with self._adding.held(PATIENCE_S), self._editor.exclusive():
            try:
                LabelStore(folder)
            except ProjectError:
                if folder.exists():
                    folder.rename(part_beside(folder).with_suffix(".damaged"))
                make_labels(folder, record.shape_yx)
            self._label_stores.pop(name, None)
            return self._editor.restore(record)

    # Regions

    def add_region(
        self,
        slide: str,
        rect: Rect,
        *,
        state: RegionState,
        split: Split | None = None,
        score: float | None = None,
        reason: str = "",
        round: int | None = None,  # noqa: A002
    ) -> Region:
        """Add a region; its split is the slide's unless given."""
        record = self.slide(slide)
        check_rect(rect, record.shape_yx, "A region")
        split = record.split if split is None else Split(split)
        region = Region(0, slide, rect, RegionState(state), split, score, reason, round)
        return self._regions.insert(record.id, region)

    def region(self, id: int) -> Region:  # noqa: A002
        """Return one region; :class:`ProjectError` when there is none of that id."""
        return self._regions.get(id)

    def regions(
        self,
        *,
        slide: str | None = None,
        state: RegionState | None = None,
        split: Split | None = None,
    ) -> list[Region]:
        """Return the regions that fit every filter given, oldest first."""
        return self._regions.all(slide, state, split)

    def set_region(
        self,
        id: int,  # noqa: A002
        *,
        state: RegionState | None = None,
        split: Split | None = None,
    ) -> Region:
        """Change a region's state or split."""
        changes = {}
        if state is not None:
            changes["state"] = RegionState(state).value
        if split is not None:
            changes["split"] = Split(split).value
        return self._regions.update(id, changes)

    def replace_queue(self, regions: Sequence[Region]) -> list[Region]:
        """Drop every ``predicted`` region and keep these instead; return them with their ids."""
        rows = []
        for region in regions:
            record = self.slide(region.slide)
            check_rect(region.rect, record.shape_yx, "A region")
            rows.append((record.id, region))
        return self._regions.replace_predicted(rows)

    # Rounds

    def new_round(self, *, method: str, preset: str, parent: int | None = None) -> Round:
        """Make the next round, ``running``, with an empty folder."""
        return self._rounds.create(method, preset, parent)

    def create_first_round(self, *, made_by: str) -> Round:
        """Make round 0, the first guess, or note how it is made now. It has no model."""
        return self._rounds.create_first(made_by)

    def rounds(self) -> list[Round]:
        """Return every round, oldest first."""
        return self._rounds.all()

    def round(self, number: int) -> Round:
        """Return one round; :class:`ProjectError` when there is none of that number."""
        return self._rounds.get(number)

    def latest_round(self, *, besides: int | None = None) -> Round | None:
        """Return the newest round that has a model and is in use, or ``None``.

        Its model is ``best.safetensors``. ``besides`` is left out: a round in training has a model
        that changes. A round that was set aside (:meth:`use_round`) is not in use.
        """
        return self._rounds.latest(besides)

    def set_round(
        self,
        number: int,
        *,
        state: RoundState | None = None,
        scores: RoundScores | None = None,
    ) -> Round:
        """Change a round's state or scores."""
        return self._rounds.update(number, state, scores)

    def use_round(self, number: int) -> Round:
        """Go back, or forward, to a round: its model and predictions are the newest in use.

        Rounds newer than it are set aside: nothing of them is removed, and each can be asked for
        again. The next round starts from this one.

        Raises
        ------
        ProjectError
            If there is no such round, or it has no model.
        """
        found = self._rounds.get(number)
        if not found.layout.weights.is_file():
            raise ProjectError(
                f"Using a round needs its model, round {number} has none: its state is "
                f"'{found.state}'. Choose another round, or train it to its end."
            )
        aside = {each.number for each in self.rounds() if each.set_aside}
        newer = {each.number for each in self.rounds() if each.number > number}
        self.set_rounds_aside((aside | newer) - {number})
        return self._rounds.get(number)

    def set_rounds_aside(self, numbers: Collection[int]) -> None:
        """Leave the models and predictions of these rounds unused, and of no others."""
        self._rounds.set_aside(numbers)

    # Predictions

    def predictions(
        self,
        round: int,  # noqa: A002
        slide_name: str,
        *,
        create: bool = False,
    ) -> PredictionStore:
        """Return what a round says about a slide.

        Raises
        ------
        ProjectError
            If there is no such round or slide, or nothing was predicted and ``create`` is not set.
        """
        record = self.slide(slide_name)
        number = self._rounds.get(round).number
        folder = self.layout.prediction(number, record.name)
        if folder.is_dir():
            return PredictionStore(folder)
        if not create:
            raise ProjectError(
                f"Round {number} has no prediction of slide '{slide_name}'. Segment it first: "
                f"`unisemalign segment {quote(self.root.name)} {quote(slide_name)}`."
            )
        return PredictionStore.create(folder, record.shape_yx, self.info.spacing_um)

    def remove_prediction(self, round: int, slide_name: str) -> None:  # noqa: A002
        """Forget what a round says about a slide, and what of it was noted as finished."""
        number, name = self._rounds.get(round).number, self.slide(slide_name).name
        remove_predictions(self.layout.prediction(number, name))

    def has_prediction(self, round: int, slide_name: str) -> bool:  # noqa: A002
        """Tell whether a round says anything about a slide, even if only in part."""
        number, name = self._rounds.get(round).number, self.slide(slide_name).name
        return self.layout.prediction(number, name).is_dir()

    def predicted_rounds(self, slide_name: str) -> list[int]:
        """Return the rounds in use that say anything about a slide, the newest first."""
        name = self.slide(slide_name).name
        rounds = [each.number for each in reversed(self.rounds()) if not each.set_aside]
        return [number for number in rounds if self.layout.prediction(number, name).is_dir()]

    # Inside

    def _damage(self) -> list[str]:
        """Return a sentence for each damaged row of the tables, each said once."""
        found = (*self._slides.damage(), *self._regions.damage(), *self._rounds.damage())
        return list(dict.fromkeys(found))

    def _recover(self) -> None:
        """Take back what was left half done; what cannot be is told, and the rest is usable."""
        if self._database.read_only is None:
            try:
                self._editor.recover()
                return
            except (ProjectError, OSError) as error:
                self._remarks.append(f"An edit that was cut short is not taken back yet. {error}")
        elif acts := self._journal.unfinished():
            self._remarks.append(
                f"An edit of '{acts[0].entries[0].slide}' was cut short, and a part of it may "
                f"show: it is taken back once the project can be changed."
            )

    def _process_lock(self, name: str, busy: str) -> ProcessLock:
        return ProcessLock(self.layout.lock(name), busy)

    def _refuse_known(self, path: Path) -> None:
        for known in self.slides():
            if _same_file(known.path, path):
                raise KnownSlideError(
                    f"'{path.name}' is in the project already, as slide '{known.name}'. "
                    f"Nothing was added."
                )

    def _name_taken(self, name: str) -> bool:
        # Some file systems take A and a for one name.
        known = {each.name.casefold() for each in self.slides()}
        # Labels without a slide: of a project whose tables were taken from an older backup.
        return name.casefold() in known or holds_labels(self.layout.labels(name))

    def _open_checked(self, record: SlideRecord, path: Path) -> slide_room.SpacedSlide:
        slide = slide_room.reopen_slide(path, record.spacing_um, record.opening)
        spaced = slide_room.SpacedSlide(slide, self.info.spacing_um)
        if spaced.shape_yx != record.shape_yx:
            slide.close()
            raise SlideError(
                f"Slide '{record.name}' needs the file it was added from, {record.shape_yx[0]} × "
                f"{record.shape_yx[1]} pixels at {self.info.spacing_um:g} µm, found "
                f"{spaced.shape_yx[0]} × {spaced.shape_yx[1]} in '{path}'. Its labels do not fit "
                f"that file: put the first one back, or add this one as a new slide."
            )
        return spaced


def _same_file(a: Path, b: Path) -> bool:
    return a == b or (a.exists() and b.exists() and a.samefile(b))
