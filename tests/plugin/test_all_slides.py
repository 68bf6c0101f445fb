"""All slides are segmented one after the other; one that fails does not stop the rest."""

from __future__ import annotations

import shutil

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from standins import PATIENCE_MS

LEFT = Qt.MouseButton.LeftButton
NAMES = ["a", "b", "c"]


@pytest.fixture
def three(dock, drawn_path, tmp_path, with_model):
    """A dock over three slides and a model; the second is on show."""
    paths = [tmp_path / f"{name}.tif" for name in NAMES[1:]]
    for path in paths:
        shutil.copy(drawn_path, path)
    dock.open.add_slides(paths)
    session = dock.controller.session
    assert [each.name for each in session.project.slides()] == NAMES
    with_model(session.project)
    session.rounds_changed()
    dock.controller.opener.show_slide("b")
    dock.render_now()
    return dock


def _press(qtbot, dock, button) -> None:
    dock.render_now()
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, LEFT)


def _predicted(session) -> list[str]:
    return [name for name in NAMES if session.project.has_prediction(1, name)]


def test_all_slides_are_segmented_the_one_on_show_first(three, qtbot) -> None:
    session, order = three.controller.session, []

    def note(_change) -> None:
        progress = session.segmenting
        if progress is not None and progress.slide not in order:
            order.append(progress.slide)

    session.changed.connect(note)
    _press(qtbot, three, three.segment.all)
    three.render_now()
    assert not three.segment.all.isEnabled()
    qtbot.waitUntil(lambda: "c" in order and session.segmenting is None, timeout=PATIENCE_MS)
    assert order == ["b", "a", "c"]
    assert _predicted(session) == NAMES
    assert session.slide == "b"
    three.render_now()
    assert three.segment.error.text() == ""


def test_one_that_fails_is_said_and_the_others_go_on(three, qtbot) -> None:
    session = three.controller.session
    (session.project.root / "fails").write_text("a")
    _press(qtbot, three, three.segment.all)
    qtbot.waitUntil(
        lambda: session.project.has_prediction(1, "c") and session.segmenting is None,
        timeout=PATIENCE_MS,
    )
    assert _predicted(session) == ["b", "c"]
    three.render_now()
    assert "a: The disk is full." in three.segment.error.text()


def test_cancel_stops_them_all(three, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.3")
    session = three.controller.session
    _press(qtbot, three, three.segment.all)
    qtbot.waitUntil(
        lambda: session.segmenting is not None and session.segmenting.done > 0, timeout=PATIENCE_MS
    )
    three.render_now()
    assert "b, 2 more to follow" in three.segment.progress.text()
    _press(qtbot, three, three.segment.cancel)
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    QApplication.processEvents()
    qtbot.wait(300)
    assert session.segmenting is None
    assert _predicted(session) == ["b"]


def test_cancel_stops_them_all_though_the_slide_is_done_first(three, qtbot, monkeypatch) -> None:
    session, server = three.controller.session, three.controller.segmenter.server
    monkeypatch.setattr(server, "cancel", lambda number: None)  # it comes too late
    _press(qtbot, three, three.segment.all)
    qtbot.waitUntil(lambda: session.segmenting is not None, timeout=PATIENCE_MS)
    three.controller.segmenter.cancel()
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    qtbot.wait(300)
    assert session.segmenting is None
    assert _predicted(session) == ["b"]


def test_without_a_model_the_button_says_so(dock) -> None:
    dock.render_now()
    assert not dock.segment.all.isEnabled()
    assert "Press Start in Train" in dock.segment.all.toolTip()
