"""Loss and held-out Dice of a round, by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from unisemalign.protocol import FallenClass


@dataclass(frozen=True)
class Curve:
    """Loss and held-out Dice of the round on show, by step.

    ``falls``: classes whose Dice lay below their best by more than their noise, by step.
    """

    round: int | None = None
    loss: tuple[tuple[int, float], ...] = ()
    dice: tuple[tuple[int, float], ...] = ()
    falls: tuple[tuple[int, FallenClass], ...] = ()

    @property
    def warning(self) -> str:
        """Which classes lie below their best at the newest validation; empty if none does."""
        newest = self.dice[-1][0] if self.dice else None
        return " ".join(fall.sentence() for step, fall in self.falls if step == newest)


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
        return replace(curve, loss=(*kept, (step, float(loss))))
    if event["event"] == "validation" and isinstance(dice, int | float):
        kept = tuple(point for point in curve.dice if point[0] < step)
        falls = tuple(point for point in curve.falls if point[0] < step)
        fallen = [(step, FallenClass.model_validate(each)) for each in event.get("fallen") or ()]
        return replace(curve, dice=(*kept, (step, float(dice))), falls=(*falls, *fallen))
    return curve
