import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from unisemalign.errors import CancelledError, ProjectError, SettingsError
from unisemalign.geometry import Rect
from unisemalign.protocol import Message, Progress, Step, Written, read_event
from unisemalign.runtime import (
    STOP_AT_STDIN_END,
    CancelToken,
    JsonLinesEvents,
    LogFileEvents,
    Pace,
    cancel_on_signals,
    read_log,
    write_atomically,
)
from unisemalign.runtime.device import choose_device, choose_precision, seed_everything


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), write_atomically(path) as part:
        part.write_text("half \ud800", encoding="utf-8")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def disk_filling(path):
    with write_atomically(path):
        yield
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_nothing_is_torn(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ProjectError, match="full.*intact.*Free some space"), disk_filling(path):
        pass
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_beside_the_job_asks_for_the_stop(tmp_path):
    token = CancelToken(tmp_path / "cancel")
    token.check()
    (tmp_path / "cancel").touch()
    with pytest.raises(CancelledError):
        token.check()


def test_a_signal_asks_for_the_stop_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with cancel_on_signals(CancelToken()) as token:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert token.requested
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("asked", [True, False])
def test_the_end_of_stdin_asks_for_the_stop_where_it_is_wished(asked):
    code = (
        "import time\n"
        "from unisemalign.runtime import CancelToken, cancel_on_signals\n"
        "with cancel_on_signals(CancelToken()) as token:\n"
        "    print('on', flush=True)\n"
        "    while not token.requested: time.sleep(0.01)\n"
        "print('stopped', flush=True)\n"
    )
    environment = {**os.environ, **({STOP_AT_STDIN_END: "1"} if asked else {})}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stdout.readline() == "on\n"
        child.stdin.close()
        if not asked:
            time.sleep(0.2)
            assert child.poll() is None
            child.terminate()
        assert child.stdout.readline() == "stopped\n"
        assert child.wait() == 0


def test_json_lines_survive_a_reader_that_went_away():
    code = (
        "from unisemalign.protocol import Message\n"
        "from unisemalign.runtime import JsonLinesEvents\n"
        "import time\n"
        "e = JsonLinesEvents()\n"
        "e.emit(Message(text='a')); time.sleep(0.3)\n"
        "for _ in range(3000): e.emit(Message(text='x' * 100))\n"
        "import sys; sys.stderr.write('alive')\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert read_event(child.stdout.readline()) == Message(text="a")
    child.stdout.close()
    assert b"alive" in child.stderr.read()
    child.stderr.close()
    child.wait()


def test_a_torn_last_line_of_a_log_is_left_out(tmp_path):
    log = LogFileEvents(tmp_path / "log.jsonl")
    step = Step(step=1, total=2, loss=0.5, eta_s=None, wait_share=0.0, tau=0.9)
    log.emit(step)
    log.emit(Progress(done=1, total=2))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "st')
    [event] = read_log(tmp_path / "log.jsonl")
    assert event.time > 0
    assert event.model_copy(update={"time": None}) == step
    assert event.parts == {"tau": 0.9}


def test_json_lines_are_flat_objects():
    stream = io.StringIO()
    JsonLinesEvents(stream).emit(Written(slide="a", round=3, rect=Rect(1, 2, 3, 4), final=True))
    assert json.loads(stream.getvalue()) == {
        "event": "written",
        "slide": "a",
        "round": 3,
        "rect": [1, 2, 3, 4],
        "final": True,
    }


def test_pace_knows_nothing_before_the_first_unit():
    pace = Pace(10, done=4)
    assert pace.eta_s is None
    pace.advance(6)
    assert pace.eta_s == 0


def test_an_absent_device_is_told():
    with pytest.raises(SettingsError, match="device=auto"):
        choose_device("cuda:0" if not torch.cuda.is_available() else "mps")


@pytest.mark.parametrize(
    ("name", "kind", "able", "precision"),
    [
        ("auto", "cpu", True, torch.float32),
        ("auto", "mps", True, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float32),
        ("float32", "cuda", True, torch.float32),
        ("bfloat16", "cpu", False, torch.bfloat16),
    ],
)
def test_the_precision_follows_the_device(monkeypatch, name, kind, able, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: able)
    assert choose_precision(name, torch.device(kind)) == precision


def test_a_precision_the_gpu_lacks_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(SettingsError, match="precision=float32"):
        choose_precision("bfloat16", torch.device("cuda"))


def test_repeatable_kernels_are_asked_for_on_the_cpu_alone():
    try:
        seed_everything(3, torch.device("cuda"))
        assert not torch.are_deterministic_algorithms_enabled()
        seed_everything(3, torch.device("cpu"))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_command_line_waits_passively_for_cores():
    """Threads that spin beside other work make every step crawl; what a person set stays."""
    code = (
        "import os, sys; sys.argv = ['unisemalign', '--version']\n"
        "from unisemalign.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    for given, policy in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        kept = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        env = kept | ({} if given is None else {"OMP_WAIT_POLICY": given})
        run = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert run.stdout.split()[-1] == policy
