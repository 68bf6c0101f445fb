"""Events: how work tells a terminal, a log and a viewer what it is doing.

An event is one flat JSON object. ``event`` names its kind; ``id`` is the request it answers, where
there is one; ``time`` (seconds since 1970) stands in a log alone. Work that ends has one last
event: ``done``, ``failed`` or ``cancelled``. The fields of ``done`` depend on the verb
(:mod:`unisemalign.protocol.results`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat

from unisemalign.protocol.model import VERSION, Area, Count, ProtocolModel, RoundNumber
from unisemalign.protocol.requests import RequestId
from unisemalign.protocol.scores import FallenClass, StepScores


class Event(ProtocolModel):
    """Base of every event."""

    event: str
    id: RequestId | None = None
    time: float | None = None

    def fields(self) -> dict[str, Any]:
        """Return the event as JSON values; ``id`` and ``time`` only where they are set."""
        return self.model_dump(mode="json", exclude=self._unset())

    def line(self) -> str:
        """Return the event as one line of JSON, without the line's end."""
        return self.model_dump_json(exclude=self._unset())

    def _unset(self) -> set[str]:
        return {name for name in ("id", "time") if getattr(self, name) is None}


class Ready(Event):
    """The server takes requests. ``version`` is the protocol's."""

    event: Literal["ready"] = "ready"
    version: int = VERSION


class Start(Event):
    """Work begins.

    Attributes
    ----------
    what
        A sentence.
    total
        Units of work, where they are known.
    round, step
        A training's round, and the step it starts from.
    """

    event: Literal["start"] = "start"
    what: str
    total: float | None = None
    round: RoundNumber | None = None
    step: Count | None = None


class Progress(Event):
    """``done`` of ``total`` units are finished; ``eta_s`` seconds are left, where that is known."""

    event: Literal["progress"] = "progress"
    done: float = Field(ge=0)
    total: float = Field(ge=0)
    eta_s: float | None = None
    what: str | None = None


class Step(Event):
    """One training step.

    The parts of the loss and other figures of the method are fields of their own, one number each:
    which there are depends on the method (:attr:`parts`).

    Attributes
    ----------
    step
        Steps finished.
    total
        Steps in all.
    wait_share
        Part of the time, so far, that was spent waiting for crops.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, FiniteFloat]

    event: Literal["step"] = "step"
    step: Count
    total: Count
    loss: float
    eta_s: float | None
    wait_share: float

    @property
    def parts(self) -> dict[str, float]:
        """Figures of the method: parts of the loss, the threshold ``tau``, …."""
        return dict(self.__pydantic_extra__)


class Validation(Event, StepScores):
    """Scores of the network on the val regions after ``step`` steps.

    ``fallen`` names the classes whose Dice lies below their best of the round by more than their
    noise.
    """

    event: Literal["validation"] = "validation"
    fallen: tuple[FallenClass, ...] = ()


class Message(Event):
    """A sentence for the person; ``slide`` is the slide it is about, where it is about one."""

    event: Literal["message"] = "message"
    text: str
    slide: str | None = None


class Written(Event):
    """``rect`` of a prediction was stored.

    ``final`` tells whether these labels stay: a sketch is replaced by better ones.
    """

    event: Literal["written"] = "written"
    slide: str
    round: RoundNumber
    rect: Area
    final: bool


class Failed(Event):
    """The work ended with an error. ``steps`` say what to do where ``text`` is not enough."""

    event: Literal["failed"] = "failed"
    text: str
    steps: tuple[str, ...] = ()


class Cancelled(Event):
    """The work stopped as asked; what was finished is kept."""

    event: Literal["cancelled"] = "cancelled"
    text: str


KINDS: tuple[type[Event], ...] = (
    Ready,
    Start,
    Progress,
    Step,
    Validation,
    Message,
    Written,
    Failed,
    Cancelled,
)
"""Every kind but ``done``."""

AnyOther = Ready | Start | Progress | Step | Validation | Message | Written | Failed | Cancelled
