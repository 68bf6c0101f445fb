"""Tests never touch the network; the variable is read when the hub's client is imported."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
# Several test processes on two cores: threads that wait for one another would only slow them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure: speed is measured in benchmarks/, never in a test.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Flush nothing: what is flushed, and when, has tests of its own, and a disk takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def niceness(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep a verb that runs inside the tests' process from slowing all that follow it.

    Returns what was added to the niceness meanwhile.
    """
    added: list[int] = []
    monkeypatch.setattr(os, "nice", added.append, raising=False)
    return added
