"""The kinds of change a session tells of."""

from __future__ import annotations

from enum import Flag, auto


class Change(Flag):
    """What may be different from what a person sees."""

    PROJECT = auto()
    """Another project is open, or none."""
    CLASSES = auto()
    """Names, colours or number of the project's classes."""
    SLIDES = auto()
    """The list of slides, what they are for, or where their files are."""
    SHOWN_SLIDE = auto()
    LOOSE_SLIDES = auto()
    """Slides shown by the reader that belong to no project."""
    REGIONS = auto()
    EDIT = auto()
    """The region under the brush, or what is painted in it."""
    LABELS = auto()
    ROUNDS = auto()
    """The list of rounds, their states, scores or models."""
    GUESS = auto()
    PREDICTION = auto()
    AREA = auto()
    """The area per class."""
    SEGMENTING = auto()
    TRAINING = auto()
    CURVE = auto()
    RANKING = auto()
    LIVE = auto()

    @classmethod
    def all(cls) -> Change:
        """Return every kind of change."""
        return ~cls(0)
