"""Classes are changed in the dock, with real clicks and typing, and that can be taken back."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox

from napari_unisemalign.canvas.overlays import EDITING, PREDICTION
from napari_unisemalign.widgets.classes_dialog import ClassesDialog
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project

LEFT = Qt.MouseButton.LeftButton


def _in_dialog(dock, act, press=QDialogButtonBox.StandardButton.Ok) -> list[str]:
    """Press Classes…, do ``act`` in the dialog, press ``press``; return what it complained of."""
    problems = []

    def work() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, ClassesDialog)
        act(dialog)
        QTimer.singleShot(500, give_up)
        QTest.mouseClick(dialog.buttons.button(press), LEFT)

    def give_up() -> None:
        """Cancel the dialog if it is still there, or there again, with its complaint."""
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, ClassesDialog):
            problems.append(dialog.problem.text())
            QTest.mouseClick(dialog.buttons.button(QDialogButtonBox.StandardButton.Cancel), LEFT)

    dock.controller.layers.viewer.window._qt_window.show()
    dock.scroll_area.ensureWidgetVisible(dock.open.classes)
    QApplication.processEvents()
    QTimer.singleShot(300, work)
    QTest.mouseClick(dock.open.classes, LEFT)
    dock.render_now()
    QApplication.processEvents()
    return problems


def _type(field, text: str) -> None:
    field.selectAll()
    QTest.keyClicks(field, text)


@pytest.fixture
def painting(dock, with_model, with_prediction):
    """A dock with a prediction and an open region."""
    session = dock.controller.session
    with_prediction(session.project, with_model(session.project), session.slide)
    session.rounds_changed()
    session.predicted()
    dock.controller.reviewer.mark_region(256)
    dock.render_now()
    return dock


def test_a_renamed_class_is_renamed_wherever_it_shows(painting) -> None:
    session = painting.controller.session
    old = session.project.info.class_names
    assert _in_dialog(painting, lambda dialog: _type(dialog.rows[1].name, "ducts")) == []
    assert session.project.info.class_names == (old[0], "ducts", *old[2:])
    assert painting.review.classes.buttons[2].text() == "ducts"
    layer = painting.controller.layers.layer(PREDICTION)
    assert list(layer.features["class"])[2] == "ducts"
    assert "ducts" in session.area
    assert session.edit is not None  # the region is under the brush still
    with Project.open(session.project.root) as again:
        assert again.info.classes[1].former == (old[1],)


def test_an_added_class_can_be_painted_at_once_and_taken_back(painting) -> None:
    session = painting.controller.session
    before = session.project.info.classes
    count = len(before)

    def add(dialog) -> None:
        QTest.mouseClick(dialog.add, LEFT)
        QTest.keyClicks(dialog.rows[-1].name, "vessel")

    assert _in_dialog(painting, add) == []
    button = painting.review.classes.buttons[count + 1]
    assert button.text() == "vessel"
    QTest.mouseClick(button, LEFT)
    editing = painting.controller.layers.layer(EDITING)
    assert editing.selected_label == count + 1
    color = np.asarray(editing.colormap.color_dict[count + 1])
    assert color[3] == 1
    session.close_region()
    painting.render_now()
    assert "class edit" in painting.review.undo.text()
    QTest.mouseClick(painting.review.undo, LEFT)
    painting.render_now()
    assert session.project.info.classes == before
    QTest.mouseClick(painting.review.redo, LEFT)
    assert session.project.info.class_names[-1] == "vessel"


def test_a_class_that_is_used_stays_and_the_sentence_says_why(painting) -> None:
    session = painting.controller.session
    session.edit.values[:] = len(session.project.info.classes)
    session.strokes_made(session.edit.values)
    session.accept()
    painting.render_now()
    before = session.project.info.classes
    problems = _in_dialog(painting, lambda dialog: QTest.mouseClick(dialog.rows[-1].remove, LEFT))
    assert session.project.info.classes == before
    assert "Removing a class needs it to be unused" in problems[0]


def test_bad_names_do_not_leave_the_dialog(dock) -> None:
    before = dock.controller.session.project.info.classes
    same = before[0].name.upper()
    assert "same name" in _in_dialog(dock, lambda d: _type(d.rows[1].name, same))[0]

    def empty(dialog) -> None:
        dialog.rows[0].name.selectAll()
        QTest.keyClick(dialog.rows[0].name, Qt.Key.Key_Delete)

    assert "no name" in _in_dialog(dock, empty)[0]
    assert dock.controller.session.project.info.classes == before
    cancel = QDialogButtonBox.StandardButton.Cancel
    assert _in_dialog(dock, lambda d: _type(d.rows[0].name, "x"), cancel) == []
    assert dock.controller.session.project.info.classes == before


def test_only_the_last_class_can_go(dock) -> None:
    def look(dialog) -> None:
        enabled = [row.remove.isEnabled() for row in dialog.rows]
        assert enabled == [False] * (len(enabled) - 1) + [True]
        assert "Only the last" in dialog.rows[0].remove.toolTip()

    assert _in_dialog(dock, look, QDialogButtonBox.StandardButton.Cancel) == []


def test_the_engine_learns_of_new_classes(painting, qtbot) -> None:
    controller = painting.controller
    server = controller.segmenter.server
    server.warm_up()
    qtbot.waitUntil(lambda: server.ready)
    first = server._process
    info = controller.session.project.info.classes
    controller.opener.set_classes([info[0].changed(name="other", color=info[0].color), *info[1:]])
    qtbot.waitUntil(lambda: server.ready and server._process is not first)


def test_a_class_is_merged_into_another_and_taken_back(dock, qtbot) -> None:
    session = dock.controller.session
    project = session.project
    rects = [Rect(0, 0, 64, 64), Rect(600, 0, 64, 64)]  # chunks of their own
    for rect, value in zip(rects, (1, 2), strict=True):
        values = np.full(rect.shape, value, np.uint8)
        edit = LabelEdit(rect, values, Origin.DRAWN, regions=(rect,))
        project.accept(session.slide, [edit], action="accept")
    session.rounds_changed()
    names = project.info.class_names

    def choose(dialog) -> None:
        for box, name in ((dialog.merged, names[1]), (dialog.into, names[0])):
            box.setFocus()
            QTest.keyClicks(box, name)
            assert box.currentText() == name

    assert _in_dialog(dock, choose) == []
    labels = project.labels(session.slide)
    assert (labels.read(rects[1]) == 1).all()
    assert (labels.read_origin(rects[1]) == Origin.DRAWN).all()
    assert project.info.class_names == names
    assert dock.review.undo.text() == "Undo merge classes"
    QTest.mouseClick(dock.review.undo, LEFT)
    dock.render_now()
    assert (labels.read(rects[0]) == 1).all()
    assert (labels.read(rects[1]) == 2).all()


def test_a_class_is_not_merged_into_itself(dock) -> None:
    def choose(dialog) -> None:
        dialog.merged.setFocus()
        QTest.keyClicks(dialog.merged, dialog.into.currentText())

    assert "into itself" in _in_dialog(dock, choose)[0]
