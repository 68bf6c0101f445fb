"""One engine command that runs to its end."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_unisemalign.engine.lines import FINAL, stopped_event
from napari_unisemalign.engine.process import ENGINE, EngineProcess, ended_sentence
from napari_unisemalign.engine.timers import single_shot
from unisemalign.protocol import Done, Event, Failed

CANCEL_PATIENCE_MS = 10_000


class CommandJob(QObject):
    """One command that runs to its end, such as an export or a training started here."""

    event_received = Signal(object)
    """Every event but the last."""
    finished = Signal(object)
    """The one last event: done, failed or cancelled. A silent end is a failure."""

    stop_ignored = Signal()
    """It was asked to stop, and still runs after :data:`CANCEL_PATIENCE_MS`."""

    def __init__(
        self, who: str, arguments: Sequence[str], *, engine: Sequence[str] = ENGINE
    ) -> None:
        super().__init__()
        self._who = who
        self._last: Event | None = None
        self._over = False
        self._asked_to_stop = False
        self._patience = single_shot(self, CANCEL_PATIENCE_MS, self._on_impatient)
        self._process = EngineProcess(arguments, engine=engine)
        self._process.event_received.connect(self._on_event)
        self._process.ended.connect(self._on_ended)

    def start(self) -> None:
        """Start the command."""
        self._process.start()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.running

    def cancel(self) -> None:
        """Ask for a clean stop."""
        self._asked_to_stop = True
        self._process.ask_to_stop()
        self._patience.start()

    def end(self) -> None:
        """End the command at once; what it saved is kept, and :attr:`finished` says cancelled."""
        self._asked_to_stop = True
        self._process.kill()

    def stop(self) -> None:
        """End the command now; no event follows."""
        self._over = True
        self._process.stop()

    def _on_impatient(self) -> None:
        if self.running:
            self.stop_ignored.emit()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, FINAL):
            self._last = event
        else:
            self.event_received.emit(event)

    def _on_ended(self, code: int) -> None:
        if self._over:
            return
        self._over = True
        last = self._last
        if isalive(self._patience):
            self._patience.stop()
        if last is None and self._asked_to_stop:
            # Stopped while it was still starting, before it could say so itself.
            last = stopped_event()
        elif last is None or (isinstance(last, Done) and code != 0):
            text = ended_sentence(self._who, code, self._process.stderr_tail)
            last = Failed(text=text)
        self.finished.emit(last)
