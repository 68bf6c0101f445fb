"""What is open, what is on show and what runs; changed by the session's own methods alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psygnal import Signal

from napari_unisemalign.session.change import Change
from napari_unisemalign.session.curve import Curve
from napari_unisemalign.session.drafts import Drafts
from napari_unisemalign.session.progress import SegmentProgress, TrainingProgress
from napari_unisemalign.session.records import ProjectRecords
from napari_unisemalign.session.region_edit import RegionEdit
from unisemalign.errors import ProjectError, SlideError
from unisemalign.project import FirstGuess, GuessNote, PredictionStore, Project, Region, Round
from unisemalign.slides import SpacedSlide

NO_PROJECT = "No project is open. Press New project… or Open project… first."


class SessionState:
    """The open project, the slide on show, the region under the brush, and what runs.

    Whatever changes here is told by a signal: of :attr:`changed`, those who show it; of the others,
    those who act on it.
    """

    changed = Signal(Change)
    """What may be different from what a person sees."""
    project_changed = Signal()
    slide_changed = Signal()
    region_changed = Signal()
    labels_changed = Signal()
    prediction_changed = Signal()
    """Pixels of the prediction on show, or the round it comes from."""
    classes_changed = Signal()
    """Names, colours or number of the classes."""
    dirtied = Signal()
    """Strokes were made that no draft holds yet."""
    warned = Signal(str)
    """A sentence for the person: something was not as it should be, and was worked around."""

    def __init__(self) -> None:
        self._project: Project | None = None
        self._records: ProjectRecords | None = None
        self._slide: str | None = None
        self._edit: RegionEdit | None = None
        self._segmenting: SegmentProgress | None = None
        self._training: TrainingProgress | None = None
        self._curve = Curve()
        self._ranking = False
        self._all_asked = False
        self._live = False
        self._loose_slides: tuple[Path, ...] = ()
        self._area: dict[str, float] = {}
        self._open_slides: dict[str, SpacedSlide] = {}
        self._drafts: Drafts | None = None
        self._round_on_show: int | None = None
        self._compared_round: int | None = None
        self._change_note = ""
        self._reader = ""

    # -- what is open -------------------------------------------------------------------------

    @property
    def project(self) -> Project | None:
        """The open project."""
        return self._project

    @property
    def slide(self) -> str | None:
        """The slide on show."""
        return self._slide

    @property
    def edit(self) -> RegionEdit | None:
        """The region under the brush."""
        return self._edit

    @property
    def segmenting(self) -> SegmentProgress | None:
        """How far the segmentation that runs is."""
        return self._segmenting

    @property
    def training(self) -> TrainingProgress | None:
        """How far the training that runs is."""
        return self._training

    @property
    def curve(self) -> Curve:
        """Loss and Dice of the newest round."""
        return self._curve

    @property
    def ranking(self) -> bool:
        """Whether the engine looks for regions to review."""
        return self._ranking

    @property
    def live(self) -> bool:
        """Whether what the window shows is labelled by itself."""
        return self._live

    @property
    def loose_slides(self) -> tuple[Path, ...]:
        """Slides shown by the reader that belong to no project."""
        return self._loose_slides

    @property
    def area(self) -> Mapping[str, float]:
        """Share of the predicted area by class name, 0…1."""
        return self._area

    @property
    def round_on_show(self) -> int | None:
        """The round a person chose to see; ``None``: the newest in use."""
        return self._round_on_show

    @property
    def compared_round(self) -> int | None:
        """The round whose differences to the one on show are shown; ``None``: none."""
        return self._compared_round

    @property
    def change_note(self) -> str:
        """What changed from the compared round to the one on show, in a sentence."""
        return self._change_note

    # -- what runs ----------------------------------------------------------------------------

    def set_segmenting(self, progress: SegmentProgress | None) -> None:
        """Note how far a segmentation is; ``None``: none runs."""
        if progress != self._segmenting:
            self._segmenting = progress
            self._tell(Change.SEGMENTING)

    def set_training(self, progress: TrainingProgress | None) -> None:
        """Note how far a training is; ``None``: none runs."""
        if progress != self._training:
            self._training = progress
            self._tell(Change.TRAINING)

    def set_curve(self, curve: Curve) -> None:
        """Show this curve."""
        if curve != self._curve:
            self._curve = curve
            self._tell(Change.CURVE)

    def set_ranking(self, ranking: bool) -> None:
        """Note whether the engine looks for regions to review."""
        self._ranking = ranking
        self._tell(Change.RANKING | Change.REGIONS)

    @property
    def all_asked(self) -> bool:
        """Whether the engine found no region to ask about, and nothing was segmented since."""
        return self._all_asked

    def set_all_asked(self, all_asked: bool) -> None:
        """Note whether the engine found no region to ask about."""
        if all_asked != self._all_asked:
            self._all_asked = all_asked
            self._tell(Change.REGIONS)

    def set_live(self, live: bool) -> None:
        """Note whether what the window shows is labelled by itself."""
        if live != self._live:
            self._live = live
            self._tell(Change.LIVE)

    def set_loose_slides(self, paths: tuple[Path, ...]) -> None:
        """Note which slides on show belong to no project."""
        if paths != self._loose_slides:
            self._loose_slides = paths
            self._tell(Change.LOOSE_SLIDES)

    def rounds_changed(self) -> None:
        """Note that a training wrote into its round."""
        self._tell(Change.ROUNDS)

    def _tell(self, change: Change, *, labels_of: str | None = None) -> None:
        """Forget what was read of it, and tell everybody."""
        if change & (Change.PREDICTION | Change.ROUNDS | Change.GUESS | Change.SLIDES):
            self._all_asked = False
        if self._records is not None:
            self._records.forget(change, slide=labels_of)
        self.changed.emit(change)

    # -- what the project holds ---------------------------------------------------------------

    @property
    def records(self) -> ProjectRecords:
        """What the open project holds, as far as it was read. ProjectError: none is open."""
        if self._records is None:
            raise ProjectError(NO_PROJECT)
        return self._records

    def read_records(self) -> ProjectRecords | None:
        """Return what the open project holds, read anew where others wrote; ``None`` without."""
        if self._records is not None:
            self._records.forget_outdated()
        return self._records

    def _writable(self) -> Project:
        """Return the open project, seen to be still where it was."""
        if self._project is None:
            raise ProjectError(NO_PROJECT)
        root = self._project.root
        if not self._project.layout.info.exists():
            # Writing on would put half of the labels here and half where the folder went.
            raise ProjectError(
                f"The project is no longer at '{root}': it was moved or deleted while open. "
                f"Move it back there, then repeat the step."
            )
        return self._project

    @property
    def drafts(self) -> Drafts:
        """The drafts of the open project."""
        self._writable()
        if self._drafts is None:
            raise ProjectError(NO_PROJECT)
        return self._drafts

    def spaced_slide(self, name: str) -> SpacedSlide:
        """Return the slide at working spacing, opened once."""
        if name not in self._open_slides:
            try:
                self._open_slides[name] = self._writable().open_slide(name)
            except SlideError:
                self._tell(Change.SLIDES)  # its file is gone: the list says so
                raise
        return self._open_slides[name]

    @contextmanager
    def borrowed_slide(self, name: str) -> Iterator[SpacedSlide]:
        """Lend a slide for as long as the block runs; one that was not open is closed again."""
        if name in self._open_slides:
            yield self._open_slides[name]
            return
        slide = self._writable().open_slide(name)
        try:
            yield slide
        finally:
            slide.slide.close()

    def queue(self) -> list[Region]:
        """Return the regions to look at: begun ones first, then the model's doubts, worst first.

        While a second reader reads: those that were sent to them, and no others.
        """
        records = self.read_records()
        if records is None:
            return []
        if not self._reader:
            return list(records.queue())
        sent = records.waiting_for(self._reader)
        regions = {region.id: region for region in records.regions()}
        return [regions[region_id] for region_id in sent if region_id in regions]

    @property
    def reader(self) -> str:
        """The second reader who reads now; "" where nobody does."""
        return self._reader

    # -- rounds and predictions ---------------------------------------------------------------

    def rounds(self) -> list[Round]:
        """Return every round, oldest first."""
        records = self.read_records()
        return [] if records is None else list(records.rounds())

    def latest_round(self) -> Round | None:
        """Return the newest round that has a model."""
        records = self.read_records()
        return None if records is None else records.latest_round()

    def settled_round(self) -> Round | None:
        """Return the newest round that has a model and is not learning still."""
        records = self.read_records()
        learning = None if self.training is None else self.training.round
        return None if records is None else records.latest_round(besides=learning)

    def round_to_review(self) -> Round | None:
        """Return the round whose doubts are looked at: the newest model's, else the first guess."""
        records = self.read_records()
        return None if records is None else records.round_to_review()

    def guess_note(self) -> GuessNote | None:
        """Return how the first guess was made, or ``None`` when there is none."""
        return None if self._records is None else self._records.guess_note()

    def clusters(self) -> PredictionStore | None:
        """Return the map of clusters of the slide on show, or ``None`` when there is none."""
        note = self.guess_note()
        if self.project is None or self.slide is None or note is None or not note.directions:
            return None
        try:
            return FirstGuess(self.project).clusters(self.slide)
        except ProjectError:
            return None

    def prediction(self, slide: str | None = None) -> PredictionStore | None:
        """Return the newest prediction of ``slide`` (the one on show when ``None``), or nothing."""
        found = self._find_prediction(slide or self.slide)
        return None if found is None else found[1]

    def prediction_round(self, slide: str | None = None) -> int | None:
        """Return the number of the round whose prediction :meth:`prediction` returns."""
        found = self._find_prediction(slide or self.slide)
        return None if found is None else found[0]

    def shown_prediction(self) -> tuple[int, PredictionStore] | None:
        """Return the round on show and what it says of the slide on show.

        Where the round that was chosen says nothing of it: the newest one in use that does.
        """
        records = self.read_records()
        if records is None or self.slide is None:
            return None
        number = self._round_on_show
        if number is not None and records.has_prediction(number, self.slide):
            store = records.prediction_of(number, self.slide)
            return None if store is None else (number, store)
        return self._find_prediction(self.slide)

    def compared_predictions(self) -> tuple[PredictionStore, PredictionStore] | None:
        """Return what the compared round and the one on show say, or ``None``."""
        shown, number, records = self.shown_prediction(), self._compared_round, self._records
        if shown is None or number in {None, shown[0]} or records is None or self.slide is None:
            return None
        before = None if number is None else records.prediction_of(number, self.slide)
        return None if before is None else (before, shown[1])

    def _find_prediction(self, name: str | None) -> tuple[int, PredictionStore] | None:
        records = self.read_records()
        return None if records is None or name is None else records.prediction(name)

    def labelled_values(self) -> frozenset[int]:
        """Return the label values that occur on training slides."""
        records = self.read_records()
        return frozenset() if records is None else records.labelled_values()
