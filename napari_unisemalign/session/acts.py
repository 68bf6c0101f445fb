"""What a person did and can take back: each act knows its own way back and forth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from unisemalign.project import ClassInfo, Region


class Act(Protocol):
    """Something a person did."""

    @property
    def verb(self) -> str:
        """What was done, as ``accept``."""

    def undo(self) -> None:
        """Take it back."""

    def redo(self) -> None:
        """Do it again."""


@dataclass(frozen=True)
class LabelAct:
    """Labels were written, as one act of the journal or several.

    Attributes
    ----------
    verb
        ``accept``, ``accept sure`` or ``import``.
    undo_newest, redo_newest
        Take back the newest act of the journal, and carry out the one taken back last again.
    times
        Of how many acts of the journal it is made: one a slide.
    """

    verb: str
    undo_newest: Callable[[], None]
    redo_newest: Callable[[], None]
    times: int = 1

    def undo(self) -> None:
        """Take the labels back."""
        for _ in range(self.times):
            self.undo_newest()

    def redo(self) -> None:
        """Write the labels again."""
        for _ in range(self.times):
            self.redo_newest()


@dataclass(frozen=True)
class RegionAct:
    """A region's state or split was changed.

    Attributes
    ----------
    verb
        ``skip`` or ``hold out``.
    before, after
        The region on both sides.
    restore
        Gives a region the state and split it is called with.
    """

    verb: str
    before: Region
    after: Region
    restore: Callable[[Region], None]

    def undo(self) -> None:
        """Give the region what it was before."""
        self.restore(self.before)

    def redo(self) -> None:
        """Give the region what it was afterwards."""
        self.restore(self.after)


@dataclass(frozen=True)
class RoundAct:
    """Another round was taken into use.

    Attributes
    ----------
    before, after
        Numbers of the rounds that are set aside on both sides.
    set_aside
        Sets the rounds aside that it is called with, and no others.
    """

    before: frozenset[int]
    after: frozenset[int]
    set_aside: Callable[[frozenset[int]], None]
    verb: str = "use round"

    def undo(self) -> None:
        """Use the round of before again."""
        self.set_aside(self.before)

    def redo(self) -> None:
        """Use the other round again."""
        self.set_aside(self.after)


@dataclass(frozen=True)
class ClassesAct:
    """Classes were renamed, recoloured, added or taken away.

    Attributes
    ----------
    before, after
        The classes on both sides.
    set_classes
        Gives the project the classes it is called with.
    """

    before: tuple[ClassInfo, ...]
    after: tuple[ClassInfo, ...]
    set_classes: Callable[[tuple[ClassInfo, ...]], None]
    verb: str = "class edit"

    def undo(self) -> None:
        """Give the project its classes of before."""
        self.set_classes(self.before)

    def redo(self) -> None:
        """Give the project the changed classes again."""
        self.set_classes(self.after)


class History:
    """Acts in the order they were done. A new act ends what could be done again."""

    def __init__(self) -> None:
        self._done: list[Act] = []
        self._undone: list[Act] = []

    @property
    def last_done(self) -> Act | None:
        """The act that :meth:`undo` takes back."""
        return self._done[-1] if self._done else None

    @property
    def last_undone(self) -> Act | None:
        """The act that :meth:`redo` does again."""
        return self._undone[-1] if self._undone else None

    def add(self, act: Act) -> None:
        """Note that ``act`` was done."""
        self._done.append(act)
        self._undone.clear()

    def undo(self, act: Act) -> None:
        """Take ``act`` back, the last one or one of an earlier session."""
        act.undo()
        if self._done and self._done[-1] is act:
            self._done.pop()
        self._undone.append(act)

    def redo(self, act: Act) -> None:
        """Do ``act`` again, the one taken back last or one of an earlier session."""
        act.redo()
        if self._undone and self._undone[-1] is act:
            self._undone.pop()
        self._done.append(act)

    def forget_undone(self) -> None:
        """Note that something was done that ends what could be done again."""
        self._undone.clear()
