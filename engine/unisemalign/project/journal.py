"""The journal: every edit of the labels with the pixels before and after it."""

from __future__ import annotations

import itertools
import math
import sqlite3
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project.database import Database
from unisemalign.project.records import JournalEntry, Region, RegionState
from unisemalign.project.region_table import find_or_insert

_COLUMNS = "journal.id, time, slides.name AS slide, y, x, h, w, action, region_id, round, state"
_FROM = "FROM journal JOIN slides ON slides.id = slide_id"
_EDIT_REGIONS = """
CREATE TABLE IF NOT EXISTS edit_regions (
    edit_id INTEGER NOT NULL REFERENCES journal (id) ON DELETE CASCADE,
    region_id INTEGER NOT NULL,
    before TEXT,
    after TEXT
)
"""
_EDIT_PERSONS = """
CREATE TABLE IF NOT EXISTS edit_persons (
    edit_id INTEGER PRIMARY KEY REFERENCES journal (id) ON DELETE CASCADE,
    person TEXT NOT NULL
)
"""
"""Both made when they are first needed: projects of earlier releases have none."""
_ON_THE_WAY = ("pending", "undoing", "redoing")


class UnreadableEditError(ProjectError):
    """A row of the journal that does not hold the pixels of an edit."""


@dataclass(frozen=True)
class Pixels:
    """Labels and origins of one rectangle, both ``(h, w)`` uint8."""

    labels: NDArray[np.uint8]
    origin: NDArray[np.uint8]

    def under(self, other: Pixels, where: NDArray[np.bool_]) -> Pixels:
        """Return these pixels with ``other``'s laid over them ``where``, ``(h, w)``."""
        return Pixels(
            np.where(where, other.labels, self.labels), np.where(where, other.origin, self.origin)
        )

    def packed(self) -> bytes:
        """Return both as one compressed run of bytes."""
        return zlib.compress(self.labels.tobytes() + self.origin.tobytes(), 1)

    @classmethod
    def unpacked(cls, packed: bytes, rect: Rect) -> Pixels:
        """Undo :meth:`packed` for pixels under ``rect``.

        Raises
        ------
        UnreadableEditError
            If ``packed`` is something else.
        """
        try:
            size = 2 * rect.area
            # No more than is needed: what a project holds may not be ours.
            both = zlib.decompressobj().decompress(packed, size + 1)
            pixels = np.frombuffer(both, np.uint8).reshape(2, *rect.shape)
        except (zlib.error, ValueError, TypeError, OverflowError) as error:
            raise UnreadableEditError(
                f"project.sqlite: an edit needs the pixels of {rect}, found something else: {error}"
            ) from error
        return cls(pixels[0], pixels[1])


@dataclass(frozen=True)
class RegionChange:
    """The regions an edit belongs to.

    Attributes
    ----------
    regions
        Each found by its id; where that is 0, by its rectangle, and made when there is none.
    state
        What becomes of them when the edit is done; ``None``: they stay as they are.
    """

    regions: tuple[Region, ...] = ()
    state: RegionState | None = None


@dataclass(frozen=True)
class Act:
    """Edits of one slide that are done, undone and recovered together.

    Attributes
    ----------
    entries
        In the order in which they are carried out.
    region_changes
        The regions of each, for an act that is new: they change when it is done.
    """

    entries: tuple[JournalEntry, ...]
    region_changes: tuple[RegionChange, ...] = ()


