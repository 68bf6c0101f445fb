"""What the plugin's tests share: a drawn slide, projects, the stand-in engine, and a leak watch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from standins import FAKE_ENGINE, SIZE_PX

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.session.session import Session
from napari_unisemalign.widgets.dock import DockWidget
from unisemalign.geometry import Rect
from unisemalign.project import Project
from unisemalign.slides.synthetic import CLASSES, draw_slide, truth

PATIENCE_S = 60
"""A busy machine is no failure: what is waited for may take this long, and seldom does."""


class PatientBot(QtBot):
    """pytest-qt's, which waits at least :data:`PATIENCE_S`."""

    def waitUntil(self, callback: Callable[[], object], *, timeout: int = 0) -> None:  # noqa: N802
        """Wait for ``callback`` to be true."""
        super().waitUntil(callback, timeout=max(timeout, 1000 * PATIENCE_S))

    def waitSignal(self, signal: object, *, timeout: int = 0, **keywords: object) -> object:  # noqa: N802
        """Wait for ``signal``."""
        return super().waitSignal(signal, timeout=max(timeout, 1000 * PATIENCE_S), **keywords)


@pytest.fixture
def qtbot(qapp: object, request: pytest.FixtureRequest) -> QtBot:
    return PatientBot(request)


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is remembered between starts out of the person's own folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture(scope="session")
def drawn_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_slide(tmp_path_factory.mktemp("slides") / "a.tif", size_px=SIZE_PX)


@pytest.fixture
def root(tmp_path: Path, drawn_path: Path) -> Path:
    """A project with one slide, closed."""
    with Project.create(tmp_path / "study.unisem", classes=list(CLASSES)) as project:
        project.add_slide(drawn_path)
        return project.root


@pytest.fixture
def session(root: Path) -> Iterator[Session]:
    session = Session()
    session.open(root)
    yield session
    session.close()


@pytest.fixture
def drawn_truth() -> Callable[[Rect], np.ndarray]:
    return lambda rect: truth(rect, size_px=SIZE_PX, seed=0)


@pytest.fixture
def with_model() -> Callable[[Project], int]:
    """Give a project a round that has a model, and return its number."""

    def make(project: Project) -> int:
        found = project.new_round(method="unisemalign", preset="recommended")
        found.layout.weights.write_bytes(b"weights")
        project.set_round(found.number, state="done")
        return found.number

    return make


@pytest.fixture
def with_prediction() -> Callable[[Project, int, str], None]:
    """Predict class 2 with confidence 200 everywhere on a slide."""

    def make(project: Project, number: int, slide: str) -> None:
        store = project.predictions(number, slide, create=True)
        rect = Rect(0, 0, *store.shape_yx)
        store.write(
            rect,
            classes=np.full(rect.shape, 2, np.uint8),
            confidence=np.full(rect.shape, 200, np.uint8),
            disagreement=np.zeros(rect.shape, np.uint8),
        )

    return make


@pytest.fixture
def make_dock(make_napari_viewer, qtbot):
    """Return a function that shows a dock; everything it started is ended afterwards."""
    controllers = []

    def make(engine=FAKE_ENGINE, **keywords) -> DockWidget:
        viewer = make_napari_viewer(**keywords)
        controller = Controller(viewer, engine=engine)
        controllers.append(controller)
        dock = DockWidget(viewer, controller=controller)
        viewer.window.add_dock_widget(dock, name="Segment slides")
        return dock

    yield make
    for controller in controllers:
        controller.shut_down()


@pytest.fixture
def dock(make_dock, root) -> DockWidget:
    dock = make_dock()
    dock.controller.opener.open_project(root)
    dock.render_now()
    return dock


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail a test that leaves a child process behind."""
    before = _children()
    yield
    deadline = time.monotonic() + PATIENCE_S
    while (left := _children() - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    names = [name for _pid, name in left]
    assert not names, f"the test left processes behind: {names}"


def _children() -> set[tuple[int, str]]:
    if not sys.platform.startswith("linux"):
        return set()
    listing = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    rows = [line.split(None, 1) for line in listing.splitlines() if line.strip()]
    return {
        (int(pid), args) for pid, args in rows if "unisemalign" in args or "fake_engine" in args
    }
