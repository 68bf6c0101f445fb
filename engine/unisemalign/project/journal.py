"""The journal: every edit of the labels with the pixels before and after it."""

from __future__ import annotations

import sqlite3
import time
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.project.database import Database
from unisemalign.project.records import JournalEntry

_COLUMNS = "journal.id, time, slides.name AS slide, y, x, h, w, action, region_id, round, state"
_FROM = "FROM journal JOIN slides ON slides.id = slide_id"


@dataclass(frozen=True)
class Pixels:
    """Labels and origins of one rectangle, both ``(h, w)`` uint8."""

    labels: NDArray[np.uint8]
    origin: NDArray[np.uint8]

    def packed(self) -> bytes:
        """Return both as one compressed run of bytes."""
        return zlib.compress(self.labels.tobytes() + self.origin.tobytes(), 1)

    @classmethod
    def unpacked(cls, packed: bytes, rect: Rect) -> Pixels:
        """Undo :meth:`packed` for pixels under ``rect``."""
        both = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(2, *rect.shape)
        return cls(both[0], both[1])


class Journal:
    """Rows of edits.

    An edit is written down as ``pending`` (or ``undoing``, ``redoing``) with the pixels on both
    sides before any chunk changes, and as ``done`` (``undone``) after the last one has. Whatever
    kills the process between, the row tells what the chunks are to hold.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, limit: int) -> list[JournalEntry]:
        """Return the newest ``limit`` edits, newest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} ORDER BY journal.id DESC LIMIT ?", (limit,)
        )
        return [_entry(row) for row in rows]

    def knows(self, slide_id: int) -> bool:
        """Tell whether a slide's labels were ever edited."""
        return bool(
            self._database.rows("SELECT 1 FROM journal WHERE slide_id = ? LIMIT 1", (slide_id,))
        )

    def begin(
        self,
        slide_id: int,
        rect: Rect,
        action: str,
        region_id: int | None,
        round_number: int | None,
        before: Pixels,
        after: Pixels,
    ) -> JournalEntry:
        """Write a ``pending`` edit down; edits that were undone can no longer be redone."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE journal SET state = 'superseded' WHERE state = 'undone'")
            cursor = connection.execute(
                "INSERT INTO journal (time, slide_id, y, x, h, w, action, region_id, round, state, "
                "region_before, before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', "
                "(SELECT state FROM regions WHERE id = ?), ?, ?)",
                (
                    *(time.time(), slide_id, rect.y, rect.x, rect.h, rect.w, action, region_id),
                    *(round_number, region_id, before.packed(), after.packed()),
                ),
            )
            return self._get(connection, int(cursor.lastrowid or 0))

    def turn(self, from_state: str, to_state: str, *, newest: bool) -> JournalEntry | None:
        """Move the newest (or oldest) edit of one state to another; ``None`` if there is none."""
        order = "DESC" if newest else "ASC"
        with self._database.transaction() as connection:
            row = connection.execute(
                f"SELECT id FROM journal WHERE state = ? ORDER BY id {order}",  # noqa: S608
                (from_state,),
            ).fetchone()
            if row is None:
                return None
            connection.execute("UPDATE journal SET state = ? WHERE id = ?", (to_state, row["id"]))
            return self._get(connection, row["id"])

    def finish(self, entry: JournalEntry) -> JournalEntry:
        """Write down that the chunks are as ``entry`` wants them, and follow with its region."""
        final = "undone" if entry.state == "undoing" else "done"
        with self._database.transaction() as connection:
            if entry.state == "undoing":
                connection.execute(
                    "UPDATE journal SET region_after = "
                    "(SELECT state FROM regions WHERE id = region_id) WHERE id = ?",
                    (entry.id,),
                )
            column = {"undoing": "region_before", "redoing": "region_after"}.get(entry.state)
            if column is not None and entry.region_id is not None:
                connection.execute(
                    f"UPDATE regions SET state = coalesce((SELECT {column} FROM journal "  # noqa: S608
                    "WHERE id = ?), state) WHERE id = ?",
                    (entry.id, entry.region_id),
                )
            connection.execute("UPDATE journal SET state = ? WHERE id = ?", (final, entry.id))
            return self._get(connection, entry.id)

    def take_back(self, entry: JournalEntry) -> None:
        """Forget that ``entry`` was begun: its chunks are as they were before."""
        with self._database.transaction() as connection:
            if entry.state == "pending":
                connection.execute("DELETE FROM journal WHERE id = ?", (entry.id,))
            else:
                earlier = "done" if entry.state == "undoing" else "undone"
                connection.execute("UPDATE journal SET state = ? WHERE id = ?", (earlier, entry.id))

    def unfinished(self) -> list[JournalEntry]:
        """Return the edits a kill interrupted, oldest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} {_FROM} WHERE state IN ('pending', 'undoing', 'redoing') "
            "ORDER BY journal.id"
        )
        return [_entry(row) for row in rows]

    def pixels(self, entry: JournalEntry) -> tuple[Pixels, Pixels]:
        """Return the pixels before and after an edit."""
        row = self._database.rows("SELECT before, after FROM journal WHERE id = ?", (entry.id,))[0]
        return Pixels.unpacked(row["before"], entry.rect), Pixels.unpacked(row["after"], entry.rect)

    def _get(self, connection: sqlite3.Connection, entry_id: int) -> JournalEntry:
        row = connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE journal.id = ?",
            (entry_id,),
        ).fetchone()
        return _entry(row)


def _entry(row: sqlite3.Row) -> JournalEntry:
    return JournalEntry(
        id=row["id"],
        time=row["time"],
        slide=row["slide"],
        rect=Rect(row["y"], row["x"], row["h"], row["w"]),
        action=row["action"],
        region_id=row["region_id"],
        round=row["round"],
        state=row["state"],
    )
