"""The slides of a project: where they are, how large, what for."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unisemalign.errors import ProjectError
from unisemalign.project.database import Database
from unisemalign.project.names import check_name
from unisemalign.project.records import SlideRecord
from unisemalign.project.rows import SlideRow, SoundRows, read_row
from unisemalign.slides import Opening
from unisemalign.terms import Split

# Beside the slides' own table, which older releases know: how each file was opened.
_OPENINGS = """
CREATE TABLE IF NOT EXISTS slide_openings (
    slide_id INTEGER PRIMARY KEY,
    series INTEGER,
    profile INTEGER NOT NULL,
    remarks TEXT NOT NULL
)
"""
_CAPTIONS = """
CREATE TABLE IF NOT EXISTS slide_captions (slide_id INTEGER PRIMARY KEY, caption TEXT NOT NULL)
"""
MAX_CAPTION = 2000
"""Characters of a caption."""
_BEFORE = Opening(series=None, profile=False)
"""How slides were opened that were added before this was noted."""


class SlideTable:
    """Rows of slides. ``root`` is the project's folder, absolute."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    def all(self, split: Split | None = None) -> list[SlideRecord]:
        """Return every slide in the order they were added, or those of one split.

        A damaged row is left out (:meth:`damage`).
        """
        records = self._read().records
        return [each for each in records if split is None or each.split == split]

    def damage(self) -> list[str]:
        """Return a sentence for each row that is damaged."""
        return self._read().damage

    def _read(self) -> SoundRows[SlideRecord]:
        return SoundRows(self._database.rows("SELECT * FROM slides ORDER BY id"), self._record)

    def get(self, name: str) -> SlideRecord:
        """Return the slide called ``name``; :class:`ProjectError` when there is none."""
        rows = self._database.rows("SELECT * FROM slides WHERE name = ?", (name,))
        if not rows:
            known = ", ".join(f"'{each.name}'" for each in self.all()) or "none yet"
            raise ProjectError(f"The project has no slide '{name}'. Its slides: {known}.")
        return self._record(rows[0])

    def insert(
        self,
        name: str,
        path: Path,
        shape_yx: tuple[int, int],
        spacing_um: float,
        split: Split,
        *,
        opening: Opening = _BEFORE,
        remarks: Sequence[str] = (),
    ) -> None:
        """Keep a new slide, how it was opened, and what is to be told of it."""
        with self._database.transaction() as connection:
            connection.execute(_OPENINGS)
            row = connection.execute(
                "INSERT INTO slides (name, path, relative_path, height, width, spacing_um, split) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, str(path), self._relative(path), *shape_yx, spacing_um, split.value),
            )
            connection.execute(
                "INSERT OR REPLACE INTO slide_openings (slide_id, series, profile, remarks) "
                "VALUES (?, ?, ?, ?)",
                (row.lastrowid, opening.series, opening.profile, json.dumps(list(remarks))),
            )

    def set_path(self, name: str, path: Path) -> None:
        """Keep the slide's new place."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE slides SET path = ?, relative_path = ? WHERE name = ?",
                (str(path), self._relative(path), name),
            )

    def set_split(self, record: SlideRecord, split: Split) -> None:
        """Change the split of a slide and of the regions that had it from the slide."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE slides SET split = ? WHERE id = ?", (split.value, record.id))
            connection.execute(
                "UPDATE regions SET split = ? WHERE slide_id = ? AND split = ?",
                (split.value, record.id, record.split.value),
            )

    def set_captions(self, captions: Mapping[int, str]) -> None:
        """Keep a sentence for each slide, by its id, all or none; an empty one is forgotten."""
        with self._database.transaction() as connection:
            connection.execute(_CAPTIONS)
            for slide_id, caption in captions.items():
                connection.execute("DELETE FROM slide_captions WHERE slide_id = ?", (slide_id,))
                if caption:
                    connection.execute(
                        "INSERT INTO slide_captions VALUES (?, ?)", (slide_id, caption)
                    )

    def remove(self, record: SlideRecord) -> None:
        """Forget a slide and its regions; its file is left alone."""
        with self._database.transaction() as connection:
            connection.execute(_CAPTIONS)
            connection.execute("DELETE FROM slide_captions WHERE slide_id = ?", (record.id,))
            connection.execute("DELETE FROM regions WHERE slide_id = ?", (record.id,))
            connection.execute("DELETE FROM slides WHERE id = ?", (record.id,))
            connection.execute(_OPENINGS)
            connection.execute("DELETE FROM slide_openings WHERE slide_id = ?", (record.id,))

    def _relative(self, path: Path) -> str | None:
        try:
            return Path(os.path.relpath(path, self._root)).as_posix()
        except ValueError:  # another drive of Windows
            return None

    def _record(self, row: sqlite3.Row) -> SlideRecord:
        kept = read_row(SlideRow, row)
        path = Path(kept.path)
        if kept.relative_path is not None:
            # A project that moved together with its slides finds them here.
            beside = Path(os.path.normpath(self._root / kept.relative_path))
            if beside.exists():
                path = beside
        opening, remarks = self._opening(row["id"])
        return SlideRecord(
            id=kept.id,
            name=check_name(kept.name),
            path=path,
            shape_yx=(kept.height, kept.width),
            spacing_um=kept.spacing_um,
            split=kept.split,
            opening=opening,
            remarks=remarks,
            caption=self._caption(row["id"]),
        )

    def _opening(self, slide_id: int) -> tuple[Opening, tuple[str, ...]]:
        if not self._holds("slide_openings"):
            return _BEFORE, ()
        found = self._database.rows(
            "SELECT series, profile, remarks FROM slide_openings WHERE slide_id = ?", (slide_id,)
        )
        if not found:
            return _BEFORE, ()
        series = found[0]["series"]
        series = series if isinstance(series, int) and series >= 0 else None
        return Opening(series, bool(found[0]["profile"])), _sentences(found[0]["remarks"])

    def _caption(self, slide_id: int) -> str:
        """Return a slide's sentence; "" where there is none, or something else stands there."""
        if not self._holds("slide_captions"):
            return ""
        found = self._database.rows(
            "SELECT caption FROM slide_captions WHERE slide_id = ?", (slide_id,)
        )
        caption = found[0]["caption"] if found else ""
        return caption[:MAX_CAPTION] if isinstance(caption, str) else ""

    def _holds(self, table: str) -> bool:
        return bool(
            self._database.rows(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
            )
        )


def _sentences(stored: Any) -> tuple[str, ...]:
    """Return the remarks in a row; none where it holds something else."""
    try:
        remarks = json.loads(stored)
    except (ValueError, TypeError, RecursionError):
        return ()
    known = isinstance(remarks, list) and all(isinstance(each, str) for each in remarks)
    return tuple(remarks) if known else ()