class Journal:
    """Rows of edits.

    The edits of one act have the same time. An edit is written down as ``pending`` (or ``undoing``,
    ``redoing``) with the pixels on both sides before any chunk changes, and as ``done``
    (``undone``) after the last one is on the disk: only then is it acknowledged. Whatever ends it
    between, the row tells what the chunks held before, and the act is taken back: what was said to
    have failed never happens later. Edits of an act of several are ``staged`` one by one before:
    what is staged has changed nothing and is dropped after a kill.

    An edit of one region names it in its own row; one of many, in rows of ``edit_regions``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.person = ""
        """Who makes the edits from now on; "" where nobody says."""

    def persons(self) -> dict[int, str]:
        """Return who made an edit: its id → name; those of nobody's name are left out."""
        if not self._database.rows("SELECT 1 FROM sqlite_master WHERE name = 'edit_persons'"):
            return {}
        rows = self._database.rows("SELECT edit_id, person FROM edit_persons")
        return {r["edit_id"]: r["person"] for r in rows if isinstance(r["person"], str)}

    def entries(self, limit: int) -> list[JournalEntry]:
        """Return the newest ``limit`` edits, newest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} WHERE state != 'staged' ORDER BY journal.id DESC LIMIT ?",
            (limit,),
        )
        return [_entry(row) for row in rows]

    def knows(self, slide_id: int) -> bool:
        """Tell whether a slide's labels were ever edited."""
        return bool(
            self._database.rows("SELECT 1 FROM journal WHERE slide_id = ? LIMIT 1", (slide_id,))
        )

    def done_on(self, slide_id: int) -> list[JournalEntry]:
        """Return the edits of a slide that hold, oldest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} WHERE state = 'done' AND slide_id = ? ORDER BY journal.id",
            (slide_id,),
        )
        return [_entry(row) for row in rows]

    def moment(self) -> float:
        """Return the time of an act that begins now, in seconds since 1970; no other act's."""
        rows = self._database.rows("SELECT time FROM journal ORDER BY id DESC LIMIT 1")
        now = time.time()
        return math.nextafter(now, math.inf) if rows and rows[0]["time"] == now else now

    def stage(self, edit: StagedEdit) -> int:
        """Write an edit of an act down that has not begun; return its id."""
        with self._database.transaction() as connection:
            return self._stage(connection, edit)

    def drop_staged(self) -> None:
        """Forget the edits of an act that has not begun."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM journal WHERE state = 'staged'")

    def start(self, staged: Sequence[tuple[int, RegionChange]]) -> Act:
        """Make ``pending`` what was staged: whoever finds it half done takes it back."""
        with self._database.transaction() as connection:
            return self._start(connection, staged)

    def begin(self, edit: StagedEdit, region_change: RegionChange) -> Act:
        """Write an act of one edit down as ``pending``."""
        with self._database.transaction() as connection:
            return self._start(connection, [(self._stage(connection, edit), region_change)])

    def turn(self, from_state: str, to_state: str, *, newest: bool) -> Act | None:
        """Move the newest (or oldest) act of one state to another; ``None`` if there is none."""
        order = "DESC" if newest else "ASC"
        with self._database.transaction() as connection:
            row = connection.execute(
                f"SELECT time, slide_id FROM journal WHERE state = ? ORDER BY id {order}",  # noqa: S608
                (from_state,),
            ).fetchone()
            if row is None:
                return None
            found = (from_state, row["time"], row["slide_id"])
            ids = connection.execute(
                "SELECT id FROM journal WHERE state = ? AND time = ? AND slide_id = ? ORDER BY id",
                found,
            ).fetchall()
            ids = ids[::-1] if newest else ids
            connection.execute(
                "UPDATE journal SET state = ? WHERE state = ? AND time = ? AND slide_id = ?",
                (to_state, *found),
            )
            return Act(tuple(self._get(connection, each["id"]) for each in ids))

    def finish(self, act: Act) -> list[JournalEntry]:
        """Write down that the chunks are as ``act`` needs them, and follow with its regions.

        Edits that were undone can no longer be redone once another one is done.
        """
        with self._database.transaction() as connection:
            if any(entry.state == "pending" for entry in act.entries):
                connection.execute("UPDATE journal SET state = 'superseded' WHERE state = 'undone'")
            for entry, region_change in zip(act.entries, act.region_changes, strict=False):
                self._join(connection, entry, region_change)
            return [self._finish(connection, entry) for entry in act.entries]

    def take_back(self, act: Act) -> None:
        """Forget that ``act`` was begun: its chunks are as they were before."""
        with self._database.transaction() as connection:
            for entry in act.entries:
                if entry.state == "pending":
                    connection.execute("DELETE FROM journal WHERE id = ?", (entry.id,))
                else:
                    earlier = "done" if entry.state == "undoing" else "undone"
                    connection.execute(
                        "UPDATE journal SET state = ? WHERE id = ?", (earlier, entry.id)
                    )

    def set_aside(self, entry: JournalEntry) -> None:
        """Keep an edit that cannot be read, but never carry it out."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE journal SET state = 'set aside' WHERE id = ?", (entry.id,))

    def interrupted(self) -> bool:
        """Tell whether a kill left something to take back or to drop, or somebody writes now."""
        states = ", ".join(f"'{state}'" for state in ("staged", *_ON_THE_WAY))
        return bool(
            self._database.rows(f"SELECT 1 FROM journal WHERE state IN ({states}) LIMIT 1")  # noqa: S608
        )

    def unfinished(self) -> list[Act]:
        """Return the acts that a kill or a full disk left half done, newest first."""
        states = ", ".join(f"'{state}'" for state in _ON_THE_WAY)
        rows = self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} WHERE state IN ({states}) ORDER BY journal.id DESC"
        )
        acts = itertools.groupby(
            map(_entry, rows), lambda each: (each.time, each.slide, each.state)
        )
        return [Act(tuple(entries)) for _, entries in acts]

    def pixels(self, entry: JournalEntry, side: Literal["before", "after"]) -> Pixels:
        """Return the pixels on one side of an edit.

        Raises
        ------
        UnreadableEditError
            If the row does not hold them.
        """
        rows = self._database.rows("SELECT before, after FROM journal WHERE id = ?", (entry.id,))
        return Pixels.unpacked(rows[0][side], entry.rect)

    def highest_label(self, entry: JournalEntry) -> int:
        """Return the highest label on both sides of an edit; 0 where its row is damaged."""
        try:
            sides = [self.pixels(entry, side).labels for side in ("before", "after")]
        except UnreadableEditError:
            return 0
        return max(int(each.max(initial=0)) for each in sides)

    def _stage(self, connection: sqlite3.Connection, edit: StagedEdit) -> int:
        edit_id = _stage(connection, edit)
        if self.person:
            connection.execute(_EDIT_PERSONS)
            connection.execute("INSERT INTO edit_persons VALUES (?, ?)", (edit_id, self.person))
        return edit_id

    def _start(
        self, connection: sqlite3.Connection, staged: Sequence[tuple[int, RegionChange]]
    ) -> Act:
        connection.executemany(
            "UPDATE journal SET state = 'pending' WHERE id = ?", [(each,) for each, _ in staged]
        )
        entries = tuple(self._get(connection, entry_id) for entry_id, _ in staged)
        return Act(entries, tuple(region_change for _, region_change in staged))

    def _join(
        self, connection: sqlite3.Connection, entry: JournalEntry, region_change: RegionChange
    ) -> None:
        """Write down which regions an edit belongs to, made now where there are none."""
        state = None if region_change.state is None else region_change.state.value
        found = find_or_insert(connection, region_change.regions)
        if len(found) > 1:
            connection.execute(_EDIT_REGIONS)
            connection.executemany(
                "INSERT INTO edit_regions (edit_id, region_id, before, after) "
                "VALUES (?, ?, (SELECT state FROM regions WHERE id = ?), ?)",
                [(entry.id, region_id, region_id, state) for region_id in found],
            )
        one = found[0] if len(found) == 1 else None
        connection.execute(
            "UPDATE journal SET region_id = ?, region_after = ?, "
            "region_before = (SELECT state FROM regions WHERE id = ?) WHERE id = ?",
            (one, state, one, entry.id),
        )

    def _finish(self, connection: sqlite3.Connection, entry: JournalEntry) -> JournalEntry:
        back = entry.state == "undoing"
        entry = self._get(connection, entry.id)
        if entry.region_id is not None:
            rows = connection.execute(
                "SELECT region_before, region_after FROM journal WHERE id = ?", (entry.id,)
            )
            before, after = rows.fetchone()
            now = _turned(connection, entry.region_id, before if back else after)
            if back:
                connection.execute(
                    "UPDATE journal SET region_after = ? WHERE id = ?", (now, entry.id)
                )
        for row_id, region_id, before, after in self._edit_regions(connection, entry):
            now = _turned(connection, region_id, before if back else after)
            if back:
                connection.execute(
                    "UPDATE edit_regions SET after = ? WHERE rowid = ?", (now, row_id)
                )
        final = "undone" if back else "done"
        connection.execute("UPDATE journal SET state = ? WHERE id = ?", (final, entry.id))
        return self._get(connection, entry.id)

    def regions_of(self, entry: JournalEntry) -> list[int]:
        """Return the ids of the regions an edit belongs to."""
        if entry.region_id is not None:
            return [entry.region_id]
        with self._database.transaction() as connection:
            return [row[1] for row in self._edit_regions(connection, entry)]

    def _edit_regions(
        self, connection: sqlite3.Connection, entry: JournalEntry
    ) -> list[tuple[int, int, str | None, str | None]]:
        table = "SELECT 1 FROM sqlite_master WHERE name = 'edit_regions'"
        if connection.execute(table).fetchone() is None:
            return []
        found = connection.execute(
            "SELECT rowid, region_id, before, after FROM edit_regions WHERE edit_id = ? "
            "ORDER BY rowid",
            (entry.id,),
        )
        return [tuple(row) for row in found]

    def _get(self, connection: sqlite3.Connection, entry_id: int) -> JournalEntry:
        row = connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE journal.id = ?",
            (entry_id,),
        ).fetchone()
        if row is None:
            raise ProjectError(
                f"project.sqlite is damaged: the journal's edit {entry_id} is of no slide. Take "
                f"project.sqlite from a backup."
            )
        return _entry(row)


