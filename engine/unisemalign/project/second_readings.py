"""Second readings: accepted regions that somebody else looks at, and how far both agree."""

from __future__ import annotations

import sqlite3
import time

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import DataError, ProjectError
from unisemalign.project.database import Database
from unisemalign.project.edits import LabelEdit
from unisemalign.project.names import check_person
from unisemalign.project.records import Origin, Region, SecondReading
from unisemalign.project.rows import ReadingRow, SoundRows, read_row

_TABLE = """
CREATE TABLE IF NOT EXISTS second_readings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    region_id INTEGER NOT NULL REFERENCES regions (id) ON DELETE CASCADE,
    sent_by TEXT NOT NULL,
    reader TEXT NOT NULL,
    sent_at REAL NOT NULL,
    answered_at REAL,
    agreement REAL
)
"""
"""Made when it is first needed: projects of earlier releases have none."""
_HOLDS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'second_readings'"


class ReadingTable:
    """Rows of second readings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[SecondReading]:
        """Return every reading, in the order they were sent. A damaged row is left out."""
        if not self._database.rows(_HOLDS):
            return []
        rows = self._database.rows("SELECT * FROM second_readings ORDER BY id")
        return SoundRows(rows, _reading).records

    def get(self, reading_id: int) -> SecondReading:
        """Return one reading; :class:`ProjectError` when there is none."""
        found = next((each for each in self.all() if each.id == reading_id), None)
        if found is None:
            raise ProjectError(
                f"The project has no second reading {reading_id}. Its list says which there are."
            )
        return found

    def send(self, region_id: int, reader: str, sent_by: str) -> SecondReading:
        """Keep that a region waits for ``reader``; one that waits for them already stays."""
        for each in self.all():
            if each.region_id == region_id and each.reader == reader and not each.answered:
                return each
        with self._database.transaction() as connection:
            connection.execute(_TABLE)
            row = connection.execute(
                "INSERT INTO second_readings (region_id, sent_by, reader, sent_at) "
                "VALUES (?, ?, ?, ?)",
                (region_id, sent_by, reader, time.time()),
            )
        return self.get(int(row.lastrowid or 0))

    def note_agreement(self, reading_id: int, agreement: float) -> None:
        """Keep how far both agree, before the labels are corrected: a kill must not lose it."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE second_readings SET agreement = ? WHERE id = ?", (agreement, reading_id)
            )

    def answer(self, reading_id: int) -> SecondReading:
        """Keep that the reader has answered."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE second_readings SET answered_at = ? WHERE id = ?", (time.time(), reading_id)
            )
        return self.get(reading_id)


def check_reader(reader: str, sender: str) -> str:
    """Return a second reader's name; :class:`DataError` for what is none, or the sender's own."""
    name = check_person(reader)
    if name == sender:
        raise DataError(
            f"A second reader needs to be somebody else than '{sender}', who sends the region. "
            f"Give another name."
        )
    return name


def compare(
    region: Region, before: NDArray[np.uint8], origin: NDArray[np.uint8], values: NDArray[np.uint8]
) -> tuple[float, LabelEdit | None]:
    """Return how far a second reader's labels agree with the first's, and what to change.

    Parameters
    ----------
    region
        What was read again.
    before, origin
        The first reader's labels and their origins, ``(h, w)`` uint8.
    values
        The second reader's labels.

    Returns
    -------
    agreement
        Share of the pixels that either labelled and that have one class for both; 1 without any.
    edit
        Makes the labels the second reader's; ``None`` where both agree.

    Raises
    ------
    DataError
        For labels of another shape.
    """
    if values.shape != before.shape:
        raise DataError(
            f"A second reading needs the region's {before.shape[0]} × {before.shape[1]} labels, "
            f"found {' × '.join(map(str, values.shape))}."
        )
    counted, same = (before > 0) | (values > 0), before == values
    if same.all():
        return 1.0, None
    changed = np.where(same, origin, np.uint8(Origin.CORRECTED))
    changed[values == 0] = Origin.NONE
    return float(same[counted].mean()), LabelEdit(region.rect, values, changed, regions=(region,))


def _reading(row: sqlite3.Row) -> SecondReading:
    kept = read_row(ReadingRow, row)
    return SecondReading(
        id=kept.id,
        region_id=kept.region_id,
        sent_by=kept.sent_by,
        reader=kept.reader,
        agreement=kept.agreement,
        answered=kept.answered_at is not None,
    )
