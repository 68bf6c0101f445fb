"""Rounds in the dock: chosen with the mouse, shown, compared, taken into use and back."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unisemalign.canvas.overlays import CHANGED, PREDICTION
from napari_unisemalign.session.dock_state import resolve_state
from unisemalign.geometry import Rect


def _predict(project, number, slide, value, part=1.0) -> None:
    """Predict ``value`` in the upper part of a slide and the first class below."""
    store = project.predictions(number, slide, create=True)
    h, w = store.shape_yx
    classes = np.ones((h, w), np.uint8)
    classes[: round(part * h)] = value
    planes = {name: np.zeros((h, w), np.uint8) for name in ("confidence", "disagreement")}
    store.write(Rect(0, 0, h, w), classes=classes, **planes)


@pytest.fixture
def three(dock, with_model, qtbot):
    """A dock with three rounds: 1 says class 2 above, 2 class 3 above, 3 has no prediction."""
    session = dock.controller.session
    for value in (2, 3, None):
        number = with_model(session.project)
        if value is not None:
            _predict(session.project, number, session.slide, value, part=0.25)
    session.rounds_changed()
    session.predicted()
    dock.controller.layers.viewer.window._qt_window.show()
    dock.render_now()
    QApplication.processEvents()
    return dock


def _choose(dock, row: int) -> None:
    table = dock.train.table
    dock.scroll_area.ensureWidgetVisible(table)
    QApplication.processEvents()
    place = table.visualItemRect(table.item(row, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    QApplication.processEvents()


def _press(dock, button) -> None:
    assert button.isEnabled(), button.toolTip()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    dock.render_now()
    QApplication.processEvents()


def _shown(dock, role=PREDICTION) -> int:
    layer = dock.controller.layers.layer(role)
    return int(np.asarray(layer.data[0][:8, :8]).max())


def _states(dock) -> list[str]:
    table = dock.train.table
    return [table.item(row, 1).text() for row in range(table.rowCount())]


def test_nothing_can_be_done_before_a_round_is_chosen(three) -> None:
    for button in (three.train.show_round, three.train.compare, three.train.use):
        assert not button.isEnabled()
        assert "Click a round" in button.toolTip()
    assert _states(three) == ["in use", "done", "done"]


def test_an_older_round_is_shown_and_the_newest_again(three) -> None:
    session = three.controller.session
    assert _shown(three) == 3
    _choose(three, 2)
    _press(three, three.train.show_round)
    assert _shown(three) == 2
    assert three.train.show_round.isChecked()
    assert resolve_state(session).round_shown == 1
    assert session.latest_round().number == 3
    assert session.area["stroma" if "stroma" in session.area else list(session.area)[1]] > 0
    _press(three, three.train.show_round)
    assert _shown(three) == 3
    assert resolve_state(session).round_shown == 2


def test_what_changed_is_an_overlay_with_its_area(three) -> None:
    session = three.controller.session
    _choose(three, 1)
    assert "is on show" in three.train.compare.toolTip()
    _choose(three, 2)
    _press(three, three.train.compare)
    layer = three.controller.layers.layer(CHANGED)
    changed = np.asarray(layer.data[0][:, :])
    h, w = session.spaced_slide(session.slide).shape_yx
    assert set(np.unique(changed)) == {0, 3}
    assert (changed > 0).sum() == round(0.25 * h) * w
    assert three.train.changed.text().startswith("From round 1 to round 2 25.0\u00a0%")
    mm2 = 0.25 * h * w * session.project.info.spacing_um**2 / 1e6
    names = session.project.info.class_names
    assert f"{names[1]} {-mm2:+.3f}" in three.train.changed.text()
    assert f"{names[2]} {mm2:+.3f}" in three.train.changed.text()
    _press(three, three.train.compare)
    assert three.controller.layers.layer(CHANGED) is None
    assert three.train.changed.text() == ""


def test_going_back_and_taking_that_back(three) -> None:
    session = three.controller.session
    _choose(three, 2)
    _press(three, three.train.use)
    assert _states(three) == ["set aside", "set aside", "in use"]
    assert session.project.latest_round().number == 1
    assert _shown(three) == 2
    assert not three.train.use.isEnabled()
    assert "is in use" in three.train.use.toolTip()
    assert three.review.undo.isEnabled()
    _press(three, three.review.undo)
    assert _states(three) == ["in use", "done", "done"]
    assert _shown(three) == 3
    _press(three, three.review.redo)
    assert session.project.latest_round().number == 1


def test_a_chosen_round_stays_chosen_when_the_list_grows(three, with_model) -> None:
    session = three.controller.session
    _choose(three, 2)
    with_model(session.project)
    session.rounds_changed()
    three.render_now()
    assert [index.row() for index in three.train.table.selectionModel().selectedRows()] == [3]


def test_a_round_cannot_be_used_while_one_trains(three, qtbot) -> None:
    from napari_unisemalign.session.progress import TrainingProgress

    _choose(three, 2)
    three.controller.session.set_training(TrainingProgress())
    three.render_now()
    assert not three.train.use.isEnabled()
    assert "Something runs" in three.train.use.toolTip()
    three.controller.session.set_training(None)


def test_the_queue_is_of_the_round_in_use(three) -> None:
    from unisemalign.project import RegionState

    session = three.controller.session
    for number in (1, 2):
        session.project.add_region(
            session.slide,
            Rect(64 * number, 64, 48, 48),
            state=RegionState.PREDICTED,
            score=0.5,
            round=number,
        )
    assert [each.round for each in session.queue()] == [2]
    session.use_round(1)
    assert [each.round for each in session.queue()] == [1]
