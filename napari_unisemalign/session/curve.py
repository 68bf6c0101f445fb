"""Loss and held-out Dice of a round, by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unisemalign.protocol import Event, FallenClass, Step, Validation


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


def grown_curve(curve: Curve, event: Event) -> Curve:
    """Return ``curve`` with the point of a ``step`` or ``validation`` event."""
    if isinstance(event, Step):
        kept = curve.loss
        if kept and kept[-1][0] >= event.step:  # a resumed round
            kept = tuple(point for point in kept if point[0] < event.step)
        return replace(curve, loss=(*kept, (event.step, event.loss)))
    if isinstance(event, Validation) and event.mdice is not None:
        kept = tuple(point for point in curve.dice if point[0] < event.step)
        falls = tuple(point for point in curve.falls if point[0] < event.step)
        fallen = [(event.step, each) for each in event.fallen]
        dice = (*kept, (event.step, event.mdice))
        return replace(curve, dice=dice, falls=(*falls, *fallen))
    return curve
