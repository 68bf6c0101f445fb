"""Exporting results, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.engine.command import CommandJob
from napari_unisemalign.session.session import Session
from unisemalign.protocol import Cancelled, Event, ExportDone, Failed


class Exporter(QObject):
    """Runs ``unisemalign export`` for the open project."""

    exported = Signal(list)
    """Paths of the files that were written."""
    planned = Signal(object)
    """An ``ExportDone``: what would be written of each slide, and what is left out."""
    changed = Signal()
    """It runs, or no longer."""

    def __init__(self, session: Session, errors: ErrorReporter, *, engine: Sequence[str]) -> None:
        super().__init__()
        self._session = session
        self._errors = errors
        self._engine = tuple(engine)
        self._job: CommandJob | None = None
        self._planning = False

    @property
    def running(self) -> bool:
        """Whether an export runs."""
        return self._job is not None

    def plan(self, out: Path, kind: str, source: str) -> None:
        """Look at what :meth:`export` would write of every slide; :attr:`planned` tells."""
        self._run(out, kind, source, (), "--plan")

    def export(self, out: Path, kind: str, source: str, slides: Sequence[str] = ()) -> None:
        """Write results into ``out``.

        Parameters
        ----------
        out
            The folder.
        kind
            A format of ``unisemalign export``.
        source
            ``best``, ``labels`` or ``prediction``.
        slides
            Names; none: all of them.
        """
        self._run(out, kind, source, slides)

    def _run(self, out: Path, kind: str, source: str, slides: Sequence[str], *more: str) -> None:
        project = self._session.project
        if project is None or self._job is not None:
            return
        self._errors.began.emit("export")
        arguments = ["export", str(project.root), "--format", kind]
        arguments += ["--source", source, "--out", str(out), "--json", *more, "--", *slides]
        self._planning = bool(more)
        self._job = CommandJob("The export", arguments, engine=self._engine)
        self._job.finished.connect(self._on_finished)
        self._job.start()
        self.changed.emit()

    def stop(self) -> None:
        """End it now: another project is opened, or none any more."""
        if self._job is not None:
            self._job.stop()
        self._job = None

    def _on_finished(self, event: Event) -> None:
        self._job = None
        if isinstance(event, ExportDone):
            if self._planning:
                self.planned.emit(event)
            else:
                self.exported.emit(list(event.files))
        elif isinstance(event, Failed | Cancelled):
            self._errors.report("export", event.text)
        self.changed.emit()
