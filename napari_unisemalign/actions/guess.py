"""A first guess, before there is a model: made, looked for anew, and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qtpy.QtCore import QObject, Signal

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.engine.command import CommandJob
from napari_unisemalign.engine.lines import Event
from napari_unisemalign.session.progress import SegmentProgress
from napari_unisemalign.session.session import Session
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import NO_CLASS


class Guesser(QObject):
    """Runs ``unisemalign guess`` for the open project."""

    written = Signal()
    """Pixels of a guess were stored."""

    def __init__(
        self,
        session: Session,
        layers: LayerManager,
        errors: ErrorReporter,
        *,
        engine: Sequence[str],
    ) -> None:
        super().__init__()
        self._session = session
        self._layers = layers
        self._errors = errors
        self._engine = tuple(engine)
        self._job: CommandJob | None = None

    @property
    def running(self) -> bool:
        """Whether a guess is being made or named."""
        return self._job is not None

    def guess(self, slide: str, rect: Rect | None, clusters: int | None = None) -> None:
        """Make a first guess of ``rect`` of a slide; ``clusters`` looks for that many anew."""
        options = [slide]
        if rect is not None:
            options += ["--region", str(rect)]
        if clusters is not None:
            options += ["--clusters", str(clusters)]
        self._start(options, SegmentProgress(slide, rect))

    def guess_again(self, clusters: int) -> None:
        """Look for another number of clusters, where the window is."""
        with self._errors.reporting("segment"):
            session, rect = self._session, self._layers.viewport.visible_rect()
            if session.slide is None or rect.area == 0:
                raise ProjectError("The window shows no part of the slide. Move it into view.")
            self.guess(session.slide, rect, clusters)

    def name_clusters(self, names: Mapping[int, str]) -> None:
        """Make classes of the clusters: number → class name, or ``none``."""
        with self._errors.reporting("segment"):
            if not any(name != NO_CLASS for name in names.values()):
                raise DataError(
                    f"A first guess needs at least one cluster that is a class, found "
                    f"'{NO_CLASS}' everywhere. Choose a class, then press Use these names."
                )
            text = ",".join(f"{number}={name}" for number, name in names.items())
            self._start(["--names", text], SegmentProgress(self._session.slide or "", None))

    def cancel(self) -> None:
        """Ask for a clean stop."""
        if self._job is not None:
            self._job.cancel()

    def end(self) -> None:
        """End it at once; what was guessed so far is kept."""
        if self._job is not None:
            self._job.end()

    def stop(self) -> None:
        """End it now: another project is opened, or none any more."""
        if self._job is not None:
            self._job.stop()
        self._job = None

    def _start(self, options: list[str], view: SegmentProgress) -> None:
        session = self._session
        if session.project is None or session.segmenting is not None:
            return
        arguments = ["guess", str(session.project.root), *options, "--json"]
        session.set_segmenting(view)
        self._job = CommandJob("The first guess", arguments, engine=self._engine)
        self._job.event_received.connect(self._on_event)
        self._job.finished.connect(self._on_finished)
        self._job.stop_ignored.connect(self._on_stop_ignored)
        self._job.start()

    def _on_stop_ignored(self) -> None:
        view = self._session.segmenting
        if view is not None:
            self._session.set_segmenting(replace(view, stop_ignored=True))

    def _on_event(self, event: Event) -> None:
        session, view = self._session, self._session.segmenting
        if view is None:
            return
        if event["event"] == "start":
            what = str(event.get("what") or view.what)
            session.set_segmenting(replace(view, what=what))
        elif event["event"] == "progress":
            session.set_segmenting(view.advanced(event))
        elif event["event"] == "written":
            self.written.emit()

    def _on_finished(self, event: Event) -> None:
        session = self._session
        self._job = None
        session.set_segmenting(None)
        if event["event"] == "failed":
            self._errors.report("segment", str(event.get("text", "The first guess failed.")))
        with self._errors.reporting("segment", act=False):
            session.guess_changed()
