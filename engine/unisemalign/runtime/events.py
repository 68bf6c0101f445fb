"""Where events go: nowhere, to a stream, to a log, to a terminal.

The events themselves are :mod:`unisemalign.protocol`'s.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from unisemalign import protocol
from unisemalign.errors import MessageError
from unisemalign.protocol import Event, read_event
from unisemalign.runtime.files import disk_full_told


class Events(Protocol):
    """Anything that takes events."""

    def emit(self, event: Event) -> None:
        """Take one event."""
        ...


class SilentEvents:
    """Takes events and does nothing: for library use and tests."""

    def emit(self, event: Event) -> None:
        """Ignore the event."""


class ManyEvents:
    """Hands each event to several takers in turn."""

    def __init__(self, takers: Sequence[Events]) -> None:
        self._takers = list(takers)

    def emit(self, event: Event) -> None:
        """Hand the event on."""
        for taker in self._takers:
            taker.emit(event)


class JsonLinesEvents:
    """One JSON object a line on a stream.

    A reader that went away (a viewer that crashed) does not stop the work: the stream is then
    left alone and the job's log keeps the events.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = stream or sys.stdout
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Write the event as one line and flush it."""
        line = event.line() + "\n"
        with self._lock:  # the server's two threads both answer
            if self._stream is None:
                return
            try:
                self._stream.write(line)
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self._stream = None


class LogFileEvents:
    """Appends events, with the time, to a job's ``log.jsonl``. ``progress`` is left out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def emit(self, event: Event) -> None:
        """Append the event as one line."""
        if isinstance(event, protocol.Progress):
            return
        line = event.model_copy(update={"time": round(time.time(), 3)}).line()
        with disk_full_told(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_log(path: Path) -> list[Event]:
    """Return the events of a ``log.jsonl``.

    Lines that are no event are left out: a kill tears the last one, and a log made by hand, or by
    a newer release, does not keep a project from opening.
    """
    events: list[Event] = []
    if not path.exists():
        return events
    for line in path.read_bytes().splitlines():
        with suppress(MessageError):
            events.append(read_event(line))
    return events


class ProgressBarEvents:
    """A progress bar and sentences for a person at a terminal (on stderr)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def emit(self, event: Event) -> None:
        """Show the event."""
        match event:
            case protocol.Start():
                self._close()
                self._what = event.what
                self._open(event.total)
            case protocol.Progress() | protocol.Step():
                if self._progress is None or self._task is None:
                    self._open(event.total)
                self._update(event)
            case protocol.Message():
                self._print(event.text)
            case protocol.Cancelled() | protocol.Failed():
                self._print(event.text)
                self._close()
            case protocol.Validation() if event.mdice is not None:
                self._print(f"step {event.step}: validation Dice {100 * event.mdice:.2f}")
            case protocol.Done():
                self._close()

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _open(self, total: float | None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f}" if total else "{task.completed:.0f}"
            ),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=False,
        )
        self._progress.start()
        self._task = self._progress.add_task(self._what, total=total, note="")

    def _update(self, event: protocol.Progress | protocol.Step) -> None:
        if self._progress is None or self._task is None:
            return
        if isinstance(event, protocol.Step):
            done = float(event.step)
            note = f"loss {event.loss:.3f}, {100 * event.wait_share:.0f} % waiting for crops"
        else:
            done, note = event.done, ""
        self._progress.update(self._task, completed=done, total=event.total, note=note)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._task = None
