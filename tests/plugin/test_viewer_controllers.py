"""The session belongs to the viewer: docks come and go, and the window asks before it closes."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QApplication, QMainWindow
from standins import FAKE_ENGINE, PATIENCE_MS

from napari_unisemalign.actions import closing
from napari_unisemalign.actions.closing import StrokesAnswer, TrainingAnswer
from napari_unisemalign.widgets.dock import DockWidget
from unisemalign.errors import ProjectError
from unisemalign.project import Project

LEFT = Qt.MouseButton.LeftButton


def _close_dock(dock: DockWidget, qtbot) -> None:
    """Press the dock's ×."""
    window = dock.controller.viewer.window
    window._qt_window.show()
    wrapper = window._wrapped_dock_widgets["Segment slides"]
    qtbot.mouseClick(wrapper.title.close_button, LEFT)
    assert "Segment slides" not in window._wrapped_dock_widgets


def _paint(controller, value: int = 2) -> None:
    layer = controller.layers.editing()
    layer.data[:40] = value
    layer.events.set_data()


def _window(dock: DockWidget) -> QMainWindow:
    widget = dock
    while not isinstance(widget, QMainWindow):
        widget = widget.parentWidget()
    return widget


def _close_event(window: QMainWindow) -> bool:
    """Send what a press on the window's × sends; tell whether somebody held it open."""
    event = QCloseEvent()
    QApplication.sendEvent(window, event)
    return not event.isAccepted()


def test_a_new_dock_shows_the_session_of_the_old(dock, qtbot) -> None:
    controller, session = dock.controller, dock.controller.session
    viewer = controller.viewer
    controller.reviewer.mark_region(128)
    _paint(controller)
    controller.trainer.choice.choose("training.steps", 25)
    qtbot.wait(20)
    _close_dock(dock, qtbot)
    qtbot.waitUntil(lambda: not isalive(dock), timeout=PATIENCE_MS)
    assert not controller.closed
    layer = controller.layers.editing()
    layer.mode = "erase"
    _paint(controller, 3)  # nobody shows it, and nothing goes wrong
    again = DockWidget(viewer)
    viewer.window.add_dock_widget(again, name="Segment slides")
    assert again.controller is controller
    again.render_now()
    assert again.open.slides.topLevelItemCount() == 1
    assert again.train.form.fields["training.steps"].value == 25
    assert again.review.accept.isVisibleTo(again)
    region = session.edit.region
    again.review.accept.click()
    assert (session.project.labels("a").read(region.rect)[:40] == 3).all()
    again.render_now()
    assert not any(section.error.text() for section in again.sections.values())


def test_two_docks_of_one_viewer_share_the_session(dock) -> None:
    viewer = dock.controller.viewer
    other = DockWidget(viewer)
    viewer.window.add_dock_widget(other, name="Another")
    assert other.controller is dock.controller


def _train(dock, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.02")
    controller = dock.controller
    controller.reviewer.mark_region(128)
    for value in range(1, 6):
        controller.layers.editing().data[value * 5 : value * 5 + 5] = value
    controller.layers.editing().events.set_data()
    controller.reviewer.accept()
    controller.trainer.choice.choose("training.steps", 600)
    controller.trainer.start()
    qtbot.waitUntil(lambda: controller.session.training.step > 1, timeout=PATIENCE_MS)


def test_closing_over_a_training_asks(dock, qtbot, monkeypatch) -> None:
    qtbot.wait(20)
    window, controller = _window(dock), dock.controller
    asked, root = [], dock.controller.session.project.root

    def answer(_window, given=TrainingAnswer.STAY):
        asked.append(given)
        return given

    monkeypatch.setattr(closing, "ask_about_training", answer)
    assert not controller.close_guard.eventFilter(window, QCloseEvent())
    assert not asked, "nothing runs"
    _train(dock, qtbot, monkeypatch)
    assert _close_event(window)
    assert len(asked) == 1
    assert controller.session.training is not None
    monkeypatch.setattr(closing, "ask_about_training", lambda _window: TrainingAnswer.STOP)
    assert not controller.close_guard.eventFilter(window, QCloseEvent())
    controller.shut_down()
    with Project.open(root) as project:
        assert project.training_pid() is None


def test_a_training_goes_on_without_the_viewer(dock, qtbot, monkeypatch) -> None:
    qtbot.wait(20)
    window, controller = _window(dock), dock.controller
    root = controller.session.project.root
    _train(dock, qtbot, monkeypatch)
    monkeypatch.setattr(closing, "ask_about_training", lambda _window: TrainingAnswer.GO_ON)
    assert not controller.close_guard.eventFilter(window, QCloseEvent())
    controller.shut_down()
    with Project.open(root) as project:
        qtbot.waitUntil(lambda: project.rounds()[-1].state == "done", timeout=PATIENCE_MS)
        qtbot.waitUntil(lambda: project.training_pid() is None, timeout=PATIENCE_MS)


def test_strokes_without_a_disk_hold_the_window_open(dock, qtbot, monkeypatch) -> None:
    qtbot.wait(20)
    window, controller = _window(dock), dock.controller
    controller.reviewer.mark_region(128)
    _paint(controller)
    told = []

    def full(*_args, **_kwargs):
        raise ProjectError("The disk is full.")

    def answer(_window, why: str) -> StrokesAnswer:
        told.append(why)
        return answers.pop(0)

    monkeypatch.setattr(closing, "ask_about_strokes", answer)
    with monkeypatch.context() as patch:
        patch.setattr("napari_unisemalign.session.drafts.Drafts.save", full)
        answers = [StrokesAnswer.RETRY, StrokesAnswer.STAY]
        assert _close_event(window)
        assert told == ["The disk is full."] * 2
        assert controller.session.edit.dirty
        answers = [StrokesAnswer.DISCARD]
        assert not controller.close_guard.eventFilter(window, QCloseEvent())
    assert np.asarray(controller.layers.editing().data).any()


@pytest.mark.parametrize("engine", [FAKE_ENGINE])
def test_a_script_closes_a_viewer_unasked(make_dock, root, qtbot, monkeypatch, engine) -> None:
    monkeypatch.setattr(closing, "ask_about_training", lambda _window: pytest.fail("asked"))
    dock = make_dock(engine)
    dock.controller.opener.open_project(root)
    qtbot.wait(20)
    _train(dock, qtbot, monkeypatch)
    controller = dock.controller
    controller.viewer.close()
    qtbot.waitUntil(lambda: controller.closed, timeout=PATIENCE_MS)
