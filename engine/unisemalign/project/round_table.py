"""The rounds of a project: each a row and a folder ``rounds/N``."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Set
from pathlib import Path
from typing import get_args

from unisemalign.errors import ProjectError
from unisemalign.project.database import Database
from unisemalign.project.records import Round, RoundState
from unisemalign.project.rows import RoundRow, SoundRows, read_row
from unisemalign.protocol import RoundScores, read_note
from unisemalign.runtime.files import explaining_full_disk, flush_folder, make_folder

_SET_ASIDE = "round set aside: "
"""Begins the fact of a round that is not used."""


class RoundTable:
    """Rows and folders of rounds. ``folder`` is the project's ``rounds``."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def all(self) -> list[Round]:
        """Return every round, oldest first. A damaged row is left out (:meth:`damage`)."""
        return self._read().records

    def damage(self) -> list[str]:
        """Return a sentence for each row that is damaged."""
        return self._read().damage

    def _read(self) -> SoundRows[Round]:
        aside = self._set_aside()
        rows = self._database.rows("SELECT * FROM rounds ORDER BY number")
        return SoundRows(rows, lambda row: self._round(row, aside))

    def _set_aside(self) -> set[str]:
        rows = self._database.rows("SELECT key FROM facts WHERE key LIKE ?", (f"{_SET_ASIDE}%",))
        return {row["key"].removeprefix(_SET_ASIDE) for row in rows}

    def get(self, number: int) -> Round:
        """Return one round; :class:`ProjectError` when there is none."""
        rows = self._database.rows("SELECT * FROM rounds WHERE number = ?", (number,))
        if not rows:
            known = ", ".join(str(each.number) for each in self.all()) or "none yet"
            raise ProjectError(f"The project has no round {number}. Its rounds: {known}.")
        return self._round(rows[0], self._set_aside())

    def latest(self, besides: int | None = None) -> Round | None:
        """Return the newest round but ``besides`` that has a model and is used, or ``None``."""
        others = [each for each in self.all() if each.number != besides and not each.set_aside]
        with_model = [each for each in others if each.layout.weights.is_file()]
        return with_model[-1] if with_model else None

    def create(self, method: str, preset: str, parent: int | None) -> Round:
        """Make the next round, ``running``, and its empty folder."""
        if parent is not None:
            self.get(parent)
        with self._database.transaction() as connection, explaining_full_disk(self._folder / "1"):
            row = connection.execute("SELECT max(number) FROM rounds").fetchone()
            number = 1 + max([row[0] or 0, *self._folders()])
            folder = self._folder / str(number)
            make_folder(self._folder)
            folder.mkdir()
            flush_folder(self._folder)
            try:
                connection.execute(
                    "INSERT INTO rounds (number, state, parent, method, preset, scores, created) "
                    "VALUES (?, 'running', ?, ?, ?, '{}', ?)",
                    (number, parent, method, preset, time.time()),
                )
            except BaseException:
                folder.rmdir()
                raise
        return self.get(number)

    def create_first(self, preset: str) -> Round:
        """Make round 0, the first guess, which nobody trained; or tell how it is made now."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO rounds "
                "(number, state, parent, method, preset, scores, created) "
                "VALUES (0, 'done', NULL, 'first guess', ?, '{}', ?)",
                (preset, time.time()),
            )
        return self.get(0)

    def update(self, number: int, state: RoundState | None, scores: RoundScores | None) -> Round:
        """Change a round's state or scores and return it as it is then."""
        if state is not None and state not in get_args(RoundState):
            raise ProjectError(
                f"A round's state needs one of {', '.join(get_args(RoundState))}, found '{state}'."
            )
        current = self.get(number)
        kept = current.scores if scores is None else scores
        text = "{}" if kept is None else kept.model_dump_json()
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE rounds SET state = ?, scores = ? WHERE number = ?",
                (state or current.state, text, number),
            )
        return self.get(number)

    def set_aside(self, numbers: Collection[int]) -> None:
        """Write down which rounds are not used: these, and no other."""
        facts = [(f"{_SET_ASIDE}{self.get(number).number}",) for number in numbers]
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM facts WHERE key LIKE ?", (f"{_SET_ASIDE}%",))
            connection.executemany("INSERT INTO facts (key, value) VALUES (?, 1)", facts)

    def _folders(self) -> list[int]:
        # A folder without a row was left by a kill between the two: its number is not used again.
        if not self._folder.is_dir():
            return []
        return [int(path.name) for path in self._folder.iterdir() if path.name.isdecimal()]

    def _round(self, row: sqlite3.Row, set_aside: Set[str]) -> Round:
        kept = read_row(RoundRow, row)
        return Round(
            number=kept.number,
            state=kept.state,
            folder=self._folder / str(kept.number),
            parent=kept.parent,
            method=kept.method,
            preset=kept.preset,
            scores=_read_scores(kept.number, kept.scores),
            created=kept.created,
            set_aside=str(kept.number) in set_aside,
        )


def _read_scores(number: int, text: str) -> RoundScores | None:
    """Return a round's scores; ``None`` while it has none.

    Raises
    ------
    ProjectError
        If the table holds something else.
    """
    if text == "{}":
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    place = f"project.sqlite: scores of round {number}"
    return read_note(RoundScores, values, place, "Take project.sqlite from a backup.")
