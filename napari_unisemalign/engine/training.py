"""A training round: started here, or followed while another process runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QProcess, QTimer, Signal

from napari_unisemalign.engine.command import CANCEL_PATIENCE_MS, CommandJob
from napari_unisemalign.engine.lines import FINAL, JsonLines, stopped_event
from napari_unisemalign.engine.process import ENGINE, ended_sentence
from napari_unisemalign.engine.timers import single_shot
from unisemalign.errors import UnisemalignError
from unisemalign.project import Project
from unisemalign.protocol import Event, Failed

FOLLOW_EVERY_MS = 400
HAND_OVER_PATIENCE_MS = 20_000


class TrainingJob(CommandJob):
    """``unisemalign train``, cancelled through the round's folder."""

    def __init__(
        self, project: Project, options: Sequence[str], *, engine: Sequence[str] = ENGINE
    ) -> None:
        arguments = ["train", str(project.root), "--json", *options]
        super().__init__("The training", arguments, engine=engine)
        self._project = project
        self._engine = tuple(engine)
        self._arguments = arguments

    def cancel(self) -> None:
        """Ask for a stop at the next step; :attr:`stop_ignored` tells when it takes long."""
        if ask_to_stop(self._project):
            self._asked_to_stop = True
            self._patience.start()
        else:
            super().cancel()

    def stop(self) -> None:
        """Stop cleanly and wait for it: the round can be resumed."""
        if self.running:
            ask_to_stop(self._project)
        super().stop()

    def hand_over(self) -> None:
        """Let the training go on without this process: a detached process resumes the round.

        A resumed round ends with the weights of one that was never stopped.
        """
        if not self.running:
            return
        begun = ask_to_stop(self._project)
        self._over = True
        self._process.stop(HAND_OVER_PATIENCE_MS)
        arguments = ["train", str(self._project.root), "--json", "--resume"]
        command = [*self._engine, *(arguments if begun else self._arguments)]
        process = QProcess()
        process.setProgram(command[0])
        process.setArguments(command[1:])
        for redirect in (process.setStandardOutputFile, process.setStandardErrorFile):
            redirect(QProcess.nullDevice())
        process.startDetached()


class TrainingFollower(QObject):
    """Follows a training that another process started, through its round's log."""

    event_received = Signal(object)
    finished = Signal(object)
    stop_ignored = Signal()
    """It was asked to stop, and still runs after :data:`CANCEL_PATIENCE_MS`."""

    def __init__(self, project: Project, round_number: int) -> None:
        super().__init__()
        self._project = project
        self._log = project.round(round_number).layout.log
        self._lines = JsonLines()
        self._read = 0
        self._timer = QTimer(self)
        self._timer.setInterval(FOLLOW_EVERY_MS)
        self._timer.timeout.connect(self._on_tick)
        self._asked_to_stop = False
        self._patience = single_shot(self, CANCEL_PATIENCE_MS, self.stop_ignored.emit)

    def start(self) -> None:
        """Begin to follow."""
        self._timer.start()
        self._on_tick()

    @property
    def running(self) -> bool:
        """Whether it is still followed."""
        return bool(self._timer.isActive())

    def cancel(self) -> None:
        """Ask the training for a stop at its next step."""
        ask_to_stop(self._project)
        self._asked_to_stop = True
        self._patience.start()

    def end(self) -> None:
        """End the training's process at once; the round can be resumed from its checkpoint."""
        pid = self._project.training_pid()
        if pid is not None:
            # On Windows any signal ends a process; elsewhere this one cannot be ignored.
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def stop(self) -> None:
        """No longer follow; the training is somebody else's and goes on."""
        for timer in (self._timer, self._patience):
            if isalive(timer):
                timer.stop()

    def _on_tick(self) -> None:
        # Look at the process first: what it wrote before it went is then surely read.
        alive = self._project.training_pid() is not None
        last: Event | None = None
        for event in self._new_events():
            if isinstance(event, FINAL):
                last = event
            else:
                # A resumed round's log holds the earlier run's end: only a last end counts.
                last = None
                self.event_received.emit(event)
        if alive:
            return
        self._timer.stop()
        self._patience.stop()
        if last is None and self._asked_to_stop:
            last = stopped_event()
        self.finished.emit(last or Failed(text=ended_sentence("The training", -1, "")))

    def _new_events(self) -> list[Event]:
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return []
        self._read += len(data)
        return self._lines.feed(data)


def ask_to_stop(project: Project) -> bool:
    """Put ``cancel`` into the running round's folder; False when no round runs."""
    try:
        running = [each for each in project.rounds() if each.state == "running"]
        if not running:
            return False
        running[-1].layout.cancel.touch()
    except (OSError, UnisemalignError):
        return False
    return True
