"""Events as JSON lines, cut from a stream of bytes."""

from __future__ import annotations

from contextlib import suppress

from unisemalign.errors import MessageError
from unisemalign.protocol import Cancelled, Done, Event, Failed, read_event

FINAL = (Done, Failed, Cancelled)
"""Kinds of the last event of work."""


def stopped_event() -> Cancelled:
    """Return the last event of work that ended, as asked, before it could say so itself."""
    return Cancelled(text="Stopped as asked.")


class JsonLines:
    """Cuts a stream of bytes into events; a torn last line waits for its rest."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events completed by ``data``; lines that are none are left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[Event] = []
        for line in lines:
            with suppress(MessageError):
                events.append(read_event(line))
        return events
