"""What the project's tables hold, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Literal

from unisemalign.geometry import Rect
from unisemalign.protocol import RoundLayout, RoundScores
from unisemalign.slides import Opening
from unisemalign.terms import Split as Split

RoundState = Literal["running", "done", "cancelled", "failed"]
"""How a round stands. A round that says ``running`` while nobody trains was killed."""


class RegionState(StrEnum):
    """How far a person has come with a region."""

    UNLABELLED = "unlabelled"
    PREDICTED = "predicted"
    REVIEW = "in review"
    ACCEPTED = "accepted"
    SKIPPED = "skipped"


class Origin(IntEnum):
    """Where the label of a pixel comes from."""

    NONE = 0
    DRAWN = 1
    CORRECTED = 2
    ACCEPTED = 3
    IMPORTED = 4


@dataclass(frozen=True)
class SlideRecord:
    """One slide of the project.

    Attributes
    ----------
    path
        Where the file is now: found beside a project that moved together with its slides.
    shape_yx
        ``(height, width)`` in pixels of the working spacing.
    spacing_um
        Pixel size of the file's finest level, µm.
    opening
        How the file is opened: which of its images, and whether a colour profile is applied.
    remarks
        Sentences on the file that a person was told when it was added, and is to see beside it.
    caption
        A sentence on what the slide shows; "" where nobody wrote one.
    """

    id: int
    name: str
    path: Path
    shape_yx: tuple[int, int]
    spacing_um: float
    split: Split
    opening: Opening = field(default=Opening())
    remarks: tuple[str, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Region:
    """A rectangle of a slide (pixels at working spacing) with a state and a split."""

    id: int
    slide: str
    rect: Rect
    state: RegionState
    split: Split
    score: float | None = None
    reason: str = ""
    round: int | None = None


@dataclass(frozen=True)
class Round:
    """One training run and the model it made.

    Attributes
    ----------
    scores
        What it reached; ``None`` before it is done.
    created
        Seconds since 1970.
    set_aside
        Whether neither its model nor its predictions are used, until somebody asks for the round.
    """

    number: int
    state: RoundState
    folder: Path
    parent: int | None
    method: str
    preset: str
    scores: RoundScores | None = None
    created: float = 0.0
    set_aside: bool = False

    @property
    def layout(self) -> RoundLayout:
        """Where its files lie."""
        return RoundLayout(self.folder)


@dataclass(frozen=True)
class SecondReading:
    """An accepted region that was sent to a second reader.

    Attributes
    ----------
    sent_by, reader
        Names of the person who sent it and of the one who is asked.
    agreement
        Share of the pixels that either of them labelled and that have the same class for both,
        0…1; ``None`` while nobody has answered.
    answered
        Whether the reader agreed or corrected.
    """

    id: int
    region_id: int
    sent_by: str
    reader: str
    agreement: float | None
    answered: bool


@dataclass(frozen=True)
class JournalEntry:
    """One edit of the labels: what, where, when, from which round.

    ``state`` is ``done``, ``undone``, or ``superseded`` (undone, and then drawn over, so that redo
    no longer reaches it). ``pending``, ``undoing`` and ``redoing`` are edits under way.
    """

    id: int
    time: float
    slide: str
    rect: Rect
    action: str
    region_id: int | None
    round: int | None
    state: str
