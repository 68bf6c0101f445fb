"""The slides of a project: where they are, how large, what for."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from unisemalign.errors import ProjectError
from unisemalign.project.database import Database
from unisemalign.project.names import check_name
from unisemalign.project.records import SlideRecord, Split


class SlideTable:
    """Rows of slides. ``root`` is the project's folder, absolute."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    def all(self, split: Split | None = None) -> list[SlideRecord]:
        """Return every slide in the order they were added, or those of one split."""
        records = [
            self._record(row) for row in self._database.rows("SELECT * FROM slides ORDER BY id")
        ]
        return [each for each in records if split is None or each.split == split]

    def get(self, name: str) -> SlideRecord:
        """Return the slide called ``name``; :class:`ProjectError` when there is none."""
        rows = self._database.rows("SELECT * FROM slides WHERE name = ?", (name,))
        if not rows:
            known = ", ".join(f"'{each.name}'" for each in self.all()) or "none yet"
            raise ProjectError(f"The project has no slide '{name}'. Its slides: {known}.")
        return self._record(rows[0])

    def insert(
        self, name: str, path: Path, shape_yx: tuple[int, int], spacing_um: float, split: Split
    ) -> None:
        """Keep a new slide."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO slides (name, path, relative_path, height, width, spacing_um, split) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, str(path), self._relative(path), *shape_yx, spacing_um, split.value),
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

    def remove(self, record: SlideRecord) -> None:
        """Forget a slide and its regions; its file is left alone."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM regions WHERE slide_id = ?", (record.id,))
            connection.execute("DELETE FROM slides WHERE id = ?", (record.id,))

    def _relative(self, path: Path) -> str | None:
        try:
            return Path(os.path.relpath(path, self._root)).as_posix()
        except ValueError:  # another drive of Windows
            return None

    def _record(self, row: sqlite3.Row) -> SlideRecord:
        path = Path(row["path"])
        if row["relative_path"] is not None:
            # A project that moved together with its slides finds them here.
            beside = Path(os.path.normpath(self._root / row["relative_path"]))
            if beside.exists():
                path = beside
        return SlideRecord(
            id=row["id"],
            name=check_name(row["name"]),
            path=path,
            shape_yx=(row["height"], row["width"]),
            spacing_um=row["spacing_um"],
            split=Split(row["split"]),
        )
