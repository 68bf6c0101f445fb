"""Engine work in child processes: JSON lines in and out, cancel, crash and reattach."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from napari_unisemalign.engine.timers import single_shot
from unisemalign import protocol
from unisemalign.errors import MessageError, UnisemalignError
from unisemalign.project import Project
from unisemalign.protocol import LAST_KINDS, read_event

Event = dict[str, Any]
ENGINE = (sys.executable, "-u", "-m", "unisemalign")
FINAL = LAST_KINDS
_WORK: dict[str, Callable[..., protocol.WorkRequest]] = {
    "segment": protocol.SegmentRequest,
    "guess": protocol.GuessRequest,
    "queue": protocol.QueueRequest,
}
CANCEL_PATIENCE_MS = 15_000
QUIT_PATIENCE_MS = 4_000
FOLLOW_EVERY_MS = 400


class JsonLines:
    """Cuts a stream of bytes into JSON objects; a torn last line waits for its rest."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events completed by ``data``; lines that are none are left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[Event] = []
        for line in lines:
            with suppress(MessageError):
                events.append(read_event(line).fields())
        return events


class EngineProcess(QObject):
    """One engine command in a child process."""

    event_received = Signal(dict)
    """An event of the command."""
    ended = Signal(int)
    """The process is gone; its exit status, negative when it crashed."""

    def __init__(self, arguments: Sequence[str], *, engine: Sequence[str] = ENGINE) -> None:
        super().__init__()
        self._command = [*engine, *arguments]
        self._lines = JsonLines()
        self._stderr_lines: deque[str] = deque(maxlen=6)
        self._process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUTF8", "1")
        self._process.setProcessEnvironment(environment)
        self._process.readyReadStandardOutput.connect(self._on_output)
        self._process.readyReadStandardError.connect(self._on_error_output)
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_error)

    def start(self) -> None:
        """Start the process; it may fail, which :attr:`ended` tells."""
        self._process.start(self._command[0], self._command[1:])

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        # When Python ends without a goodbye, Qt's half of the process may be gone before this one.
        alive = isalive(self._process)
        return alive and bool(self._process.state() != QProcess.ProcessState.NotRunning)

    @property
    def stderr_tail(self) -> str:
        """The last lines of stderr: why a crash happened."""
        return "\n".join(self._stderr_lines)

    def send(self, message: protocol.Request) -> None:
        """Write one line to the process's stdin."""
        self._process.write(message.model_dump_json().encode() + b"\n")

    def terminate(self) -> None:
        """Ask for a clean stop."""
        self._process.terminate()

    def stop(self, patience_ms: int = QUIT_PATIENCE_MS) -> None:
        """End the process now: cleanly if it can within ``patience_ms``, by force if not."""
        if not self.running:
            return
        self._process.closeWriteChannel()
        self._process.terminate()
        if not self._process.waitForFinished(patience_ms):
            self._process.kill()
            self._process.waitForFinished(2_000)

    def _on_output(self) -> None:
        for event in self._lines.feed(bytes(self._process.readAllStandardOutput().data())):
            self.event_received.emit(event)

    def _on_error_output(self) -> None:
        text = bytes(self._process.readAllStandardError().data()).decode(errors="replace")
        self._stderr_lines.extend(line.rstrip() for line in text.splitlines() if line.strip())

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._on_output()
        self._on_error_output()
        self.ended.emit(code if status == QProcess.ExitStatus.NormalExit else -1)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._stderr_lines.append(self._process.errorString())
            self.ended.emit(-1)


@dataclass
class Request:
    """One question to the server, and who wants its answers."""

    number: int
    message: protocol.WorkRequest
    on_event: Callable[[Event], None]
    sent: bool = field(default=False)


