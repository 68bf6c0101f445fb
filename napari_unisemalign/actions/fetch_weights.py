"""Fetching published weights, in a process of its own: it alone goes online."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QObject, Signal

from napari_unisemalign.engine.command import CommandJob
from unisemalign.protocol import Event


class WeightsFetcher(QObject):
    """Runs ``unisemalign weights get``.

    Attributes
    ----------
    fetching
        Name of the weights that are being fetched, ``None`` when none are.
    """

    changed = Signal(object)
    """An event of the fetching; ``None`` when it begins."""

    def __init__(self, *, engine: Sequence[str]) -> None:
        super().__init__()
        self._engine = tuple(engine)
        self._job: CommandJob | None = None
        self.fetching: str | None = None

    def fetch(self, name: str) -> None:
        """Fetch the weights of that name."""
        if self._job is not None:
            return
        self.fetching = name
        job = CommandJob("The download", ["weights", "get", name, "--json"], engine=self._engine)
        job.event_received.connect(self.changed)
        job.finished.connect(self._on_finished)
        job.stop_ignored.connect(job.end)  # what arrived is kept
        self._job = job
        job.start()
        self.changed.emit(None)

    def cancel(self) -> None:
        """Stop fetching; what arrived is kept, and gone on with the next time."""
        if self._job is not None:
            self._job.cancel()

    def stop(self) -> None:
        """End it now; no event follows."""
        if self._job is not None:
            self._job.stop()
        self._job = self.fetching = None

    def _on_finished(self, event: Event) -> None:
        self._job = self.fetching = None
        self.changed.emit(event)
