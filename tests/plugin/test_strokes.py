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
from unisemalign.geometry import Rect
from unisemalign.project import Region, RegionState, Split, TissueChange

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


@pytest.fixture
def painted(dock, press):
    """Two regions accepted with the keys, one after the other; the first of class 1, then 2."""
    rects = []
    for value, y in ((1, 100), (2, 400)):
        dock.controller.session.mark_region(Rect(y, 100, 128, 128))
        layer = dock.controller.layers.editing()
        layer.paint((20 * value, 20), value)
        rects.append(dock.controller.session.edit.region.rect)
        press("C")
        dock.render_now()
    return rects


def test_one_key_takes_back_everything_in_order_and_one_does_it_again(dock, press, painted) -> None:
    session, layers = dock.controller.session, dock.controller.layers
    labels = session.project.labels(session.slide)
    first, second = painted
    held = [labels.read(rect) for rect in painted]
    assert all(each.any() for each in held)
    press("Control-Z")  # the second accept; its region opens with what was painted
    assert session.edit.region.rect == second
    assert not labels.read(second).any()
    press("Control-Shift-Z")  # no stroke to do again: the accept is
    assert session.edit is None
    assert np.array_equal(labels.read(second), held[1])
    press("Control-Z")
    layers.editing().paint((60, 60), 3)
    press("Control-Z")  # the stroke first
    assert layers.editing().data[60, 60] == 0
    press("Control-Z")  # then what was done before
    assert session.edit.region.rect == first
    assert not labels.read(first).any()
    press("Control-Shift-Z")
    assert np.array_equal(labels.read(first), held[0])


def test_drawing_a_layer_again_is_no_stroke(dock, press, painted) -> None:
    session = dock.controller.session
    press("Control-Z")
    before = session.edit.strokes
    dock.controller.layers.editing().refresh()
    dock.controller.layers.editing().contour = 3
    assert session.edit.strokes == before
    press("Control-Shift-Z")
    assert session.edit is None


def test_doubt_is_read_while_painting(dock, press, with_model, with_prediction) -> None:
    session, layers = dock.controller.session, dock.controller.layers
    with_prediction(session.project, with_model(session.project), session.slide)
    session.rounds_changed()
    session.predicted()
    layers.refresh_prediction()
    session.mark_region(Rect(100, 100, 128, 128))
    layer = layers.editing()
    layer.data[:] = 1
    layer.refresh()
    assert layer.contour == 0
    press("U")
    assert layers.layer("uncertainty").visible
    assert layer.contour > 0  # outlines: what lies below is seen
    session.mark_region(Rect(400, 100, 128, 128))
    assert layers.editing().contour > 0
    press("U")
    assert layers.editing().contour == 0
    layers.editing().contour = 2  # one's own choice stays
    layers.toggle("accepted")
    assert layers.editing().contour == 2


def test_the_next_region_is_painted_on_the_same_layer(
    dock, press, with_model, with_prediction
) -> None:
    session, layers = dock.controller.session, dock.controller.layers
    number = with_model(session.project)
    with_prediction(session.project, number, session.slide)
    first, second = (
        Region(0, session.slide, rect, RegionState.PREDICTED, Split.TRAIN, score, "unsure", number)
        for rect, score in ((Rect(100, 100, 128, 128), 0.9), (Rect(400, 300, 128, 128), 0.8))
    )
    session.project.replace_queue([first, second])
    session.rounds_changed()
    session.set_ranking(False)
    session.predicted()
    press("N")
    layer = layers.editing()
    layer.paint((20, 20), 1)
    painted = np.array(layer.data)
    assert layers.layer("prediction").visible is False
    press("Shift-C")
    assert session.edit.region.rect == second.rect
    assert layers.editing() is layer
    assert layer.data is session.edit.values
    assert session.edit.strokes == 0
    assert not session.edit.touched.any()
    spacing = session.project.info.spacing_um
    assert np.allclose(layer.translate, ((400 + 0.5) * spacing, (300 + 0.5) * spacing))
    assert np.array_equal(session.project.labels(session.slide).read(first.rect), painted)
    layer.paint((30, 30), 3)
    assert session.edit.dirty
    assert session.edit.touched[30, 30]
    press("Control-Z")
    assert layer.data[30, 30] == 2
    press("Control-Z")  # no stroke of the region before comes here: its accept is taken back
    assert session.edit.region.rect == first.rect
    assert np.array_equal(layers.editing().data, painted)
    assert layers.layer("accepted") is not None
    assert not layers.layer("accepted").visible
    press("C")
    assert layers.editing() is None
    assert layers.layer("accepted").visible
