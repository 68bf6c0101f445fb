"""Loss and held-out Dice of a round, by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Curve:
    """Loss and held-out Dice of the round on show, by step."""

    round: int | None = None
    loss: tuple[tuple[int, float], ...] = ()
    dice: tuple[tuple[int, float], ...] = ()


def grown_curve(curve: Curve, event: Mapping[str, Any]) -> Curve:
    """Return ``curve`` with the point of a ``step`` or ``validation`` event."""
    step, loss, dice = event.get("step"), event.get("loss"), event.get("mdice")
    if not isinstance(step, int):
        return curve
    if event["event"] == "step" and isinstance(loss, int | float):
        kept = (
            curve.loss
            if not curve.loss or curve.loss[-1][0] < step
            else tuple(point for point in curve.loss if point[0] < step)
        )
        return Curve(curve.round, (*kept, (step, float(loss))), curve.dice)
    if event["event"] == "validation" and isinstance(dice, int | float):
        kept = tuple(point for point in curve.dice if point[0] < step)
        return Curve(curve.round, curve.loss, (*kept, (step, float(dice))))
    return curve
