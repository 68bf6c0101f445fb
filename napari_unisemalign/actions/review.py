"""Reviewing regions: mark, open, accept, skip, take back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.compat import isalive
from qtpy.QtCore import QObject

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.actions.persons import remember_name
from napari_unisemalign.actions.segment import Segmenter
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.canvas.tidying import tidy
from napari_unisemalign.engine.lines import FINAL
from napari_unisemalign.engine.timers import single_shot
from napari_unisemalign.session.permissions import (
    ALL_ASKED,
    NEED_PROJECT,
    NOTHING_TO_REVIEW,
    RANKING_WAITS,
)
from napari_unisemalign.session.session import Session
from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Region, RegionState
from unisemalign.protocol import Event, Failed

KEEP_MS = 400
"""Strokes are written so long after the first that is not on disk, whatever follows it."""
RETRY_MS = 5_000
QUEUE_COUNT = 10
FIRST_SIDE_PX = 256
"""Side of the first region that is marked, in working pixels."""


class Reviewer(QObject):
    """What a person does with regions; strokes are kept as a draft meanwhile.

    Parameters
    ----------
    session, layers, errors
        What is open, how it is shown, and where errors are reported.
    segmenter
        Whose warm engine ranks the regions.
    """

    def __init__(
        self, session: Session, layers: LayerManager, errors: ErrorReporter, segmenter: Segmenter
    ) -> None:
        super().__init__()
        self._session = session
        self._layers = layers
        self._errors = errors
        self._segmenter = segmenter
        self.side_px = FIRST_SIDE_PX
        self._keep_soon = single_shot(self, KEEP_MS, self._on_keep_due)
        session.dirtied.connect(self._on_dirtied)
        layers.viewer.layers.events.removed.connect(self._on_layer_removed)

    def shut_down(self) -> None:
        """Follow the viewer no longer."""
        if isalive(self._keep_soon):
            self._keep_soon.stop()
        self._layers.viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def mark_region(self, side_px: int | None = None) -> None:
        """Make a square region in the middle of the view and open it.

        ``side_px``: its side; ``None``: that of the last one, 256 at first.
        """
        self.side_px = side_px = side_px or self.side_px
        with self._errors.reporting("review"):
            view = self._layers.viewport.visible_rect()
            y, x = view.y + view.h // 2, view.x + view.w // 2
            rect = Rect(y - side_px // 2, x - side_px // 2, side_px, side_px)
            name = self._session.slide
            if name is not None:
                rect = _pushed_inside(rect, self._session.spaced_slide(name).shape_yx)
            self._session.mark_region(rect)

    def open_region(self, region_id: int) -> None:
        """Open a region from the list."""
        with self._errors.reporting("review"), self._layers.one_change():
            self._session.open_region(region_id)

    def next_region(self) -> None:
        """Open the region most worth a look; ask the engine when none is waiting."""
        session = self._session
        if session.ranking:
            return
        with self._errors.reporting("review"), self._layers.one_change():
            if session.project is None:
                raise ProjectError(NEED_PROJECT)
            current = None if session.edit is None else session.edit.region.id
            waiting = [region for region in session.queue() if region.id != current]
            if session.reader:
                self._next_reading(waiting)
                return
            fresh = [region for region in waiting if region.state is RegionState.PREDICTED]
            review = session.round_to_review()
            if fresh or (waiting and review is None):
                session.open_region((fresh or waiting)[0].id)
            elif review is None or (server := self._segmenter.server) is None:
                self._errors.report("review", NOTHING_TO_REVIEW)
            elif session.segmenting is not None and not session.segmenting.follows_viewport:
                # The engine does one thing at a time: the person would wait without knowing why.
                self._errors.report("review", RANKING_WAITS)
            else:
                session.set_ranking(True)
                self._segmenter.give_way()
                server.request(
                    "queue", self._on_queue_event, count=QUEUE_COUNT, size_px=self.side_px
                )

    def _next_reading(self, waiting: Sequence[Region]) -> None:
        """Open what the second reader has not answered yet, or say that nothing is left."""
        if waiting:
            self._session.open_region(waiting[0].id)
        elif self._session.edit is None:
            show_info(f"Nothing waits for {self._session.reader} any more.")
            self._session.read_as("")

    def accept(self) -> None:
        """Stand behind the region under the brush."""
        with self._errors.reporting("review"):
            self._session.accept()

    def accept_and_next(self) -> None:
        """Stand behind the region under the brush and open the next one."""
        with self._errors.reporting("review"), self._layers.one_change():
            self._session.accept()
            self.next_region()

    def accept_sure(self) -> None:
        """Accept every region of the list that the model is sure of."""
        with self._errors.reporting("review"):
            count = self._session.accept_sure()
            show_info(f"{count} regions accepted as predicted. Undo takes all of them back.")

    def accept_and_send(self, person: str, reader: str) -> None:
        """Accept the open region and send it to a second reader; ``person`` is one's own name."""
        with self._errors.reporting("review"):
            self._session.set_person(person)
            remember_name(person)
            self._session.accept_and_send(reader)

    def read_as(self, person: str) -> None:
        """Show ``person`` what was sent to them, and nothing else; "": all again."""
        with self._errors.reporting("review"):
            if person:
                self._session.set_person(person)
                remember_name(person)
            self._session.read_as(person)

    def previous_region(self) -> None:
        """Open the region before the open one in the list, from its end again after the first."""
        with self._errors.reporting("review"), self._layers.one_change():
            if self._session.project is None:
                raise ProjectError(NEED_PROJECT)
            waiting = self._session.queue()
            if not waiting:
                self._errors.report("review", NOTHING_TO_REVIEW)
                return
            edit = self._session.edit
            ids = [region.id for region in waiting]
            here = ids.index(edit.region.id) if edit and edit.region.id in ids else 0
            self._session.open_region(ids[here - 1])

    def skip(self) -> None:
        """Leave the region unlabelled."""
        with self._errors.reporting("review"):
            self._session.skip()

    def hold_out(self, held: bool) -> None:
        """Keep the region for measuring."""
        with self._errors.reporting("review"):
            self._session.hold_out(held)

    def tidy(self, name: str) -> None:
        """Do ``name`` of ``TIDYING`` to the chosen class of the open region."""
        layer = self._layers.editing()
        with self._errors.reporting("review"):
            if layer is not None and not tidy(layer, name):
                show_info(f"{name}: nothing to change in this class.")

    def undo(self) -> None:
        """Take back the last stroke in the open region, or else what was done before it."""
        editing = self._layers.editing()
        with self._errors.reporting("review"):
            if editing is None or not _changed(editing, editing.undo):
                self._session.undo()

    def redo(self) -> None:
        """Make again what was taken back: a stroke in the open region, or else what came before."""
        editing = self._layers.editing()
        with self._errors.reporting("review"):
            if editing is None or not _changed(editing, editing.redo):
                self._session.redo()

    def _on_queue_event(self, event: Event) -> None:
        session = self._session
        if not isinstance(event, FINAL):
            return
        session.set_ranking(False)
        if isinstance(event, Failed):
            self._errors.report("review", event.text)
            return
        with self._errors.reporting("review"):
            current = None if session.edit is None else session.edit.region.id
            waiting = [each for each in session.queue() if each.id != current]
            ranked = [each for each in waiting if each.state is RegionState.PREDICTED]
            session.set_all_asked(not ranked)
            if ranked or waiting:
                session.open_region((ranked or waiting)[0].id)
            else:
                show_info(ALL_ASKED)

    def _on_layer_removed(self) -> None:
        """Close a region whose layer was deleted by hand: what is not seen is not accepted."""
        by_hand = self._layers.editing() is None and not self._layers.replacing
        if self._session.edit is not None and by_hand:
            with self._errors.reporting("review", act=False):
                self._session.close_region()

    def _on_dirtied(self) -> None:
        # Not started anew by each stroke: who paints on and on would never be kept.
        if isalive(self._keep_soon) and not self._keep_soon.isActive():
            self._keep_soon.start(KEEP_MS)

    def _on_keep_due(self) -> None:
        session, wait_ms = self._session, RETRY_MS
        with self._errors.reporting("review", act=False):
            session.keep_strokes()
            wait_ms = KEEP_MS
        if session.keeping_strokes:
            self._keep_soon.start(wait_ms)


def _changed(layer: Labels, act: Callable[[], None]) -> bool:
    """Do ``act`` and tell whether it changed a pixel: a layer does not say what it can undo."""
    before = np.array(layer.data)
    act()
    return not np.array_equal(before, np.asarray(layer.data))


def _pushed_inside(rect: Rect, shape_yx: tuple[int, int]) -> Rect:
    """Return ``rect`` moved and cut so that it lies inside ``shape_yx``."""
    h, w = min(rect.h, shape_yx[0]), min(rect.w, shape_yx[1])
    y = min(max(0, rect.y), shape_yx[0] - h)
    x = min(max(0, rect.x), shape_yx[1] - w)
    return Rect(y, x, h, w)
