"""The regions of a project: rectangles with a state and a split."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project.database import Database
from unisemalign.project.records import Region, RegionState
from unisemalign.project.rows import RegionRow, SoundRows, read_row
from unisemalign.terms import Split

_SELECT = "SELECT regions.*, slides.name AS slide FROM regions JOIN slides ON slides.id = slide_id "


class RegionTable:
    """Rows of regions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(
        self,
        slide: str | None = None,
        state: RegionState | None = None,
        split: Split | None = None,
    ) -> list[Region]:
        """Return the regions that fit every filter given, oldest first.

        A damaged row is left out (:meth:`damage`).
        """
        filters = [("slides.name = ?", slide), ("regions.state = ?", state)]
        filters.append(("regions.split = ?", split))
        given = [(sql, str(value)) for sql, value in filters if value is not None]
        where = "WHERE " + " AND ".join(sql for sql, _ in given) if given else ""
        values = tuple(value for _, value in given)
        rows = self._database.rows(f"{_SELECT}{where} ORDER BY regions.id", values)
        return SoundRows(rows, _region).records

    def damage(self) -> list[str]:
        """Return a sentence for each row that is damaged."""
        return SoundRows(self._database.rows(_SELECT), _region).damage

    def get(self, region_id: int) -> Region:
        """Return one region; :class:`ProjectError` when there is none."""
        rows = self._database.rows(f"{_SELECT}WHERE regions.id = ?", (region_id,))
        if not rows:
            raise ProjectError(
                f"The project has no region {region_id}. The queue may have been ranked anew: "
                f"look at it again."
            )
        return _region(rows[0])

    def insert(self, slide_id: int, region: Region) -> Region:
        """Keep a new region and return it with its id."""
        with self._database.transaction() as connection:
            return self.get(_insert(connection, slide_id, region))

    def update(self, region_id: int, changes: dict[str, str]) -> Region:
        """Change ``state`` or ``split`` and return the region as it is then."""
        region = self.get(region_id)
        state = changes.get("state", region.state.value)
        split = changes.get("split", region.split.value)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE regions SET state = ?, split = ? WHERE id = ?", (state, split, region_id)
            )
        return self.get(region_id)

    def replace_predicted(self, regions: Iterable[tuple[int, Region]]) -> list[Region]:
        """Drop every ``predicted`` region and keep these (slide id, region) instead."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM regions WHERE state = ?", (RegionState.PREDICTED.value,)
            )
            ids = [_insert(connection, slide_id, region) for slide_id, region in regions]
        return [self.get(region_id) for region_id in ids]


def find_or_insert(connection: sqlite3.Connection, regions: Sequence[Region]) -> list[int]:
    """Return the ids of regions of one slide; new ones are ``unlabelled``.

    A region is found by its id or, where that is 0, by its rectangle.
    """
    ids = [each.id for each in regions]
    if not all(ids):
        slide = connection.execute("SELECT id FROM slides WHERE name = ?", (regions[0].slide,))
        slide_id = slide.fetchone()["id"]
        rows = connection.execute(
            "SELECT y, x, h, w, id FROM regions WHERE slide_id = ? ORDER BY id DESC", (slide_id,)
        )
        known = {tuple(row)[:4]: int(row["id"]) for row in rows}  # of two alike, the first
        for place, region in enumerate(regions):
            rect = (region.rect.y, region.rect.x, region.rect.h, region.rect.w)
            if not region.id and rect not in known:
                fresh = replace(region, state=RegionState.UNLABELLED)
                known[rect] = _insert(connection, slide_id, fresh)
            ids[place] = region.id or known[rect]
    return ids


def _insert(connection: sqlite3.Connection, slide_id: int, region: Region) -> int:
    rect = region.rect
    values: tuple[Any, ...] = (slide_id, rect.y, rect.x, rect.h, rect.w)
    values += (region.state.value, region.split.value, region.score, region.reason, region.round)
    cursor = connection.execute(
        "INSERT INTO regions (slide_id, y, x, h, w, state, split, score, reason, round) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    return int(cursor.lastrowid or 0)


def _region(row: sqlite3.Row) -> Region:
    kept = read_row(RegionRow, row)
    return Region(
        id=kept.id,
        slide=kept.slide,
        rect=Rect(kept.y, kept.x, kept.h, kept.w),
        state=kept.state,
        split=kept.split,
        score=kept.score,
        reason=kept.reason,
        round=kept.round,
    )
