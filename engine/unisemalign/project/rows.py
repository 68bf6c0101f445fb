"""What rows of ``project.sqlite`` may hold. SQLite keeps any type in any column: outside input."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unisemalign.errors import ProjectError
from unisemalign.project.records import RegionState, RoundState, Split

_Id = Annotated[int, Field(ge=1, lt=2**63)]
_Side = Annotated[int, Field(ge=1, lt=2**31)]
_Corner = Annotated[int, Field(ge=0, lt=2**31)]
_Number = Annotated[int, Field(ge=0, lt=2**31)]
_Name = Annotated[str, Field(max_length=200)]
_Text = Annotated[str, Field(max_length=100_000)]


class Row(BaseModel):
    """A row of a table; columns that are not named here are not looked at."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class SlideRow(Row):
    """A row of ``slides``."""

    id: _Id
    name: str = Field(min_length=1, max_length=1000)
    path: str = Field(min_length=1, max_length=10_000, pattern=r"^[^\x00]+$")
    relative_path: str | None = Field(max_length=10_000, pattern=r"^[^\x00]*$")
    height: _Side
    width: _Side
    spacing_um: float = Field(gt=0, le=1e4)
    split: Annotated[Split, Field(strict=False)]


class RegionRow(Row):
    """A row of ``regions``, with its slide's name."""

    id: _Id
    slide: str
    y: _Corner
    x: _Corner
    h: _Side
    w: _Side
    state: Annotated[RegionState, Field(strict=False)]
    split: Annotated[Split, Field(strict=False)]
    score: float | None
    reason: _Text
    round: _Number | None


class ReadingRow(Row):
    """A row of ``second_readings``."""

    id: _Id
    region_id: _Id
    sent_by: _Name
    reader: _Name
    answered_at: float | None
    agreement: float | None = Field(ge=0, le=1)


class RoundRow(Row):
    """A row of ``rounds``."""

    number: _Number
    state: RoundState
    parent: _Number | None
    method: _Text
    preset: _Text
    scores: Annotated[str, Field(max_length=10_000_000)]
    created: float


_Row = TypeVar("_Row", bound=Row)
_Record = TypeVar("_Record")


def read_row(model: type[_Row], row: sqlite3.Row) -> _Row:
    """Return a row as ``model``.

    Raises
    ------
    ProjectError
        If a value is of another type or out of bounds.
    """
    try:
        return model.model_validate(dict(row))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        table = model.__name__.removesuffix("Row").lower()
        raise ProjectError(
            f"project.sqlite is damaged: the {table}'s '{first['loc'][0]}' is not what is kept "
            f"there ({first['msg']}; found {str(first['input'])[:60]!r}). Take project.sqlite from "
            f"a backup."
        ) from None


class SoundRows(Generic[_Record]):
    """Rows read one by one: a damaged one is left out and told, and the others are there.

    Attributes
    ----------
    records
        What the sound rows say.
    damage
        A sentence for each row that is left out.
    """

    def __init__(self, rows: Iterable[sqlite3.Row], read: Callable[[sqlite3.Row], _Record]) -> None:
        self.records: list[_Record] = []
        self.damage: list[str] = []
        for row in rows:
            try:
                self.records.append(read(row))
            except ProjectError as error:
                self.damage.append(str(error))
