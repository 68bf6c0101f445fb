"""How far work in the engine's processes is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unisemalign.geometry import Rect
from unisemalign.protocol import Progress


@dataclass(frozen=True)
class SegmentProgress:
    """A segmentation that runs.

    ``follows_viewport``: it is for what the window shows, and gives way to anything else.
    ``stop_ignored``: it was asked to stop, and still runs after ten seconds.
    """

    slide: str
    rect: Rect | None
    done: float = 0.0
    total: float = 0.0
    eta_s: float | None = None
    what: str = "Starting the engine"
    follows_viewport: bool = False
    stop_ignored: bool = False

    def advanced(self, event: Progress) -> SegmentProgress:
        """Return this with what a ``progress`` event says."""
        return replace(
            self,
            done=event.done or self.done,
            total=event.total or self.total,
            eta_s=event.eta_s,
        )


@dataclass(frozen=True)
class TrainingProgress:
    """A training that runs, here or started by another process.

    ``stop_ignored``: it was asked to stop, and still runs after ten seconds.
    """

    round: int | None = None
    step: int = 0
    total: int = 0
    loss: float | None = None
    eta_s: float | None = None
    stopping: bool = False
    stop_ignored: bool = False
    in_other_process: bool = False
    what: str = "Starting the engine"
