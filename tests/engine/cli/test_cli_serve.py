"""What ``serve`` does with requests good and bad: in one process, so that the order is known."""

from __future__ import annotations

import io
import json
import threading

import pytest

from tests.engine.conftest import QUICK
from unisemalign.cli.serving import Server, iter_lines
from unisemalign.protocol import (
    LAST_KINDS,
    MAX_LINE_BYTES,
    CancelRequest,
    GuessRequest,
    QueueRequest,
    SegmentRequest,
)
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import train_round


class Recorder:
    """Collects events."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)

    def ends(self):
        """Return id → kind of the event that ended the request."""
        return {each.id: each.event for each in self.events if each.event in LAST_KINDS}


class Viewer:
    """The other end: hands over lines, and knows when the server has read all of them.

    ``readline`` is asked for one line more only after the line before was dealt with.
    """

    def __init__(self, *requests):
        lines = [each if isinstance(each, bytes) else each.model_dump_json() for each in requests]
        self._lines = [each if isinstance(each, bytes) else each.encode() + b"\n" for each in lines]
        self.read_all = threading.Event()
        self.closed = threading.Event()

    def readline(self, limit):
        if self._lines:
            line = self._lines.pop(0)
            if len(line) > limit:
                self._lines.insert(0, line[limit:])
            return line[:limit]
        self.read_all.set()
        assert self.closed.wait(120)
        return b""


class Patient(Recorder):
    """Begins to take answers once every request was read, and hangs up after the last one."""

    def __init__(self, viewer, count):
        super().__init__()
        self._viewer, self._count = viewer, count

    def emit(self, event):
        # The reader answers what is no request itself: it must not wait for itself.
        if event.id is not None and threading.current_thread() is threading.main_thread():
            assert self._viewer.read_all.wait(120)
        super().emit(event)
        if len(self.ends()) == self._count:
            self._viewer.closed.set()


def served(project, *requests, answered):
    viewer = Viewer(*requests)
    recorder = Patient(viewer, answered)
    Server(project, recorder).run(viewer)
    return recorder


@pytest.mark.parametrize("end", [b"", b"\n", b"\nnext\n"])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 16, 17, 18, 27])
def test_a_line_is_kept_up_to_its_limit_alone(length, end):
    lines = list(iter_lines(io.BytesIO(b"x" * length + end), limit=8))
    if length + len(end[:1]) == 0:
        assert lines == []
        return
    fits = length + len(end[:1]) <= 9 and length <= 9
    assert lines[0] == (b"x" * length + end[:1] if fits else b"x" * 9)
    assert lines[1:] == ([b"next\n"] if len(end) > 1 else [])


BAD = (
    b"[" * 200_000 + b"\n",
    b'{"id": ' * 20_000 + b"\n",
    b'{"verb": "queue", "id": ' + b"9" * 5_000 + b"}\n",
    b'{"verb": "queue", "id": "' + b"x" * (2 * MAX_LINE_BYTES) + b'"}\n',
    b"\xff\xfe\x00\n",
    b"\n",
    b'{"verb": "dance", "id": 4}\n',
)


def test_a_line_that_is_no_request_is_refused_and_the_next_is_answered(study):
    told = served(study, *BAD, QueueRequest(id="good"), answered=3)
    refused = [each for each in told.events if each.event == "failed" and each.id is None]
    assert len(refused) == len(BAD) - 1
    assert "at most 1048576 bytes" in refused[3].text
    assert told.ends()[4] == told.ends()["good"] == "failed"
    assert "trained round" in told.events[-1].text


def test_a_request_that_waits_is_cancelled_and_the_others_are_not(study):
    train_round(study, build_settings(overrides=QUICK), events=SilentEvents())
    asked = [SegmentRequest(id=k, slide="b") for k in (1, 2, 3)]
    told = served(study, *asked, CancelRequest(target=3), CancelRequest(target=77), answered=3)
    assert told.ends() == {1: "done", 2: "done", 3: "cancelled"}
    assert [each.event for each in told.events if each.id == 3] == ["cancelled"]


def test_a_guess_is_made_and_named_by_the_server_as_by_the_command_line(study):
    name = study.info.class_names[0]
    made = served(
        study,
        GuessRequest(id=1, slides=("b",), clusters=2),
        GuessRequest(id=2, names={1: name}),
        GuessRequest(id=3, names={1: "no such class"}),
        GuessRequest(id=4, clusters=2, words="conch"),
        GuessRequest(id=5, slides=("a", "b"), rect=(0, 0, 9, 9)),
        QueueRequest(id=6, count=1, size_px=96),
        answered=6,
    )
    assert made.ends() == {1: "done", 2: "done", 3: "failed", 4: "failed", 5: "failed", 6: "done"}
    done = {each.id: each for each in made.events if each.event in LAST_KINDS}
    assert (done[1].waiting, done[1].round, done[1].slides) == (True, None, ("b",))
    assert (done[2].waiting, done[2].round, done[2].clusters[0].name) == (False, 0, name)
    assert "no such class" in done[3].text
    assert "one of --words, --clusters and --names" in done[4].text
    assert "exactly one slide" in done[5].text
    assert done[6].round == 0
    written = [each for each in made.events if each.event == "written" and each.id == 1]
    assert written
    assert all(each.slide == "b" for each in written)
    assert json.loads(done[1].line())["verb"] == "guess"
