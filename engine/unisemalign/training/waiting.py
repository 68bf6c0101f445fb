"""How long steps wait for their crops."""

from __future__ import annotations

_BOUND = 0.1
_ENOUGH_STEPS = 20


class DataWait:
    """Adds up, over the steps of a round, the wait for crops and the work on them."""

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._steps = 0
        self._later_s = 0.0
        self._worked_s = 0.0
        self._told = False

    def add(self, waited_s: float, worked_s: float) -> None:
        """Add one step. The first wait is ignored: nothing was prefetched."""
        self.waited_s += waited_s
        if self._steps:
            self._later_s += waited_s
            self._worked_s += worked_s
        self._steps += 1

    @property
    def share(self) -> float:
        """Return which share of a step is waiting."""
        whole = self._later_s + self._worked_s
        return self._later_s / whole if whole > 0 else 0.0

    def warning(self) -> str | None:
        """Return a sentence, once, when steps wait for a tenth of their time or more."""
        if self._told or self._steps < _ENOUGH_STEPS or self.share <= _BOUND:
            return None
        self._told = True
        return (
            f"Training waits for its crops {100 * self.share:.0f} % of the time: reading slides "
            f"and drawing views is slower than learning. Free the processor of other work, or put "
            f"the slides on a faster disk."
        )
