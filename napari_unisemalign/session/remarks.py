"""What the engine says while the session calls it, kept for the person."""

from __future__ import annotations

from unisemalign.protocol import Event, Message


class Remarks:
    """Takes events, and keeps the texts of its messages.

    Attributes
    ----------
    texts
        In the order they came.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def emit(self, event: Event) -> None:
        """Keep what ``event`` says, if it says something."""
        if isinstance(event, Message):
            self.texts.append(event.text)
