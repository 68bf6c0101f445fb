"""Child processes: answers, crashes, cancelling, and taking up a training again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from qtpy.QtCore import QProcess
from standins import FAKE_ENGINE, PATIENCE_MS

from napari_unisemalign.engine import process, training
from napari_unisemalign.engine.command import CommandJob
from napari_unisemalign.engine.lines import JsonLines
from napari_unisemalign.engine.process import EngineProcess
from napari_unisemalign.engine.server import EngineServer
from napari_unisemalign.engine.training import TrainingFollower, TrainingJob
from unisemalign.project import Project
from unisemalign.protocol import Cancelled, ExportDone, Ready


@pytest.fixture
def project(root):
    with Project.open(root) as project:
        yield project


@pytest.fixture
def server(root, qtbot):
    server = EngineServer(root, engine=FAKE_ENGINE)
    yield server
    server.stop()


class Heard(list):
    """Collects events and knows when the last one came."""

    @property
    def over(self) -> bool:
        return bool(self) and self[-1].event in {"done", "failed", "cancelled"}


def test_lines_are_cut_where_they_end() -> None:
    lines = JsonLines()
    one, two = Ready(version=1), Cancelled(text="Stopped.")
    assert lines.feed(b'{"event": "ready", "version": 1}\nnoise\n[1]\n{"event": "a"}\n{"eve') == [
        one
    ]
    assert lines.feed(b'nt": "cancelled", "text": "Stopped."}\n') == [two]


def test_an_answer_comes_to_who_asked(server, project, with_model, qtbot) -> None:
    with_model(project)
    first, second = Heard(), Heard()
    server.request("segment", first.append, slide="a", rect=[0, 0, 256, 512], round=None)
    server.request("segment", second.append, slide="a", rect=[0, 0, 256, 256], round=None)
    qtbot.waitUntil(lambda: first.over and second.over, timeout=PATIENCE_MS)
    status = ["written", "progress"] * 2
    assert [each.event for each in first] == ["start", *status, "done"]
    assert [each.event for each in second] == ["start", "written", "progress", "done"]
    assert project.predictions(1, "a").predicted_rects()


def test_a_crash_is_told_in_words_and_the_engine_starts_again(
    server, project, with_model, qtbot
) -> None:
    with_model(project)
    server.warm_up()
    qtbot.waitUntil(lambda: server.ready, timeout=PATIENCE_MS)
    (project.root / "crash").touch()
    heard = Heard()
    server.request("segment", heard.append, slide="a", rect=None, round=None)
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "failed"
    assert "Segmentation fault in the convolution" in heard[-1].text
    again = Heard()
    server.request("segment", again.append, slide="a", rect=[0, 0, 64, 64], round=None)
    qtbot.waitUntil(lambda: again.over, timeout=PATIENCE_MS)
    assert again[-1].event == "done"


def test_an_engine_that_cannot_start_does_not_loop(root, qtbot) -> None:
    server = EngineServer(root, engine=("/no/such/program",))
    heard = Heard()
    server.request("segment", heard.append, slide="a", rect=None, round=None)
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "failed"
    assert not server.running


def test_a_request_not_yet_sent_can_be_cancelled(server, project, qtbot) -> None:
    heard = Heard()
    number = server.request("segment", heard.append, slide="a", rect=None, round=None)
    server.cancel(number)
    assert heard[-1].event == "cancelled"


def _train(project, qtbot, *options: str) -> tuple[TrainingJob, Heard]:
    job, heard = TrainingJob(project, options, engine=FAKE_ENGINE), Heard()
    job.event_received.connect(heard.append)
    job.finished.connect(heard.append)
    job.start()
    return job, heard


def test_a_training_runs_to_its_end(project, qtbot) -> None:
    _job, heard = _train(project, qtbot, "--set", "training.steps=12")
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "done"
    assert [each.step for each in heard if each.event == "step"] == list(range(1, 13))
    assert project.latest_round().number == 1


def test_a_training_is_cancelled_and_resumed(project, qtbot) -> None:
    job, heard = _train(project, qtbot, "--set", "training.steps=500")
    qtbot.waitUntil(lambda: any(each.event == "step" for each in heard), timeout=PATIENCE_MS)
    job.cancel()
    assert (project.round(1).folder / "cancel").exists()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "cancelled"
    reached = max(each.step for each in heard if each.event == "step")
    (project.round(1).folder / "steps").write_text(str(reached + 20))
    _job, more = _train(project, qtbot, "--resume")
    qtbot.waitUntil(lambda: more.over, timeout=PATIENCE_MS)
    assert more[-1].event == "done"
    assert next(each.step for each in more if each.event == "step") == reached + 1


def test_a_silent_end_is_a_failure(project, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_DIE_AT", "5")
    _job, heard = _train(project, qtbot)
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "failed"
    assert "status 9" in heard[-1].text
    assert "CUDA out of memory" in heard[-1].text


def test_a_done_with_a_bad_status_is_a_failure(qtbot) -> None:
    import sys

    done = ExportDone(files=()).line()
    code = f"print({done!r}); raise SystemExit(1)"
    job, heard = CommandJob("The export", ["-c", code], engine=(sys.executable, "-u")), Heard()
    job.finished.connect(heard.append)
    job.start()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "failed"


def test_stopping_a_training_leaves_a_round_to_resume(project, qtbot) -> None:
    job, heard = _train(project, qtbot, "--set", "training.steps=5000")
    qtbot.waitUntil(lambda: any(each.event == "step" for each in heard), timeout=PATIENCE_MS)
    job.stop()
    assert not job.running
    assert project.rounds()[-1].state == "cancelled"


@pytest.fixture
def in_other_process(project, monkeypatch, qtbot):
    """A training that somebody else started."""
    monkeypatch.setenv("FAKE_STEP_S", "0.02")
    process = subprocess.Popen(
        [*FAKE_ENGINE, "train", str(project.root), "--json", "--set", "training.steps=2000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    qtbot.waitUntil(
        lambda: bool(project.rounds()) and project.training_pid() is not None,
        timeout=PATIENCE_MS,
    )
    yield process
    process.kill()
    process.wait()


def _follow(project) -> tuple[TrainingFollower, Heard]:
    follower, heard = TrainingFollower(project, project.rounds()[-1].number), Heard()
    follower.event_received.connect(heard.append)
    follower.finished.connect(heard.append)
    follower.start()
    return follower, heard


def test_a_training_of_another_process_is_followed_and_stopped(
    project, in_other_process, qtbot
) -> None:
    follower, heard = _follow(project)
    qtbot.waitUntil(lambda: any(each.event == "step" for each in heard), timeout=PATIENCE_MS)
    follower.cancel()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "cancelled"
    assert not follower.running


def test_a_followed_training_that_is_killed_is_a_failure(project, in_other_process, qtbot) -> None:
    _follower, heard = _follow(project)
    qtbot.waitUntil(lambda: any(each.event == "step" for each in heard), timeout=PATIENCE_MS)
    os.kill(in_other_process.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "failed"
    assert "crashed" in heard[-1].text


def test_a_command_stopped_while_it_starts_is_no_crash(qtbot) -> None:
    job = CommandJob(
        "The training", [], engine=(sys.executable, "-c", "import time; time.sleep(60)")
    )
    ends = []
    job.finished.connect(ends.append)
    job.start()
    qtbot.waitUntil(lambda: job.running, timeout=PATIENCE_MS)
    qtbot.wait(50)
    job.cancel()
    qtbot.waitUntil(lambda: bool(ends), timeout=PATIENCE_MS)
    assert ends[0].event == "cancelled"


DEAF = f"""
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print({Ready().line()!r}, flush=True)
time.sleep(600)
"""
"""An engine that nothing but force ends."""


def test_a_command_that_does_not_stop_can_be_ended(qtbot) -> None:
    job, heard, ignored = CommandJob("It", ["-c", DEAF], engine=(sys.executable, "-u")), Heard(), []
    job._patience.setInterval(50)
    job.event_received.connect(heard.append)
    job.finished.connect(heard.append)
    job.stop_ignored.connect(lambda: ignored.append(True))
    job.start()
    qtbot.waitUntil(lambda: bool(heard), timeout=PATIENCE_MS)
    assert not ignored
    job.cancel()
    qtbot.waitUntil(lambda: bool(ignored), timeout=PATIENCE_MS)
    assert job.running
    job.end()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "cancelled"


def test_a_command_that_stops_is_not_said_to_ignore_it(project, qtbot) -> None:
    job, heard = _train(project, qtbot, "--set", "training.steps=500")
    ignored = []
    job.stop_ignored.connect(lambda: ignored.append(True))
    qtbot.waitUntil(lambda: any(each.event == "step" for each in heard), timeout=PATIENCE_MS)
    job.cancel()
    assert job._patience.isActive()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert not job._patience.isActive()
    assert not ignored


def test_a_followed_training_that_does_not_stop_can_be_ended(
    project, in_other_process, qtbot
) -> None:
    follower, heard = _follow(project)
    qtbot.waitUntil(lambda: any(each.event == "step" for each in heard), timeout=PATIENCE_MS)
    follower._asked_to_stop = True
    follower.end()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "cancelled"


def test_where_terminate_reaches_no_console_the_end_of_stdin_stops(
    project, qtbot, monkeypatch
) -> None:
    """As on Windows, and before the round has a folder that could hold a cancel file."""
    monkeypatch.setattr(QProcess, "terminate", lambda _process: None)
    monkeypatch.setattr(training, "ask_to_stop", lambda _project: False)
    job, heard = _train(project, qtbot, "--set", "training.steps=100000")
    qtbot.waitUntil(lambda: any(each.event == "step" for each in heard), timeout=PATIENCE_MS)
    job.cancel()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "cancelled"
    assert project.rounds()[-1].state == "cancelled"


def test_an_engine_that_is_ended_answers_and_starts_again(
    server, project, with_model, qtbot, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "30")
    with_model(project)
    heard, again = Heard(), Heard()
    server.request("segment", heard.append, slide="a", rect=None, round=None)
    qtbot.waitUntil(lambda: bool(heard), timeout=PATIENCE_MS)
    monkeypatch.setenv("FAKE_STEP_S", "0.001")
    server.end()
    qtbot.waitUntil(lambda: heard.over, timeout=PATIENCE_MS)
    assert heard[-1].event == "cancelled"
    server.request("segment", again.append, slide="a", rect=[0, 0, 64, 64], round=None)
    qtbot.waitUntil(lambda: again.over, timeout=PATIENCE_MS)
    assert again[-1].event == "done"


@pytest.mark.parametrize(
    ("cores", "chosen", "threads"),
    [(1, None, "none"), (2, None, "1"), (4, None, "3"), (8, None, "none"), (2, "2", "2")],
)
def test_the_viewer_keeps_a_core_where_there_are_few(cores, chosen, threads, monkeypatch, qtbot):
    monkeypatch.setattr(process, "usable_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    says = (
        "import json, os; print(json.dumps({'event': 'message', "
        "'text': os.environ.get('OMP_NUM_THREADS', 'none')}))"
    )
    heard: list[dict] = []
    child = EngineProcess([], engine=(sys.executable, "-c", says))
    child.event_received.connect(heard.append)
    child.start()
    qtbot.waitUntil(lambda: bool(heard), timeout=PATIENCE_MS)
    assert heard[0].text == threads
