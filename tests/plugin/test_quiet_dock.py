"""The dock keeps still and obeys: with real keys, clicks and wheels."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QWidget
from standins import PATIENCE_MS

from napari_unisemalign.canvas.keys import KEYS, KEYS_IN_WORDS
from napari_unisemalign.widgets.keys_dialog import KeysDialog
from napari_unisemalign.widgets.quiet_dock import canvas_of
from unisemalign.project import RegionState

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def seat(dock, qtbot):
    """The dock in a window on the screen, with its canvas."""
    window = dock.controller.viewer.window._qt_window
    window.resize(1366, 740)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=PATIENCE_MS)
    dock.render_now()
    return dock, canvas_of(window)


def _focused(widget: QWidget, qtbot) -> None:
    QTest.mouseClick(widget, LEFT, pos=QPoint(10, widget.height() // 2))
    qtbot.waitUntil(lambda: QApplication.focusWidget() in {widget, widget.focusProxy()})


def _wheel(widget: QWidget) -> None:
    middle = QPointF(widget.rect().center())
    QApplication.sendEvent(
        widget,
        QWheelEvent(
            middle,
            widget.mapToGlobal(middle),
            QPoint(0, 0),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        ),
    )


@pytest.mark.parametrize(
    ("address", "typed", "kept"),
    [
        ("views.crop_px", "128", 128),
        ("views.crop_px", "7", 32),  # below the least: checked when the field is left
        ("training.steps", "250", 250),
        ("training.learning_rate", "0.0005", 0.0005),
    ],
)
def test_typed_numbers_are_what_was_typed(seat, qtbot, address, typed, kept) -> None:
    dock, canvas = seat
    dock.train.fold.setChecked(True)
    QApplication.processEvents()
    field = dock.train.form.fields[address]
    dock.scroll_area.ensureWidgetVisible(field.native)
    field.native.setFocus()
    field.native.selectAll()
    QTest.keyClicks(field.native, typed)
    assert field.native.text() == typed
    QTest.keyClick(field.native, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: QApplication.focusWidget() is canvas, timeout=PATIENCE_MS)
    assert dock.controller.trainer.choice.value(address) == pytest.approx(kept)


def test_a_number_half_typed_is_taken_when_a_button_is_pressed(seat) -> None:
    dock, _ = seat
    dock.train.fold.setChecked(True)
    QApplication.processEvents()
    field = dock.train.form.fields["training.steps"]
    field.native.setFocus()
    field.native.selectAll()
    QTest.keyClicks(field.native, "33")
    assert dock.controller.trainer.choice.value("training.steps") != 33
    QTest.mousePress(dock.review.mark, LEFT)
    assert dock.controller.trainer.choice.value("training.steps") == 33
    QTest.mouseRelease(dock.review.mark, LEFT, pos=QPoint(-50, -50))


def test_no_field_takes_the_wheel_without_the_focus(seat) -> None:
    dock, canvas = seat
    canvas.setFocus()
    fields = [*dock.findChildren(QAbstractSpinBox), *dock.findChildren(QComboBox)]
    assert len(fields) > 8
    for each in fields:
        before = each.currentIndex() if isinstance(each, QComboBox) else each.text()
        _wheel(each)
        assert before == (each.currentIndex() if isinstance(each, QComboBox) else each.text())


def test_after_every_click_in_the_dock_the_canvas_has_the_keys(seat, qtbot) -> None:
    dock, canvas = seat
    session = dock.controller.session
    dock.train.fold.setChecked(True)
    QApplication.processEvents()
    number = dock.train.form.fields["training.steps"].native
    for pressed in (dock.train.fold, dock.review.mark, dock.review.hold, dock.train.fold):
        number.setFocus()
        QTest.mouseClick(pressed, LEFT, pos=QPoint(8, pressed.height() // 2))
        qtbot.waitUntil(lambda: QApplication.focusWidget() is canvas, timeout=PATIENCE_MS)
    assert session.edit is not None
    QTest.keyClick(canvas, Qt.Key.Key_K)
    assert session.edit is None
    assert session.project.regions()[0].state is RegionState.SKIPPED


def test_tools_are_in_reach_however_far_the_dock_is_scrolled(seat, qtbot) -> None:
    dock, _ = seat
    QTest.mouseClick(dock.review.mark, LEFT)
    dock.render_now()
    for value in (0, dock.scroll_area.verticalScrollBar().maximum()):
        dock.scroll_area.verticalScrollBar().setValue(value)
        QApplication.processEvents()
        tools = (dock.review.accept, dock.review.skip, dock.review.next, dock.review.mark)
        brushes = (*dock.review.modes.values(), *dock.review.classes.buttons.values())
        for each in (*tools, *brushes):
            assert each.visibleRegion().boundingRect() == each.rect(), each.text()
    assert dock.scroll_area.height() > 200


def test_nothing_scrolls_by_itself(seat) -> None:
    dock, _ = seat
    dock.train.fold.setChecked(True)
    QApplication.processEvents()
    bar = dock.scroll_area.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    before = bar.value()
    assert before > 0
    dock.controller.errors.report("train", "Something failed. Do something else.")
    dock.controller.session.rounds_changed()
    dock.render_now()
    QTest.qWait(50)
    assert bar.value() == before
    assert dock.alert.text() == "Something failed. Do something else."
    assert dock.alert.visibleRegion().boundingRect().height() > 5
    QTest.mouseClick(dock.review.mark, LEFT)
    assert dock.alert.text() == ""


def test_class_brush_and_mode_stay_from_region_to_region(seat, qtbot) -> None:
    dock, canvas = seat
    layers = dock.controller.layers
    canvas.setFocus()
    QTest.keyClick(canvas, Qt.Key.Key_R)
    QTest.keyClick(canvas, Qt.Key.Key_3, Qt.KeyboardModifier.AltModifier)
    assert layers.editing().selected_label == 3
    layers.editing().brush_size = 33
    QTest.mouseClick(dock.review.modes["fill"], LEFT)
    QTest.keyClick(canvas, Qt.Key.Key_K)
    assert layers.editing() is None
    QTest.keyClick(canvas, Qt.Key.Key_R)
    layer = layers.editing()
    assert (layer.selected_label, layer.brush_size, str(layer.mode)) == (3, 33, "fill")
    QTest.keyClick(canvas, Qt.Key.Key_9, Qt.KeyboardModifier.AltModifier)  # no such class
    assert layer.selected_label == 3


def test_the_keys_are_listed(seat, qtbot) -> None:
    dock, canvas = seat
    canvas.setFocus()
    QTest.keyClick(canvas, Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: bool(dock.findChildren(KeysDialog)), timeout=PATIENCE_MS)
    dialog = dock.findChildren(KeysDialog)[0]
    QTest.keyClick(dialog, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not dock.findChildren(KeysDialog), timeout=PATIENCE_MS)


def test_everything_that_is_pressed_or_typed_into_says_what_it_is(seat) -> None:
    dock, _ = seat
    silent = [
        each
        for kind in (QAbstractSpinBox, QComboBox, type(dock.review.accept))
        for each in dock.findChildren(kind)
        if not each.toolTip() and each.objectName() != "qt_spinbox_lineedit"
    ]
    assert not silent


def test_the_window_says_which_project(seat) -> None:
    dock, _ = seat
    assert dock.controller.viewer.title == "study – napari"


def test_every_key_stands_in_the_list_of_keys() -> None:
    said = " ".join(KEYS_IN_WORDS)
    for key in KEYS:
        plain = key.replace("Control", "Ctrl").replace("-", "+")
        assert plain in KEYS_IN_WORDS or (plain[:-1] == "Alt+" and "Alt+1 … Alt+9" in said), key
