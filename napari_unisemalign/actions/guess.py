"""A first guess, before there is a model: made, looked for anew, and named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.engine.command import CANCEL_PATIENCE_MS
from napari_unisemalign.engine.lines import FINAL
from napari_unisemalign.engine.server import EngineServer
from napari_unisemalign.engine.timers import single_shot
from napari_unisemalign.session.progress import SegmentProgress
from napari_unisemalign.session.session import Session
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import NO_CLASS
from unisemalign.protocol import Event, Failed, Progress, Start, Written


class Guesser(QObject):
    """Asks the engine for first guesses of the open project.

    Attributes
    ----------
    server
        The warm engine of the open project; also the :class:`Segmenter`'s.
    """

    written = Signal()
    """Pixels of a guess were stored."""

    def __init__(self, session: Session, layers: LayerManager, errors: ErrorReporter) -> None:
        super().__init__()
        self.server: EngineServer | None = None
        self._session = session
        self._layers = layers
        self._errors = errors
        self._asked: int | None = None
        self._patience = single_shot(self, CANCEL_PATIENCE_MS, self._on_impatient)

    @property
    def running(self) -> bool:
        """Whether a guess is being made or named."""
        return self._asked is not None

    def guess(self, slide: str, rect: Rect | None, clusters: int | None = None) -> None:
        """Make a first guess of ``rect`` of a slide; ``clusters`` looks for that many anew."""
        self._ask(SegmentProgress(slide, rect), slides=(slide,), rect=rect, clusters=clusters)

    def guess_again(self, clusters: int) -> None:
        """Look for another number of clusters, where the window is."""
        with self._errors.reporting("segment"):
            session, rect = self._session, self._layers.viewport.visible_rect()
            if session.slide is None or rect.area == 0:
                raise ProjectError(
                    "Looking for clusters needs a part of the slide in view, found none. Move the "
                    "slide into view."
                )
            self.guess(session.slide, rect, clusters)

    def name_clusters(self, names: Mapping[int, str]) -> None:
        """Make classes of the clusters: number → class name, or ``none``."""
        with self._errors.reporting("segment"):
            if not any(name != NO_CLASS for name in names.values()):
                raise DataError(
                    f"A first guess needs at least one cluster that is a class, found "
                    f"'{NO_CLASS}' everywhere. Choose a class, then press Use these names."
                )
            view = SegmentProgress(self._session.slide or "", None)
            self._ask(view, names=dict(names))

    def cancel(self) -> None:
        """Ask for a clean stop."""
        if self._asked is not None and self.server is not None:
            self.server.cancel(self._asked)
            self._patience.start()

    def end(self) -> None:
        """End it at once; what was guessed so far is kept."""
        if self.server is not None:
            self.server.end()

    def stop(self) -> None:
        """Forget what was asked: another project is opened, or none any more."""
        if isalive(self._patience):
            self._patience.stop()
        self.server = self._asked = None

    def _ask(self, progress: SegmentProgress, **fields: Any) -> None:
        session, server = self._session, self.server
        if session.project is None or session.segmenting is not None or server is None:
            return
        what = progress.what if server.ready else "Starting the engine"
        session.set_segmenting(replace(progress, what=what))
        self._asked = server.request("guess", self._on_event, **fields)

    def _on_impatient(self) -> None:
        progress = self._session.segmenting
        if self.running and progress is not None:
            self._session.set_segmenting(replace(progress, stop_ignored=True))

    def _on_event(self, event: Event) -> None:
        session, progress = self._session, self._session.segmenting
        if progress is None:
            return
        if isinstance(event, FINAL):
            self._on_finished(event)
        elif isinstance(event, Start):
            session.set_segmenting(replace(progress, what=event.what))
        elif isinstance(event, Progress):
            session.set_segmenting(progress.advanced(event))
        elif isinstance(event, Written):
            self.written.emit()

    def _on_finished(self, event: Event) -> None:
        session = self._session
        self._asked = None
        self._patience.stop()
        session.set_segmenting(None)
        if isinstance(event, Failed):
            self._errors.report("segment", event.text)
        with self._errors.reporting("segment", act=False):
            session.guess_changed()
