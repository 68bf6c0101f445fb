"""The process a viewer talks to: one model kept warm, one request at a time."""

from __future__ import annotations

import json
import queue
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisemalign.active import rank_regions
from unisemalign.errors import CancelledError, DataError, UnisemalignError
from unisemalign.exchange import area_by_class
from unisemalign.geometry import Rect
from unisemalign.inference import (
    Predictor,
    RecentWindows,
    load_predictor,
    open_for_segmenting,
    segment_slide,
)
from unisemalign.inference.segmenting import OpenSlide, best_weights
from unisemalign.project import Project, Round, TissueStore
from unisemalign.runtime import CancelToken, JsonLinesEvents


class _Answers:
    """Events that carry the request's id."""

    def __init__(self, out: JsonLinesEvents, request: Any) -> None:
        self._out = out
        self._id = request

    def emit(self, event: str, **fields: Any) -> None:
        self._out.emit(event, id=self._id, **fields)


class Server:
    """Answers requests on a project until told to quit, or until its input closes."""

    def __init__(
        self, project: Project, out: JsonLinesEvents, overrides: Sequence[str] = ()
    ) -> None:
        self._overrides = overrides
        self._project = project
        self._out = out
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._tokens: dict[Any, CancelToken] = {}
        self._warm: tuple[Path, float, Predictor, Round] | None = None
        self._windows: RecentWindows | None = None
        self._open: tuple[Any, OpenSlide] | None = None

    def read(self) -> None:
        """Take requests from stdin; a ``cancel`` acts at once, the rest waits its turn."""
        for line in sys.stdin:
            request = self._parsed(line)
            match request.get("verb"):
                case None:
                    text = f"A request wants to be a JSON object with a verb, found: {line[:80]}"
                    self._out.emit("failed", text=text)
                case "quit":
                    break
                case "cancel":
                    if token := self._tokens.get(str(request.get("target"))):
                        token.request()
                case _:
                    self._tokens[str(request.get("id"))] = CancelToken()
                    self._requests.put(request)
        for token in list(self._tokens.values()):
            token.request()
        self._requests.put(None)

    @staticmethod
    def _parsed(line: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except json.JSONDecodeError:
            return {}
        return request if isinstance(request, dict) else {}

    def run(self) -> None:
        """Answer until the input ends."""
        threading.Thread(target=self.read, name="requests", daemon=True).start()
        self._out.emit("ready")
        while (request := self._requests.get()) is not None:
            number = request.get("id")
            answers = _Answers(self._out, number)
            try:
                token = self._tokens.setdefault(str(number), CancelToken())
                self._answer(request, answers, token)
            except CancelledError as error:
                answers.emit("cancelled", text=str(error))
            except UnisemalignError as error:
                answers.emit("failed", text=str(error))
            except Exception as error:  # noqa: BLE001  one bad request must not end the others
                traceback.print_exc()
                answers.emit("failed", text=f"The engine stumbled: {type(error).__name__}: {error}")
            finally:
                self._tokens.pop(str(number), None)

    def _answer(self, request: dict[str, Any], answers: _Answers, token: CancelToken) -> None:
        token.check()
        match request.get("verb"):
            case "segment":
                self._segment(request, answers, token)
            case "queue":
                self._queue(request, answers)
            case other:
                raise DataError(
                    f"A request wants the verb segment, queue or cancel, found {other}."
                )

    def _segment(self, request: dict[str, Any], answers: _Answers, token: CancelToken) -> None:
        predictor, found = self._predictor(request.get("round"))
        rect = Rect(*request["rect"]) if request.get("rect") else None
        # A whole slide would only push the views out.
        predictor.recent = self._recent(predictor) if rect else None
        focus = request.get("focus")
        result = segment_slide(
            self._project,
            request["slide"],
            predictor,
            found.number,
            rect=rect,
            sketch=rect is not None,
            downsample=float(request.get("downsample") or 1.0),
            focus=(int(focus[0]), int(focus[1])) if focus else None,
            opened=self._opened(request["slide"], predictor),
            events=answers,
            cancel=token,
        )
        area = area_by_class(self._project, request["slide"], found.number)
        answers.emit("done", **result, area=area)

    def _queue(self, request: dict[str, Any], answers: _Answers) -> None:
        found = self._project.doubting_round()
        if found is None:
            raise DataError("The queue wants a trained round, found none. Train first.")
        regions = rank_regions(
            self._project,
            found.number,
            count=int(request.get("count", 10)),
            size_px=int(request.get("size_px", 256)),
            events=answers,
        )
        answers.emit("done", round=found.number, regions=[r.id for r in regions])

    def _recent(self, predictor: Predictor) -> RecentWindows | None:
        """Return what outlives a predictor: what the encoder said of the last windows."""
        limit = predictor.settings.inference.recent_mb << 20
        if self._windows is None or self._windows.limit_bytes != limit:
            self._windows = RecentWindows(limit) if limit else None
        return self._windows

    def _opened(self, name: str, predictor: Predictor) -> OpenSlide:
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
            path, stamp, predictor, known = self._warm
            if best_weights(path).stat().st_mtime == stamp:
                return predictor, known
        # The stamp is taken before: weights that change meanwhile are read again next time.
        before = best_weights(found.folder).stat().st_mtime if found else 0.0
        predictor, known = load_predictor(self._project, number, self._overrides)
        self._warm = (known.folder, before, predictor, known)
        return predictor, known


def serve_requests(project: Project, overrides: Sequence[str]) -> None:
    """Serve ``project`` on stdin and stdout; ``overrides`` as for ``segment --set``."""
    Server(project, JsonLinesEvents(), overrides).run()
