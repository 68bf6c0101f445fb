"""The status bar says what model and person say of the pixel under the mouse; origins in colour."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unisemalign.canvas.overlays import ORIGIN
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin


@pytest.fixture
def shown(dock, with_model, qtbot):
    """A dock whose slide is predicted: prototypes disagree left, both in the middle, none right."""
    session = dock.controller.session
    number = with_model(session.project)
    h, w = session.spaced_slide(session.slide).shape_yx
    disagreement = np.zeros((h, w), np.uint8)
    disagreement[:, : w // 3], disagreement[:, w // 3 : 2 * w // 3] = 1, 3
    store = session.project.predictions(number, session.slide, create=True)
    store.write(
        Rect(0, 0, h, w),
        classes=np.full((h, w), 2, np.uint8),
        confidence=np.full((h, w), 204, np.uint8),
        disagreement=disagreement,
    )
    session.rounds_changed()
    session.predicted()
    window = dock.controller.layers.viewer.window._qt_window
    window.resize(1366, 768)
    window.show()
    dock.controller.layers.viewer.reset_view()
    dock.controller.layers.viewer.scene.camera.zoom /= 2  # tissue and what is beside it
    QApplication.processEvents()
    return dock


def _move_to(dock, y: float, x: float) -> str:
    """Move the mouse over working pixel y, x of the slide; return the status bar's words."""
    viewer = dock.controller.layers.viewer
    canvas = viewer.window._qt_viewer.canvas.native
    spacing = dock.controller.session.project.info.spacing_um
    camera = viewer.scene.camera
    center, zoom = np.asarray(camera.center)[-2:], camera.zoom
    dy, dx = (np.array([y + 0.5, x + 0.5]) * spacing - center) * zoom
    place = canvas.rect().center() + QPoint(round(dx), round(dy))
    wanted = np.array([y + 0.5, x + 0.5]) * spacing
    for _ in range(100):  # the window server may drop a move
        QTest.mouseMove(canvas, place - QPoint(3, 0))
        QTest.mouseMove(canvas, place)
        QTest.qWait(20)
        if np.all(np.abs(np.asarray(viewer.cursor.position)[-2:] - wanted) < 2 / camera.zoom):
            break
    # napari's fixture keeps the thread still that does this when the mouse has moved.
    viewer.mouse_over_canvas = True
    viewer.window._qt_window.set_status_and_tooltip(viewer._calc_status_from_cursor())
    status = viewer.status
    return status if isinstance(status, str) else " ".join(map(str, status.values()))


def test_the_status_bar_says_who_doubts(shown) -> None:
    session = shown.controller.session
    h, w = session.spaced_slide(session.slide).shape_yx
    name = session.project.info.class_names[1]
    said = _move_to(shown, h / 2, w / 6)
    assert f"round 1: {name}, 80 % sure, prototypes disagree" in said
    assert "prototypes and class vectors disagree" in _move_to(shown, h / 2, w / 2)
    assert "all agree" in _move_to(shown, h / 2, 5 * w / 6)
    assert "round" not in _move_to(shown, h / 2, w * 1.2)


def test_it_does_so_whatever_layer_is_chosen(shown) -> None:
    session, viewer = shown.controller.session, shown.controller.layers.viewer
    h, w = session.spaced_slide(session.slide).shape_yx
    for layer in viewer.layers:
        viewer.layers.selection.active = layer
        said = _move_to(shown, h / 2, w / 6)
        assert said.count("prototypes disagree") == 1, layer.name
        _move_to(shown, h / 2, w / 2)
    viewer.layers.selection.clear()
    assert "prototypes disagree" in _move_to(shown, h / 2, w / 6)


def test_where_labels_come_from_is_said_and_shown(shown) -> None:
    session = shown.controller.session
    h, w = session.spaced_slide(session.slide).shape_yx
    rect = Rect(h // 2 - 32, w // 2 - 32, 64, 64)
    origins = np.full(rect.shape, Origin.DRAWN, np.uint8)
    origins[:, 32:] = Origin.IMPORTED
    edit = LabelEdit(rect, np.full(rect.shape, 1, np.uint8), origins, (rect,))
    session.project.accept(session.slide, [edit], action="accept")
    session._labels_written(session.slide)
    shown.render_now()
    assert "drawn" in _move_to(shown, h / 2, w / 2 - 16)
    assert "imported" in _move_to(shown, h / 2, w / 2 + 16)
    layer = shown.controller.layers.layer(ORIGIN)
    assert not layer.visible
    button = shown.segment.toggles[ORIGIN]
    shown.scroll_area.ensureWidgetVisible(button)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    assert layer.visible
    seen = np.asarray(layer.data[0][rect.slices])
    assert np.array_equal(seen, origins)
    assert list(layer.features["class"])[1:] == [
        "drawn",
        "corrected",
        "accepted as predicted",
        "imported",
    ]


def test_nothing_is_read_while_a_stroke_is_made(shown, monkeypatch) -> None:
    note, viewer = shown.controller.cursor_note, shown.controller.layers.viewer
    read: list[int] = []
    monkeypatch.setattr(note, "text", lambda: read.append(1) or "")
    monkeypatch.setattr(QApplication, "mouseButtons", lambda: Qt.MouseButton.LeftButton)
    viewer.status = "painting"
    assert not read
    monkeypatch.setattr(QApplication, "mouseButtons", lambda: Qt.MouseButton.NoButton)
    viewer.status = "resting"
    assert read


def test_nothing_is_said_without_a_project(make_dock) -> None:
    dock = make_dock()
    viewer = dock.controller.layers.viewer
    viewer.add_labels(np.ones((20, 20), int))
    viewer.status = "Ready"
    assert viewer.status == "Ready"
