"""Where events go: nowhere, to a stream, to a log.

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

from unisemalign import protocol
from unisemalign.errors import MessageError
from unisemalign.protocol import Event, read_event
from unisemalign.runtime.files import explaining_full_disk


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
        with explaining_full_disk(self._path), self._path.open("a", encoding="utf-8") as file:
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
