"""The process a viewer talks to: one model kept warm, one request at a time."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from unisemalign.cli.guessing import make_guess
from unisemalign.cli.queueing import rank
from unisemalign.errors import CancelledError, MessageError, UnisemalignError
from unisemalign.exchange import area_by_class
from unisemalign.inference import (
    OpenedSlide,
    Predictor,
    RecentWindows,
    SegmentJob,
    load_predictor,
    open_for_segmenting,
)
from unisemalign.inference.storing import PredictionSlot
from unisemalign.project import Project, Round, TissueStore
from unisemalign.protocol import (
    MAX_LINE_BYTES,
    Cancelled,
    CancelRequest,
    Event,
    Failed,
    GuessRequest,
    QueueRequest,
    QuitRequest,
    Ready,
    Request,
    SegmentDone,
    SegmentRequest,
    WorkRequest,
    read_request,
)
from unisemalign.runtime import CancelToken, Events, JsonLinesEvents


class _Answers:
    """Events that carry the request's id."""

    def __init__(self, out: Events, request_id: int | str) -> None:
        self._out = out
        self._id = request_id

    def emit(self, event: Event) -> None:
        self._out.emit(event.model_copy(update={"id": self._id}))


def iter_lines(stream: BinaryIO, limit: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    """Yield the lines of ``stream``; of one longer than ``limit`` bytes the beginning alone.

    What is yielded of a longer line is ``limit + 1`` bytes; its rest is passed over, piece by
    piece, and never held in memory.
    """
    while line := stream.readline(limit + 1):
        yield line
        while len(line) > limit and not line.endswith(b"\n"):
            line = stream.readline(limit + 1)
            if len(line) <= limit:
                break


class Server:
    """Answers requests on a project until told to quit, or until its input closes."""

    def __init__(self, project: Project, out: Events, overrides: Sequence[str] = ()) -> None:
        self._overrides = overrides
        self._project = project
        self._out = out
        self._requests: queue.Queue[WorkRequest | None] = queue.Queue()
        self._tokens: dict[int | str, CancelToken] = {}
        self._warm: tuple[Path, float, Predictor, Round] | None = None
        self._windows: RecentWindows | None = None
        self._open: tuple[Any, OpenedSlide] | None = None

    def read(self, stream: BinaryIO) -> None:
        """Take requests from ``stream``; a ``cancel`` acts at once, the rest waits its turn.

        Whatever ends the reading ends the server too: it must not wait for requests that nobody
        reads any more.
        """
        try:
            for line in iter_lines(stream):
                request = self._parsed(line)
                if isinstance(request, QuitRequest):
                    break
                if isinstance(request, CancelRequest):
                    if token := self._tokens.get(request.target):
                        token.request()
                elif request is not None:
                    self._tokens[request.id] = CancelToken()
                    self._requests.put(request)
        finally:
            for token in list(self._tokens.values()):
                token.request()
            self._requests.put(None)

    def _parsed(self, line: bytes) -> Request | None:
        """Return the request in ``line``; one that cannot be read is answered at once."""
        try:
            if len(line) > MAX_LINE_BYTES:
                raise MessageError(
                    f"A request needs to be a line of at most {MAX_LINE_BYTES} bytes, found a "
                    f"longer one. Ask for less at a time."
                )
            return read_request(line)
        except MessageError as error:
            self._out.emit(Failed(text=str(error), id=error.id))
            return None

    def run(self, stream: BinaryIO | None = None) -> None:
        """Answer until the input (``None``: stdin) ends."""
        given = sys.stdin.buffer if stream is None else stream
        threading.Thread(target=self.read, args=(given,), name="requests", daemon=True).start()
        self._out.emit(Ready())
        while (request := self._requests.get()) is not None:
            answers = _Answers(self._out, request.id)
            try:
                token = self._tokens.setdefault(request.id, CancelToken())
                self._answer(request, answers, token)
            except CancelledError as error:
                answers.emit(Cancelled(text=str(error)))
            except UnisemalignError as error:
                answers.emit(Failed(text=str(error), steps=error.steps))
            except Exception as error:  # noqa: BLE001  one bad request must not end the others
                traceback.print_exc()
                answers.emit(Failed(text=f"The engine stumbled: {type(error).__name__}: {error}"))
            finally:
                self._tokens.pop(request.id, None)

    def _answer(self, request: WorkRequest, answers: _Answers, token: CancelToken) -> None:
        token.check()
        match request:
            case SegmentRequest():
                self._segment(request, answers, token)
            case QueueRequest():
                self._queue(request, answers)
            case GuessRequest():
                self._guess(request, answers, token)

    def _segment(self, request: SegmentRequest, answers: _Answers, token: CancelToken) -> None:
        predictor, found = self._predictor(request.round)
        # A whole slide would only push the views out.
        predictor.recent = self._recent(predictor) if request.rect else None
        done = SegmentJob(
            self._opened(request.slide, predictor),
            predictor,
            PredictionSlot.of_round(self._project, found.number, request.slide),
            rect=request.rect,
            focus=request.focus,
            sketch=None if request.rect is None else request.downsample,
            events=answers,
            cancel=token,
        ).run()
        area = area_by_class(self._project, request.slide, found.number)
        answers.emit(SegmentDone(**dict(done), area=area))

    def _guess(self, request: GuessRequest, answers: _Answers, token: CancelToken) -> None:
        done = make_guess(
            self._project,
            request.slides,
            request.rect,
            words=request.words,
            clusters=request.clusters,
            names=request.names,
            seed=request.seed,
            events=answers,
            cancel=token,
        )
        answers.emit(done)

    def _queue(self, request: QueueRequest, answers: _Answers) -> None:
        answers.emit(
            rank(self._project, count=request.count, size_px=request.size_px, events=answers)
        )

    def _recent(self, predictor: Predictor) -> RecentWindows | None:
        """Return what outlives a predictor: what the encoder said of the last windows."""
        limit = predictor.settings.inference.recent_mb << 20
        if self._windows is None or self._windows.limit_bytes != limit:
            self._windows = RecentWindows(limit) if limit else None
        return self._windows

    def _opened(self, name: str, predictor: Predictor) -> OpenedSlide:
        """Return the slide, kept open until another is asked for, or its file or tissue changes."""
        path = self._project.slide(name).path
        stamp = path.stat().st_mtime_ns if path.exists() else None
        corrected = TissueStore(self._project.root).stamp(name)
        key = name, path, stamp, corrected, predictor.settings.inference.skip_glass
        if self._open is None or self._open[0] != key:
            if self._open is not None:
                self._open[1].slide.slide.close()
                self._open = None
            self._open = key, open_for_segmenting(self._project, name, predictor)
        return self._open[1]

    def _predictor(self, number: int | None) -> tuple[Predictor, Round]:
        """Return the round's predictor, kept until its weights change."""
        found = self._project.latest_round() if number is None else self._project.round(number)
        if self._warm and found and self._warm[0] == found.folder:
            _, stamp, predictor, known = self._warm
            if found.layout.weights.stat().st_mtime == stamp:
                return predictor, known
        # The stamp is taken before: weights that change meanwhile are read again next time.
        before = found.layout.weights.stat().st_mtime if found else 0.0
        predictor, known = load_predictor(self._project, number, self._overrides)
        self._warm = (known.folder, before, predictor, known)
        return predictor, known


def serve_requests(project: Project, overrides: Sequence[str]) -> None:
    """Serve ``project`` on stdin and stdout; ``overrides`` as for ``segment --set``."""
    Server(project, JsonLinesEvents(), overrides).run()