class EngineServer(QObject):
    """Keeps ``unisemalign serve`` warm and hands every answer to who asked.

    The process starts with the first request (or :meth:`warm_up`). A crash fails what was asked,
    in words; the process starts again at once if it had been ready, and otherwise with the next
    request.
    """

    def __init__(self, project: Path, *, engine: Sequence[str] = ENGINE) -> None:
        super().__init__()
        self._arguments = ["serve", str(project)]
        self._engine = tuple(engine)
        self._process: EngineProcess | None = None
        self._ready = False
        self._closing = False
        self._number = 0
        self._requests: dict[int, Request] = {}

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.running

    @property
    def ready(self) -> bool:
        """Whether the process said that it is ready."""
        return self.running and self._ready

    def warm_up(self) -> None:
        """Start the process, so that the first request need not wait for it."""
        if self.running or self._closing:
            return
        self._ready = False
        process = EngineProcess(self._arguments, engine=self._engine)
        process.event_received.connect(self._on_event)
        process.ended.connect(self._on_ended)
        self._process = process
        process.start()

    def request(self, verb: str, on_event: Callable[[Event], None], **fields: Any) -> int:
        """Ask for ``verb``; ``on_event`` gets every answer, the last one done/failed/cancelled."""
        self._number += 1
        number = self._number
        message = _WORK[verb](id=number, **fields)
        self._requests[number] = Request(number, message, on_event)
        self.warm_up()
        self._send_waiting()
        return number

    def cancel(self, number: int) -> None:
        """Stop a request. One that was not sent yet is cancelled at once."""
        request = self._requests.get(number)
        if request is None:
            return
        if not request.sent:
            self._answer(number, {"event": "cancelled", "text": "Stopped as asked."})
        elif self._process is not None:
            self._number += 1
            self._process.send(protocol.CancelRequest(id=self._number, target=number))

    def stop(self) -> None:
        """End the process."""
        self._closing = True
        self._requests.clear()
        if self._process is not None and self._process.running:
            self._process.send(protocol.QuitRequest())
            self._process.stop()

    def _send_waiting(self) -> None:
        if not self.ready or self._process is None:
            return
        for request in self._requests.values():
            if not request.sent:
                request.sent = True
                self._process.send(request.message)

    def _on_event(self, event: Event) -> None:
        if event["event"] == "ready":
            self._ready = True
            self._send_waiting()
        elif isinstance(number := event.get("id"), int):
            self._answer(number, event)

    def _answer(self, number: int, event: Event) -> None:
        request = self._requests.get(number)
        if request is None:
            return
        if event["event"] in FINAL:
            del self._requests[number]
        request.on_event(event)

    def _on_ended(self, code: int) -> None:
        was_ready, self._ready = self._ready, False
        words = "" if self._process is None else self._process.stderr_tail
        if self._closing:
            return
        failed, self._requests = self._requests, {}
        text = ended_sentence("The engine", code, words)
        for request in failed.values():
            request.on_event({"event": "failed", "text": text, "id": request.number})
        if was_ready:
            self.warm_up()


def ended_sentence(who: str, code: int, words: str) -> str:
    """Say that a process ended before it was done, with its last words."""
    how = "crashed" if code < 0 else f"ended with status {code}"
    tail = f" Its last words: {words}" if words else ""
    return f"{who} {how} before it was done; what was saved is kept. Repeat the step.{tail}"


class CommandJob(QObject):
    """One command that runs to its end, such as an export or a training started here."""

    event_received = Signal(dict)
    """Every event but the last."""
    finished = Signal(dict)
    """The one last event: done, failed or cancelled. A silent end is a failure."""

    def __init__(
        self, who: str, arguments: Sequence[str], *, engine: Sequence[str] = ENGINE
    ) -> None:
        super().__init__()
        self._who = who
        self._last: Event | None = None
        self._over = False
        self._asked_to_stop = False
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
        self._process.terminate()

    def stop(self) -> None:
        """End the command now; no event follows."""
        self._over = True
        self._process.stop()

    def _on_event(self, event: Event) -> None:
        if event["event"] in FINAL:
            self._last = event
        else:
            self.event_received.emit(event)

    def _on_ended(self, code: int) -> None:
        if self._over:
            return
        self._over = True
        last = self._last
        if last is None and self._asked_to_stop:
            # Stopped while it was still starting, before it could say so itself.
            last = {"event": "cancelled", "text": "Stopped as asked."}
        elif last is None or (last["event"] == "done" and code != 0):
            text = ended_sentence(self._who, code, self._process.stderr_tail)
            last = {"event": "failed", "text": text}
        self.finished.emit(last)


class TrainingJob(CommandJob):
    """``unisemalign train``, cancelled through the round's folder."""

    def __init__(
        self, project: Project, options: Sequence[str], *, engine: Sequence[str] = ENGINE
    ) -> None:
        arguments = ["train", str(project.root), "--json", *options]
        super().__init__("The training", arguments, engine=engine)
        self._project = project
        self._impatience = single_shot(self, CANCEL_PATIENCE_MS, self._process.terminate)

    def cancel(self) -> None:
        """Ask for a stop at the next step; insist after a while."""
        self._asked_to_stop = True
        if ask_to_stop(self._project):
            self._impatience.start()
        else:
            self._process.terminate()

    def stop(self) -> None:
        """Stop cleanly and wait for it: the round can be resumed."""
        if self.running:
            ask_to_stop(self._project)
        super().stop()


class TrainingFollower(QObject):
    """Follows a training that another process started, through its round's log."""

    event_received = Signal(dict)
    finished = Signal(dict)

    def __init__(self, project: Project, round_number: int) -> None:
        super().__init__()
        self._project = project
        self._log = project.round(round_number).layout.log
        self._lines = JsonLines()
        self._read = 0
        self._timer = QTimer(self)
        self._timer.setInterval(FOLLOW_EVERY_MS)
        self._timer.timeout.connect(self._on_tick)

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

    def stop(self) -> None:
        """No longer follow; the training is somebody else's and goes on."""
        self._timer.stop()

    def _on_tick(self) -> None:
        # Look at the process first: what it wrote before it went is then surely read.
        alive = self._project.training_pid() is not None
        last: Event | None = None
        for event in self._new_events():
            if event["event"] in FINAL:
                last = event
            else:
                # A resumed round's log holds the earlier run's end: only a last end counts.
                last = None
                self.event_received.emit(event)
        if alive:
            return
        self._timer.stop()
        self.finished.emit(
            last or {"event": "failed", "text": ended_sentence("The training", -1, "")}
        )

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
