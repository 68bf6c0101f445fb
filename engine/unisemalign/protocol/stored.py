"""Small notes that lie in a project's folder beside larger files."""

from __future__ import annotations

from pydantic import Field

from unisemalign.protocol.model import Area, ProtocolModel


class FinishedNote(ProtocolModel):
    """What of a slide's prediction is finished: ``SLIDE.progress.json``.

    Attributes
    ----------
    model
        Hash of the weights and of the settings they were used with.
    finished
        The finished bands.
    masks
        Digest of the tissue mask under each of ``finished``, in the same order.
    unreadable
        Rectangles that could not be decoded.
    """

    model: str = ""
    finished: tuple[Area, ...] = Field((), description="a list of rectangles")
    masks: tuple[str, ...] = Field((), description="a list of texts")
    unreadable: tuple[Area, ...] = Field((), description="a list of rectangles")


class LockHolder(ProtocolModel):
    """Who holds a lock: ``.locks/NAME.json``."""

    pid: int = Field(strict=True, ge=1)
