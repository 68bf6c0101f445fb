"""Errors a person can act on: what was needed, what was found, what to do next."""

from __future__ import annotations

_SHOWN = 60


def shortened(text: str) -> str:
    """Return ``text``, or its beginning, for a sentence that says what was found."""
    return f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text


class UnisemalignError(Exception):
    """Root of every error this package raises on purpose.

    The message is one or more plain sentences: what was needed, what was found and what to do.

    Attributes
    ----------
    reported
        Whether an event has carried the sentence to the person already.
    steps
        What to do next, one step after another, where one sentence is not enough.
    """

    reported = False
    steps: tuple[str, ...] = ()


class SlideError(UnisemalignError):
    """A slide cannot be opened or read."""


class SpacingError(SlideError):
    """A slide does not say how large its pixels are, and nobody else has."""


class ProjectError(UnisemalignError):
    """A project folder is missing, damaged, too new, or asked for something it does not hold."""


class BusyError(ProjectError):
    """Another process holds what this one needs (a second training, a second viewer)."""


class UnwritableError(ProjectError):
    """A place cannot be written: the disk is full, or may only be read."""


class KnownSlideError(ProjectError):
    """A slide that is to be added is in the project already."""


class DataError(UnisemalignError):
    """Labels or masks do not fit the slide or the classes they are meant for."""


class SettingsError(UnisemalignError):
    """A setting is unknown or has an impossible value."""


class WeightsError(UnisemalignError):
    """Model weights are missing, gated, damaged, or of another shape."""


class TrainingError(UnisemalignError):
    """A round cannot go on: its loss became NaN or infinite."""


class MessageError(UnisemalignError):
    """A line between engine and viewer is no message of the protocol.

    Attributes
    ----------
    id
        Of the request, where the line has one.
    """

    def __init__(self, text: str, *, id: int | str | None = None) -> None:  # noqa: A002
        super().__init__(text)
        self.id = id


class CancelledError(UnisemalignError):
    """The person asked for a stop, and the work stopped cleanly."""
