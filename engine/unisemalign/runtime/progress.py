"""How long the rest will take."""

from __future__ import annotations

import time


class Pace:
    """Counts finished units and estimates the seconds left from the pace so far."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.done = done
        self._already = done
        self._start = time.monotonic()

    def advance(self, units: int = 1) -> None:
        """Count ``units`` more as finished."""
        self.done += units

    @property
    def eta_s(self) -> float | None:
        """Seconds left, or ``None`` before the first unit."""
        fresh = self.done - self._already
        if fresh <= 0:
            return None
        return round((time.monotonic() - self._start) / fresh * (self.total - self.done), 1)