@dataclass(frozen=True)
class StagedEdit:
    """What is written down of an edit: where, of which act, and the pixels on both sides."""

    slide_id: int
    rect: Rect
    action: str
    round: int | None
    moment: float
    before: Pixels
    after: Pixels


def _turned(connection: sqlite3.Connection, region_id: int, state: str | None) -> str | None:
    """Give a region ``state``, unless that is ``None``; return the one it had."""
    row = connection.execute("SELECT state FROM regions WHERE id = ?", (region_id,)).fetchone()
    if state is not None:
        connection.execute("UPDATE regions SET state = ? WHERE id = ?", (state, region_id))
    return None if row is None else str(row["state"])


def _stage(connection: sqlite3.Connection, edit: StagedEdit) -> int:
    rect = edit.rect
    cursor = connection.execute(
        "INSERT INTO journal (time, slide_id, y, x, h, w, action, round, state, before, after) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'staged', ?, ?)",
        (
            *(edit.moment, edit.slide_id, rect.y, rect.x, rect.h, rect.w, edit.action, edit.round),
            *(edit.before.packed(), edit.after.packed()),
        ),
    )
    return int(cursor.lastrowid or 0)


def _entry(row: sqlite3.Row) -> JournalEntry:
    return JournalEntry(
        id=row["id"],
        time=row["time"],
        slide=row["slide"],
        rect=_rect(row),
        action=row["action"],
        region_id=row["region_id"],
        round=row["round"],
        state=row["state"],
    )


def _rect(row: sqlite3.Row) -> Rect:
    """Return where an edit was; an empty rectangle for a row that does not say it."""
    sides = [row[name] for name in ("y", "x", "h", "w")]
    if not all(isinstance(side, int) for side in sides) or min(sides) < 0:
        return Rect(0, 0, 0, 0)
    return Rect(*sides)
