"""Tidying the chosen class of a region: what each act does, and that it is a stroke like any."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unisemalign.canvas.tidying import STEP_PX, TIDYING, fill_holes, grow, shrink, smooth


def _square(side: int = 20, label: int = 1) -> np.ndarray:
    values = np.full((40, 40), 2, np.uint8)
    start = (40 - side) // 2
    values[start : start + side, start : start + side] = label
    return values


def test_growing_and_shrinking_move_the_outline_by_a_step() -> None:
    values = _square()
    wider = grow(values, 1) == 1
    assert wider[20].sum() == 20 + 2 * STEP_PX
    assert wider[:, 20].sum() == 20 + 2 * STEP_PX
    narrower = shrink(values, 1)
    assert (narrower[20] == 1).sum() == 20 - 2 * STEP_PX
    assert set(np.unique(narrower)) == {1, 2}


def test_what_shrinks_goes_to_its_nearest_neighbour_and_nothing_to_nobody() -> None:
    values = _square()
    values[:, :20][values[:, :20] == 2] = 3
    narrower = shrink(values, 1)
    assert narrower[20, 10] == 3
    assert narrower[20, 29] == 2
    alone = np.ones((10, 10), np.uint8)
    assert (shrink(alone, 1) == 1).all()
    unlabelled = _square(label=1)
    unlabelled[unlabelled == 2] = 0
    assert (shrink(unlabelled, 1) == 1).sum() < 400
    assert set(np.unique(shrink(unlabelled, 1))) == {0, 1}


def test_smoothing_takes_spikes_and_notches_and_leaves_a_straight_edge() -> None:
    values = _square()
    values[20, 2:10] = 1  # a spike, one pixel thick
    values[20, 26:30] = 2  # a notch
    smoothed = smooth(values, 1)
    assert not (smoothed[20, 2:8] == 1).any()
    assert (smoothed[20, 26:29] == 1).all()
    assert (smoothed[14:18, 10:12] == 1).all()
    assert (smoothed[14:18, 8:10] == 2).all()


def test_holes_are_filled_and_bays_are_not() -> None:
    values = _square()
    values[18:22, 18:22] = 3
    values[10:12, 18:22] = 3  # open to the outside
    filled = fill_holes(values, 1)
    assert (filled[18:22, 18:22] == 1).all()
    assert (filled[10:12, 18:22] == 3).all()


@pytest.mark.parametrize("name", TIDYING)
def test_tidying_keeps_the_kind_of_array_and_the_other_classes_names(name: str) -> None:
    values = np.random.default_rng(0).integers(0, 4, (30, 30)).astype(np.uint8)
    before = values.copy()
    new = TIDYING[name](values, 2)
    assert new.dtype == np.uint8
    assert new.shape == values.shape
    assert set(np.unique(new)) <= {0, 1, 2, 3}
    assert np.array_equal(values, before)


def test_the_menu_tidies_as_one_stroke_that_is_kept_and_taken_back(dock, qtbot) -> None:
    controller, session = dock.controller, dock.controller.session
    controller.reviewer.mark_region(128)
    controller.layers.viewer.window._qt_window.show()
    layer = controller.layers.editing()
    layer.data_setitem(np.nonzero(np.hypot(*np.ogrid[-64:64, -64:64]) < 20), 1)
    layer.selected_label = 1
    before, strokes = np.asarray(layer.data).copy(), session.edit.strokes
    dock.render_now()
    button = dock.review.tidy
    assert button.isVisible()
    QTest.qWait(200)

    def choose() -> None:
        menu = button.menu()
        place = menu.actionGeometry(menu.actions()[0]).center()
        QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=QPoint(place.x(), place.y()))

    from qtpy.QtCore import QTimer

    QTimer.singleShot(300, choose)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    after = np.asarray(controller.layers.editing().data)
    assert (after == 1).sum() > (before == 1).sum()
    assert session.edit.strokes > strokes
    assert np.array_equal(session.edit.values, after)
    QTest.mouseClick(dock.review.undo, Qt.MouseButton.LeftButton)
    assert np.array_equal(np.asarray(controller.layers.editing().data), before)


def test_a_polygon_is_drawn_with_clicks(dock, qtbot) -> None:
    controller = dock.controller
    controller.reviewer.mark_region(256)
    controller.layers.viewer.window._qt_window.show()
    dock.render_now()
    QTest.qWait(300)
    QTest.mouseClick(dock.review.modes["polygon"], Qt.MouseButton.LeftButton)
    layer = controller.layers.editing()
    assert str(layer.mode) == "polygon"
    layer.selected_label = 2
    canvas = controller.layers.viewer.window._qt_viewer.canvas.native
    middle = canvas.rect().center()
    corners = [QPoint(-40, -40), QPoint(40, -40), QPoint(40, 40)]
    for corner in corners:
        QTest.mouseMove(canvas, middle + corner)
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=middle + corner)
        QTest.qWait(20)
    QTest.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(-40, 40))
    QTest.qWait(50)
    painted = np.asarray(layer.data) == 2
    assert painted.any()
    assert controller.session.edit.touched[painted].all()
