"""Segmenting a slide of a project: resumable, streamed into the project's store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.inference.adapting import adapted
from unisemalign.inference.bands import iter_bands
from unisemalign.inference.blending import Band
from unisemalign.inference.coarse import CoarseLook, coarse_factor
from unisemalign.inference.plan import Plan
from unisemalign.inference.predictor import Predictor
from unisemalign.inference.storing import FinishedBands, PredictionSlot, Storing
from unisemalign.project import PredictionStore, Project
from unisemalign.protocol import Message, Progress, Segmented, Start, Written
from unisemalign.runtime import CancelToken, Events, Pace, SilentEvents
from unisemalign.slides import SpacedSlide, TissueMask
from unisemalign.slides.prefetch import Prefetch, choose_readers

_SKETCH_WINDOWS = 12
"""A sketch of more would not be quick: such a target is looked at more coarsely."""


@dataclass(frozen=True)
class OpenedSlide:
    """A slide that stays open from one job to the next, with where its tissue is."""

    name: str
    slide: SpacedSlide
    tissue: TissueMask | None

    def area_to_read(self, target: Rect) -> int:
        """Return about how many working pixels of ``target`` will be read."""
        return round(target.area * (1.0 if self.tissue is None else self.tissue.fraction(target)))


def open_for_segmenting(project: Project, name: str, predictor: Predictor) -> OpenedSlide:
    """Open a slide and find its tissue, unless glass is to be labelled too.

    Raises
    ------
    SlideError
        If the file has moved, or cannot be read.
    """
    slide = project.open_slide(name)
    try:
        skip = predictor.settings.inference.skip_glass
        return OpenedSlide(name, slide, project.tissue(name, slide) if skip else None)
    except BaseException:
        slide.slide.close()
        raise


def segment_slide(
    project: Project,
    name: str,
    predictor: Predictor,
    round_number: int,
    *,
    rect: Rect | None = None,
    focus: tuple[int, int] | None = None,
    events: Events | None = None,
    cancel: CancelToken | None = None,
) -> Segmented:
    """Label a slide, or ``rect`` of it, and store the result under the round.

    Opens the slide, runs a :class:`SegmentJob` and closes the slide again.

    Parameters
    ----------
    project, name
        Which slide.
    predictor, round_number
        What labels it (:func:`load_predictor`), and which round's map it is.
    rect
        In working pixels; ``None``: the whole slide.
    focus
        A pixel ``(y, x)``: what lies near it is labelled first.
    events
        Takes what the job tells; ``None``: nobody does.
    cancel
        Stops the job between windows; ``None``: nobody does.

    Raises
    ------
    CancelledError
        If a stop was asked for. What was labelled is kept.
    ProjectError
        If ``rect`` lies outside the slide, or the disk is full; :class:`BusyError` if another
        process segments the slide for this round.
    SlideError
        If the slide is not there, or goes away.
    """
    opened = open_for_segmenting(project, name, predictor)
    try:
        return SegmentJob(
            opened,
            predictor,
            PredictionSlot.of_round(project, round_number, name),
            rect=rect,
            focus=focus,
            events=events or SilentEvents(),
            cancel=cancel or CancelToken(),
        ).run()
    finally:
        opened.slide.slide.close()


@dataclass(frozen=True)
class SegmentJob:
    """A slide, or a part of it, to be labelled and stored.

    A whole slide that was interrupted, however rudely, goes on with the bands it lacks and ends
    with the result of an uninterrupted run; what is finished is left alone, unless the tissue there
    was corrected since.

    Attributes
    ----------
    opened
        The slide. It stays open.
    predictor
        What labels it.
    slot
        Where the map is kept, and of which round it is.
    rect
        In working pixels; ``None``: the whole slide.
    focus
        A pixel ``(y, x)``: what lies near it is labelled first.
    sketch
        Show something soon: label a small ``rect`` from few windows first, without overlap, and a
        larger one at a coarser spacing (:meth:`PredictionStore.coarse`); then as it is to be. The
        number is working pixels across a pixel of the screen it is for: it is made no finer.
        ``None``: no sketch.
    what
        What ``start`` calls it.
    events
        Takes ``start``, then ``progress``, and ``written`` whenever a band has been stored;
        ``final`` tells whether these labels are to stay.
    cancel
        Stops the job between windows.
    """

    opened: OpenedSlide
    predictor: Predictor
    slot: PredictionSlot
    rect: Rect | None = None
    focus: tuple[int, int] | None = None
    sketch: float | None = None
    what: str = "Segmenting"
    events: Events = field(default_factory=SilentEvents)
    cancel: CancelToken = field(default_factory=CancelToken)

    @property
    def whole(self) -> Rect:
        """The slide, in working pixels."""
        return Rect(0, 0, *self.opened.slide.shape_yx)

    @property
    def target(self) -> Rect:
        """What is labelled of it.

        Raises
        ------
        ProjectError
            If ``rect`` lies outside the slide.
        """
        target = self.whole if self.rect is None else self.rect.intersect(self.whole)
        if target.area == 0:
            raise ProjectError(
                f"The region {self.rect} needs to lie on '{self.opened.name}', which is "
                f"{self.whole.h} × {self.whole.w} px at working spacing. Choose one inside."
            )
        return target

    def run(self) -> Segmented:
        """Label what is lacking, and store it.

        Raises
        ------
        BusyError
            If another process writes this map.
        CancelledError
            If a stop was asked for. What was labelled is kept.
        ProjectError
            If ``rect`` lies outside the slide, or the disk is full.
        SlideError
            If the slide goes away.
        """
        target = self.target
        with self.slot.locked():
            return self._run_alone(target)

    def _run_alone(self, target: Rect) -> Segmented:
        store, finished = resume_map(self.slot, self.predictor, self.opened.tissue)
        store.wait_for_disk(target == self.whole)
        inference = self.predictor.settings.inference
        planned = partial(Plan, self.whole.shape, inference, target, finished=finished.finished)
        plan = planned(focus=self.focus)
        done = Segmented(
            slide=self.opened.name, round=self.slot.round, rect=target, fresh=plan.total > 0
        )
        if not plan.total:
            return done
        if target == self.whole:
            store.remove_torn()
        self.events.emit(Start(what=f"{self.what} {self.opened.name}"))
        run = _Run(self, store, finished, plan, planned(sketch=True))
        run.label_coarsely()
        run.label()
        return done.model_copy(update=run.figures())


class _Run:
    """One run of a job: what it writes to, how far it is, and where its time goes."""

    def __init__(
        self,
        job: SegmentJob,
        store: PredictionStore,
        finished: FinishedBands,
        plan: Plan,
        quick: Plan,
    ) -> None:
        self._job = job
        self._store = store
        self._finished = finished
        self._plan = plan
        self._predictor = adapted(job.predictor, job.opened.slide, job.opened.tissue)
        small = quick.total <= _SKETCH_WINDOWS
        self._quick = quick if small and job.sketch is not None else None
        self._coarse = None if small else self._look()
        self._before = 0 if self._coarse is None else self._coarse.plan.total
        self._pace = Pace(self._before + plan.total)
        self._started = time.perf_counter()
        self._wait_s = self._store_s = 0.0
        self._unreadable: tuple[Rect, ...] = ()

    def label_coarsely(self) -> None:
        """Label the target at a coarser spacing first, where a sketch needs that."""
        look = self._coarse
        if look is None:
            return
        readers = choose_readers(self._readers, look.slide, look.plan.target.area)
        with Prefetch(look.slide, readers) as source:
            self._into(
                self._store.coarse(look.factor),
                source,
                look.plan,
                look.tissue,
                lambda band: self._tell(look.at_working(band.rect), final=False),
                before=0,
                labelled=lambda band: look.without_glass(self._predictor.labelled(band)),
            )
        self._wait_s += source.waited_s

    def label(self) -> None:
        """Label the target as it is to be; a small one from few windows first."""
        opened = self._job.opened
        readers = choose_readers(
            self._readers, opened.slide, opened.area_to_read(self._plan.target)
        )
        with Prefetch(opened.slide, readers, self._finished.unreadable) as source:
            if self._quick is not None:
                self._into(
                    self._store,
                    source,
                    self._quick,
                    opened.tissue,
                    lambda band: self._tell(band.rect, final=False),
                    before=None,
                )
            self._into(
                self._store, source, self._plan, opened.tissue, self._on_final, before=self._before
            )
        self._wait_s += source.waited_s
        self._unreadable = tuple(source.unreadable)
        if self._unreadable:
            name = opened.name
            text = (
                f"{len(self._unreadable)} places of '{name}' cannot be decoded and are left "
                f"unlabelled. Copy the slide again from its source to have them too."
            )
            self._job.events.emit(Message(text=text, slide=name))

    def figures(self) -> dict[str, object]:
        """Return what was done and where the time went: fields of :class:`Segmented`."""
        seconds = time.perf_counter() - self._started
        return {
            "windows": self._plan.total,
            "seconds": round(seconds, 3),
            "wait_s": round(self._wait_s, 3),
            "store_s": round(self._store_s, 3),
            "device_s": round(seconds - self._wait_s - self._store_s, 3),
            "unreadable": self._unreadable,
        }

    @property
    def _readers(self) -> int | Literal["auto"]:
        return self._predictor.settings.inference.readers

    def _look(self) -> CoarseLook | None:
        job = self._job
        factor = 1 if job.sketch is None else coarse_factor(job.sketch)
        if factor == 1:
            return None
        inference = self._predictor.settings.inference
        opened = job.opened
        return CoarseLook(opened.slide, opened.tissue, inference, factor, job.target, job.focus)

    def _into(
        self,
        store: PredictionStore,
        source: Prefetch,
        plan: Plan,
        tissue: TissueMask | None,
        on_stored: Callable[[Band], None],
        *,
        before: int | None,
        labelled: Callable[[Band], Band] | None = None,
    ) -> None:
        """Label ``plan`` into ``store``; ``before`` windows were done (``None``: none is told)."""
        labelled = labelled or self._predictor.labelled
        with Storing(store, on_stored) as storing:
            on_window = partial(self._on_window, storing, before)
            bands = iter_bands(source, self._predictor, plan, tissue=tissue, on_window=on_window)
            for band in bands:
                storing.put(labelled(band))
        self._store_s += storing.waited_s

    def _on_window(self, storing: Storing, before: int | None, done: int, _total: int) -> None:
        storing.look()
        self._job.cancel.check()
        if before is not None:
            pace = self._pace
            pace.done = before + done
            self._job.events.emit(Progress(done=pace.done, total=pace.total, eta_s=pace.eta_s))

    def _on_final(self, band: Band) -> None:
        if self._plan.target == self._job.whole:
            self._finished.finish(band.rect)
        self._tell(band.rect, final=True)

    def _tell(self, rect: Rect, *, final: bool) -> None:
        job = self._job
        job.events.emit(
            Written(slide=job.opened.name, round=job.slot.round, rect=rect, final=final)
        )


def resume_map(
    slot: PredictionSlot, predictor: Predictor, tissue: TissueMask | None
) -> tuple[PredictionStore, FinishedBands]:
    """Return where the prediction goes, and what of it is there already."""

    def mask_of(band: Rect) -> str:
        # Windows that touch the band reach over it by less than their side.
        reach = band.grown(predictor.settings.inference.window_px)
        return "" if tissue is None else tissue.digest(reach)

    if not slot.is_there():
        # A folder that a person deleted leaves a note of what it held.
        slot.clear()
    store = slot.take()
    progress = FinishedBands(store, predictor.identity, mask_of)
    if progress.of_other_model:
        # The round has learned more since, or is used in another way: no map of two models.
        slot.clear()
        store = slot.take()
        progress = FinishedBands(store, predictor.identity, mask_of)
    if progress.outdated:
        # From the first band on it is known whose they are, and which are about to be redone.
        progress.write()
    return store, progress
