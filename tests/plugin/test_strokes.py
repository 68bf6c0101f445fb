"""What is painted with the mouse is on disk soon after, whatever follows; only classes paint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from app_model.types import KeyBinding
from standins import FAKE_ENGINE, PATIENCE_MS

from napari_unisemalign.session.session import Session
from unisemalign.project import TissueChange

STROKES = 14
PATIENCE_S = 120

# Paints with the mouse, stroke after stroke without a pause, until it is killed.
PAINTER = """
import json, sys, time
from pathlib import Path
import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.widgets.dock import DockWidget

root, engine = Path(sys.argv[1]), sys.argv[2:]
viewer = napari.Viewer()
dock = DockWidget(viewer, controller=Controller(viewer, engine=engine))
viewer.window.add_dock_widget(dock)
controller = dock.controller
controller.opener.open_project(root)
controller.reviewer.mark_region(256)
layer = controller.layers.editing()
layer.brush_size = 6

def live(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)

live(1)
canvas = viewer.window._qt_viewer.canvas.native
middle = canvas.rect().center()
room = round(0.3 * min(canvas.width(), canvas.height()))
while True:
    for row in range(-10, 11):
        before = np.array(layer.data)
        start = middle + QPoint(-room // 2, row * room // 10)
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
        for dx in (5, 10, 15):
            QTest.mouseMove(canvas, start + QPoint(dx, 0))
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=start + QPoint(15, 0))
        live(0.1)
        changed = np.argwhere(np.asarray(layer.data) != before)
        if len(changed):
            print(json.dumps([int(each) for each in changed[0]]), flush=True)
    layer.selected_label = 1 + layer.selected_label % 5
"""


def _drafted(root: Path) -> np.ndarray | None:
    for path in (root / "drafts").glob("region-*.npz"):
        try:
            with np.load(path) as draft:
                return draft["values"]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
    return None


def test_strokes_without_a_pause_survive_a_kill(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PAINTER, str(root), *FAKE_ENGINE], stdout=subprocess.PIPE, text=True
    ) as painter:
        strokes = [tuple(json.loads(painter.stdout.readline())) for _ in range(STROKES)]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, "strokes that go on and on are not kept"
            values = _drafted(root)
            if values is not None and all(values[each] for each in strokes):
                break
            painter.stdout.readline()
        os.kill(painter.pid, signal.SIGKILL)
        painter.stdout.read()
    session = Session()
    session.open(root)
    assert session.edit.restored
    assert all(session.edit.values[each] for each in strokes)
    session.close()


@pytest.fixture
def press(dock):
    """Press a key on the canvas."""
    handler = dock.controller.viewer.window._qt_viewer._key_map_handler
    return lambda key: handler.press_key(KeyBinding.from_str(key))


def test_only_classes_of_the_project_paint(dock, press) -> None:
    dock.controller.reviewer.mark_region(128)
    layer = dock.controller.layers.editing()
    count = len(dock.controller.session.project.info.classes)
    dock.controller.viewer.layers.selection.active = layer
    for _ in range(count + 3):
        press("=")
    assert layer.selected_label == count
    layer.paint((10, 10), layer.selected_label)
    assert dock.controller.session.edit.values.max() == count
    press("M")  # napari's own key for a label that is new
    assert layer.selected_label == count
    for _ in range(count + 3):
        press("-")
    assert layer.selected_label == 0


def test_only_tissue_marks_paint_on_the_tissue(dock, qtbot) -> None:
    tissue = dock.controller.tissue
    tissue.start()
    qtbot.waitUntil(lambda: tissue.layer is not None, timeout=PATIENCE_MS)
    tissue.layer.selected_label = 9
    assert tissue.layer.selected_label == max(TissueChange)


def test_skip_is_taken_back_with_the_mouse(dock, qtbot) -> None:
    from qtpy.QtCore import Qt

    dock.controller.reviewer.mark_region(128)
    layer = dock.controller.layers.editing()
    layer.paint((10, 10), 3)
    dock.render_now()
    qtbot.mouseClick(dock.review.skip, Qt.MouseButton.LeftButton)
    dock.render_now()
    assert dock.controller.layers.editing() is None
    assert dock.review.undo.isVisibleTo(dock)
    assert dock.review.undo.text() == "Undo skip"
    qtbot.mouseClick(dock.review.undo, Qt.MouseButton.LeftButton)
    assert dock.controller.layers.editing().data[10, 10] == 3
