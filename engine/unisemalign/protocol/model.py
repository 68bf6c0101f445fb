"""What every message and every stored note shares: frozen, strict about names, plain JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from unisemalign.geometry import Rect
from unisemalign.terms import MAX_ROUND

VERSION = 1
"""Version of the messages and of ``scores.json``. It grows when a field changes its meaning."""

_PIXEL_LIMIT = 2**31
MAX_SAFE = 2**53
"""Whole numbers up to here mean the same to every reader of JSON."""


class ProtocolModel(BaseModel):
    """Base of messages and notes: an unknown field is an error, numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _read_rect(value: Any) -> Rect:
    if isinstance(value, Rect):
        return value
    whole = isinstance(value, list | tuple) and all(type(each) is int for each in value)
    if not whole or len(value) != 4:
        raise ValueError("a rectangle needs four whole numbers y, x, height, width")
    if max(map(abs, value)) >= _PIXEL_LIMIT or min(value[2:]) < 0:
        raise ValueError("a rectangle needs numbers below 2³¹ and a height and width of 0 or more")
    return Rect(*value)


def _write_rect(rect: Rect) -> list[int]:
    return [rect.y, rect.x, rect.h, rect.w]


Area = Annotated[
    Rect,
    PlainValidator(_read_rect),
    PlainSerializer(_write_rect, return_type=list[int]),
    Field(description="four whole numbers y, x, height, width"),
]
"""A :class:`Rect` in working pixels; in JSON ``[y, x, height, width]``."""

Pixel = Annotated[int, Field(strict=True, gt=-_PIXEL_LIMIT, lt=_PIXEL_LIMIT)]
"""One coordinate, in working pixels."""

RoundNumber = Annotated[int, Field(strict=True, ge=0, le=MAX_ROUND)]
"""Number of a round; 0 is the first guess."""

Count = Annotated[int, Field(strict=True, ge=0, le=MAX_SAFE)]
"""How many there are."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, 0…1."""
