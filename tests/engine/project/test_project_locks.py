"""What only one process at a time may do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from unisemalign.errors import BusyError
from unisemalign.project import Project

_HOLDER = """
    import sys
    from unisemalign.project import Project

    with Project.open(sys.argv[1]) as project, getattr(project, sys.argv[2])():
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def hold(project):
    """Return a function that starts a process holding one of the locks."""
    started = []

    def start(verb: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_HOLDER), str(project.root), verb],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("verb", ["lock_editing", "lock_training"])
def test_the_second_is_told_who_was_first(project, hold, verb):
    process = hold(verb)
    with pytest.raises(BusyError, match=rf"process {process.pid}\b"), getattr(project, verb)():
        pass
    process.kill()
    process.wait()
    with getattr(project, verb)():
        pass


def test_who_trains_can_be_asked(project, hold):
    assert project.training_pid() is None
    process = hold("lock_training")
    assert project.training_pid() == process.pid
    process.communicate("")
    assert process.returncode == 0
    assert project.training_pid() is None
    with project.lock_training():
        assert project.training_pid() == os.getpid()


def test_editing_and_training_go_together(project, hold):
    hold("lock_editing")
    with project.lock_training():
        assert project.training_pid() == os.getpid()
    with pytest.raises(BusyError), project.lock_editing():
        pass


def test_two_viewers_in_one_process(project):
    with (
        Project.open(project.root) as other,
        project.lock_editing(),
        pytest.raises(BusyError, match="another viewer"),
        other.lock_editing(),
    ):
        pass
