"""Events as JSON lines, cut from a stream of bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from unisemalign.errors import MessageError
from unisemalign.protocol import LAST_KINDS, Cancelled, read_event

Event = dict[str, Any]
FINAL = LAST_KINDS


def stopped_event() -> Event:
    """Return the last event of work that ended, as asked, before it could say so itself."""
    return Cancelled(text="Stopped as asked.").fields()


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
