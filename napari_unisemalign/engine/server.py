"""The warm engine of a project: requests and their answers, also across a crash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject

from napari_unisemalign.engine.lines import FINAL, stopped_event
from napari_unisemalign.engine.process import ENGINE, EngineProcess, ended_sentence
from unisemalign import protocol

_WORK: dict[str, Callable[..., protocol.WorkRequest]] = {
    "segment": protocol.SegmentRequest,
    "guess": protocol.GuessRequest,
    "queue": protocol.QueueRequest,
}


@dataclass
class Request:
    """One question to the server, and who gets its answers."""

    number: int
    message: protocol.WorkRequest
    on_event: Callable[[protocol.Event], None]
    sent: bool = field(default=False)


class EngineServer(QObject):
    """Keeps ``unisemalign serve`` warm and hands every answer to who asked.

    The process starts with the first request (or :meth:`warm_up`). A crash fails what was asked,
    with a sentence; the process starts again at once if it had been ready, and otherwise with the
    next request.
    """

    def __init__(self, project: Path, *, engine: Sequence[str] = ENGINE) -> None:
        super().__init__()
        self._arguments = ["serve", str(project)]
        self._engine = tuple(engine)
        self._process: EngineProcess | None = None
        self._ready = False
        self._closing = False
        self._ended_as_asked = False
        self._number = 0
        self._requests: dict[int, Request] = {}

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.running

    @property
    def ready(self) -> bool:
        """Whether the process said that it is ready."""
        return self.running and self._ready

    def warm_up(self) -> None:
        """Start the process, so that the first request need not wait for it."""
        if self.running or self._closing:
            return
        self._ready = False
        process = EngineProcess(self._arguments, engine=self._engine)
        process.event_received.connect(self._on_event)
        process.ended.connect(self._on_ended)
        self._process = process
        process.start()

    def request(self, verb: str, on_event: Callable[[protocol.Event], None], **fields: Any) -> int:
        """Ask for ``verb``; ``on_event`` gets every answer, the last one done/failed/cancelled."""
        self._number += 1
        number = self._number
        message = _WORK[verb](id=number, **fields)
        self._requests[number] = Request(number, message, on_event)
        self.warm_up()
        self._send_waiting()
        return number

    def cancel(self, number: int) -> None:
        """Stop a request. One that was not sent yet is cancelled at once."""
        request = self._requests.get(number)
        if request is None:
            return
        if not request.sent:
            self._answer(number, stopped_event())
        elif self._process is not None:
            self._number += 1
            self._process.send(protocol.CancelRequest(id=self._number, target=number))

    def end(self) -> None:
        """End the process at once; what was asked is answered with ``cancelled``."""
        if self._process is not None and self._process.running:
            self._ended_as_asked = True
            self._process.kill()

    def stop(self) -> None:
        """End the process; nobody is answered."""
        self._closing = True
        self._requests.clear()
        if self._process is not None and self._process.running:
            self._process.send(protocol.QuitRequest())
            self._process.stop()

    def _send_waiting(self) -> None:
        if not self.ready or self._process is None:
            return
        for request in self._requests.values():
            if not request.sent:
                request.sent = True
                self._process.send(request.message)

    def _on_event(self, event: protocol.Event) -> None:
        if isinstance(event, protocol.Ready):
            self._ready = True
            self._send_waiting()
        elif isinstance(event.id, int):
            self._answer(event.id, event)

    def _answer(self, number: int, event: protocol.Event) -> None:
        request = self._requests.get(number)
        if request is None:
            return
        if isinstance(event, FINAL):
            del self._requests[number]
        request.on_event(event)

    def _on_ended(self, code: int) -> None:
        was_ready, self._ready = self._ready, False
        tail = "" if self._process is None else self._process.stderr_tail
        if self._closing:
            return
        failed, self._requests = self._requests, {}
        last: protocol.Event = protocol.Failed(text=ended_sentence("The engine", code, tail))
        if self._ended_as_asked:
            last = stopped_event()
            self._ended_as_asked = False
        for request in failed.values():
            request.on_event(last.model_copy(update={"id": request.number}))
        if was_ready:
            self.warm_up()
