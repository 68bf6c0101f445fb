"""Segment a view, a region, a slide or all; what the window shows by itself while Live is on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QApplication

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.actions.guess import Guesser
from napari_unisemalign.actions.live_rules import LabelledAreas, moved_on, next_rect
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.engine.command import CANCEL_PATIENCE_MS
from napari_unisemalign.engine.lines import FINAL
from napari_unisemalign.engine.server import EngineServer
from napari_unisemalign.engine.timers import single_shot
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.dock_state import resolve_state
from napari_unisemalign.session.progress import SegmentProgress
from napari_unisemalign.session.session import Session
from unisemalign.geometry import Rect
from unisemalign.protocol import (
    Cancelled,
    Done,
    Event,
    Failed,
    Progress,
    SegmentDone,
    Start,
    Written,
)

REFRESH_MS = 150
REST_MS = 250
"""The camera rests when it has not moved for so long."""


@dataclass
class _Asked:
    """A request to the engine. ``remaining``: slides that are segmented after this one."""

    round: int
    slide: str
    rect: Rect | None
    follows_viewport: bool
    remaining: tuple[str, ...] = ()
    number: int = 0


class Segmenter(QObject):
    """Asks the engine for labels and shows how far it is.

    One request is followed at a time. That for a view gives way to any other, and is dropped when
    less than half of it is still in view; a region and a slide are finished or cancelled.

    Attributes
    ----------
    server
        The warm engine of the open project.
    """

    def __init__(
        self, session: Session, layers: LayerManager, errors: ErrorReporter, guesser: Guesser
    ) -> None:
        super().__init__()
        self.server: EngineServer | None = None
        self._session = session
        self._layers = layers
        self._errors = errors
        self._guesser = guesser
        self._asked: _Asked | None = None
        self._labelled = LabelledAreas()
        self._was_training = False
        self._declined: tuple[int, Rect] | None = None
        self._redraw = single_shot(self, REFRESH_MS, self._on_redraw)
        self._rest = single_shot(self, REST_MS, self._on_rest)
        self._patience = single_shot(self, CANCEL_PATIENCE_MS, self._on_impatient)
        session.changed.connect(self._on_changed)
        session.slide_changed.connect(self._on_moved)
        guesser.written.connect(self._redraw_soon)
        camera = layers.viewport.camera
        camera.events.center.connect(self._on_moved)
        camera.events.zoom.connect(self._on_moved)

    def stop(self) -> None:
        """End what runs: another project is opened, or none any more."""
        for timer in (self._redraw, self._rest, self._patience):
            if isalive(timer):
                timer.stop()
        if self.server is not None:
            self.server.stop()
        self.server = self._asked = self._declined = None
        self._labelled.forget()

    def shut_down(self) -> None:
        """End what runs and let go of the viewer."""
        camera = self._layers.viewport.camera
        camera.events.center.disconnect(self._on_moved)
        camera.events.zoom.disconnect(self._on_moved)
        self._session.changed.disconnect(self._on_changed)
        self._session.slide_changed.disconnect(self._on_moved)
        self.stop()

    # -- view, region, slide ------------------------------------------------------------------

    def segment_view(self) -> None:
        """Segment what the window shows."""
        self._segment(self._layers.viewport.visible_rect(), follows_viewport=True)

    def segment_region(self) -> None:
        """Segment the region under the brush."""
        edit = self._session.edit
        if edit is None:
            self._errors.report("segment", "Open a region first: press Next region or Mark region.")
            return
        self._segment(edit.region.rect)

    def segment_slide(self) -> None:
        """Segment the whole slide on show."""
        self._segment(None)

    def segment_all(self) -> None:
        """Segment every slide of the project, the one on show first, one after the other.

        What is finished is not done again. A slide that fails is reported and the others go on;
        Cancel stops them all.
        """
        session = self._session
        allowed = resolve_state(session).can.segment_all
        self._errors.began.emit("segment")
        newest, records = session.latest_round(), session.read_records()
        if not allowed.possible or newest is None or records is None:
            self._errors.report("segment", allowed.why)
            return
        names = [record.name for record in records.slides()]
        first, *others = sorted(names, key=lambda name: name != session.slide)
        self._ask(_Asked(newest.number, first, None, False, tuple(others)))

    def cancel(self) -> None:
        """Stop the segmentation; what was labelled is kept."""
        if self._guesser.running:
            self._guesser.cancel()
        elif self._asked is not None and self.server is not None:
            self._decline(self._asked)
            self._asked.remaining = ()  # also where this slide is done before it can be stopped
            self.server.cancel(self._asked.number)
            self._patience.start()

    def end(self) -> None:
        """End the engine at once; what was labelled is kept."""
        if self._guesser.running:
            self._guesser.end()
        elif self.server is not None:
            if self._asked is not None:
                self._asked.remaining = ()
            self.server.end()

    def give_way(self) -> None:
        """Drop the view that is being labelled, if one is; what was labelled of it is kept."""
        asked = self._asked
        if asked is None or not asked.follows_viewport or self.server is None:
            return
        self._asked = None
        self._session.set_segmenting(None)
        self.server.cancel(asked.number)

    def _segment(self, rect: Rect | None, *, follows_viewport: bool = False) -> None:
        session = self._session
        if session.segmenting is not None and not session.segmenting.follows_viewport:
            return
        self._errors.began.emit("segment")
        if session.slide is None or self.server is None:
            self._errors.report("segment", resolve_state(session).can.segment_view.why)
            return
        if rect is not None and rect.area == 0:
            self._errors.report(
                "segment", "The window shows no part of the slide. Move the slide into view."
            )
            return
        newest = session.latest_round()
        if newest is None:
            self._guesser.guess(session.slide, rect)
            return
        self._ask(_Asked(newest.number, session.slide, rect, follows_viewport))

    def _ask(self, asked: _Asked) -> None:
        session, server = self._session, self.server
        if server is None:
            return
        self.give_way()
        self._declined = None
        self._asked = asked
        what = _what(asked) if server.ready else "Starting the engine"
        rect, view = asked.rect, self._layers.viewport.visible_rect()
        on_show = asked.slide == session.slide
        session.set_segmenting(
            SegmentProgress(asked.slide, rect, what=what, follows_viewport=asked.follows_viewport)
        )
        asked.number = server.request(
            "segment",
            partial(self._on_event, asked),
            slide=asked.slide,
            rect=None if rect is None else [rect.y, rect.x, rect.h, rect.w],
            round=asked.round,
            focus=[view.y + view.h // 2, view.x + view.w // 2] if view.area and on_show else None,
            downsample=self._layers.viewport.downsample,
        )

    def _on_event(self, asked: _Asked, event: Event) -> None:
        if isinstance(event, Written):
            if event.final:
                self._labelled.add(event.round, event.slide, event.rect)
            self._redraw_soon()
        session, progress = self._session, self._session.segmenting
        if asked is not self._asked or progress is None:
            return
        if isinstance(event, Start | Progress):
            now = progress.advanced(event) if isinstance(event, Progress) else progress
            session.set_segmenting(replace(now, what=_what(asked)))
        elif isinstance(event, FINAL):
            self._on_over(asked, progress, event)

    def _on_over(self, asked: _Asked, progress: SegmentProgress, event: Event) -> None:
        session = self._session
        self._asked = None
        self._patience.stop()
        session.set_segmenting(None)
        self._on_redraw()
        done = event if isinstance(event, SegmentDone) else None
        if isinstance(event, Failed):
            self._decline(asked)
            shown = asked.slide == session.slide
            text = event.text if shown else f"{asked.slide}: {event.text}"
            self._errors.report("segment", text)
        elif done is not None:
            self._labelled.add(asked.round, progress.slide, done.rect)
        with self._errors.reporting("segment", act=False):
            here = done is not None and progress.slide == session.slide
            session.refresh_area(done.area if done is not None and here else None)
        if asked.remaining and not isinstance(event, Cancelled) and self._goes_on(event):
            following, *others = asked.remaining
            self._ask(_Asked(asked.round, following, None, False, tuple(others)))

    def _goes_on(self, event: Event) -> bool:
        """Tell whether the next slide can be asked for: the engine itself has not ended."""
        return isinstance(event, Done) or (self.server is not None and self.server.ready)

    def _on_impatient(self) -> None:
        progress = self._session.segmenting
        if self._asked is not None and progress is not None:
            self._session.set_segmenting(replace(progress, stop_ignored=True))

    def _redraw_soon(self) -> None:
        if not self._redraw.isActive():
            self._redraw.start()

    def _on_redraw(self) -> None:
        if QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            # A stroke or a pan is being made: drawing anew would make it stutter.
            self._redraw.start()
            return
        self._session.predicted()

    # -- live ---------------------------------------------------------------------------------

    def set_live(self, on: bool) -> None:
        """Label by itself whatever the window shows, or no longer."""
        session = self._session
        self._declined = None
        if not on:
            self.give_way()
        elif self.server is not None and session.latest_round() is not None:
            self.server.warm_up()
        session.set_live(on)

    def forget_labelled_areas(self) -> None:
        """Clear the record of labelled areas: where the tissue is has been corrected."""
        self._labelled.forget()
        if self._session.live:
            self._rest.start()

    def _decline(self, asked: _Asked) -> None:
        """Leave the view alone until it moves: this was stopped, or failed."""
        self._declined = asked.round, self._layers.viewport.visible_rect()

    def _on_moved(self) -> None:
        session, asked = self._session, self._asked
        if asked is not None and asked.rect is not None and session.segmenting is not None:
            other_slide = session.segmenting.slide != session.slide
            if other_slide or moved_on(asked.rect, self._layers.viewport.visible_rect()):
                self.give_way()
        if session.live:
            self._rest.start()

    def _on_changed(self, change: Change) -> None:
        if Change.TRAINING in change:
            training = self._session.training is not None
            if self._was_training and not training:
                self._labelled.forget()
            self._was_training = training
        if self._session.live and not self._rest.isActive():
            self._rest.start()

    def _on_rest(self) -> None:
        session, asked = self._session, self._asked
        if not session.live or session.slide is None or session.ranking:
            return
        if session.segmenting is not None and not session.segmenting.follows_viewport:
            return
        if QApplication.activeModalWidget() is not None:
            self._rest.start()
            return
        with self._errors.reporting("segment", act=False):
            settled, view = session.settled_round(), self._layers.viewport.visible_rect()
            if settled is None or view.area == 0 or self._declined == (settled.number, view):
                return
            running = asked.rect if asked is not None and asked.round == settled.number else None
            rect = next_rect(view, self._labelled.of(settled.number, session.slide), running)
            if rect is not None:
                self._ask(_Asked(settled.number, session.slide, rect, follows_viewport=True))


def _what(asked: _Asked) -> str:
    """Return what the progress bar calls it."""
    if not asked.remaining:
        return "Segmenting"
    return f"{asked.slide}, {len(asked.remaining)} more to follow:"
