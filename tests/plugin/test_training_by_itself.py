"""A round starts by itself once enough regions are new, where a person asked for that."""

from __future__ import annotations

from qtpy.QtCore import QPoint, Qt
from standins import PATIENCE_MS

from napari_unisemalign.actions import train

LEFT = Qt.MouseButton.LeftButton


def _accept(dock, row: int) -> None:
    """Accept a region of all classes, as the reviewer does."""
    controller = dock.controller
    controller.layers.viewport.camera.center = (0, 64 + 8.0 * row, 64 + 8.0 * row)
    controller.reviewer.mark_region(64)
    layer = controller.layers.editing()
    n = len(controller.session.project.info.classes)
    for value in range(1, n + 1):
        layer.data[value * 4 : (value + 1) * 4] = value
    layer.events.set_data()
    controller.reviewer.accept()
    dock.render_now()


def test_it_starts_after_enough_regions_and_not_before(dock, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(train, "REGIONS_FOR_A_ROUND", 3)
    session = dock.controller.session
    began = []
    session.changed.connect(lambda _: began.append(1) if session.training is not None else None)
    dock.render_now()
    dock.scroll_area.ensureWidgetVisible(dock.train.by_itself)
    assert "10 new regions" in dock.train.by_itself.text()
    _accept(dock, 0)
    box = dock.train.by_itself
    qtbot.mouseClick(box, LEFT, pos=QPoint(8, box.height() // 2))
    assert dock.controller.trainer.starts_by_itself
    _accept(dock, 1)
    qtbot.wait(200)
    assert not began
    _accept(dock, 2)
    qtbot.waitUntil(
        lambda: bool(session.rounds()) and session.training is None, timeout=PATIENCE_MS
    )
    assert [each.number for each in session.rounds()] == [1]
    qtbot.wait(300)
    assert len(session.rounds()) == 1  # the regions it learned from are not new any more


def test_it_does_not_unless_asked(dock, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(train, "REGIONS_FOR_A_ROUND", 2)
    for row in range(3):
        _accept(dock, row)
    qtbot.wait(300)
    assert dock.controller.session.rounds() == []


def test_a_round_that_fails_is_not_begun_again_and_again(dock, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(train, "REGIONS_FOR_A_ROUND", 2)
    trainer, session = dock.controller.trainer, dock.controller.session
    starts = []
    monkeypatch.setattr(trainer, "_start", lambda options: starts.append(options))
    trainer.set_starts_by_itself(True)
    for row in range(3):
        _accept(dock, row)
        qtbot.wait(50)
    assert len(starts) == 1
    session.rounds_changed()
    session.set_training(None)
    qtbot.wait(50)
    assert len(starts) == 1
    _accept(dock, 3)
    qtbot.wait(50)
    assert len(starts) == 2
