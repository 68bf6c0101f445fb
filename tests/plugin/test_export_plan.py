"""Export says what of each slide it would write, before it writes, and writes what is ticked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from standins import PATIENCE_MS

from unisemalign.geometry import Rect
from unisemalign.slides.synthetic import draw_slide

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def two(dock, tmp_path: Path):
    """The dock with a second slide in its project, and the first on show."""
    session = dock.controller.session
    session.add_slide(draw_slide(tmp_path / "b.tif", size_px=512, seed=1))
    session.show_slide("a")
    dock.render_now()
    dock.controller.viewer.window._qt_window.show()
    return dock


def _plan(dock, qtbot) -> list[str]:
    dock.render_now()
    QTest.mouseClick(dock.export.export, LEFT)
    qtbot.waitUntil(lambda: dock.export.plan.count() > 0, timeout=PATIENCE_MS)
    dock.render_now()
    return [dock.export.plan.item(row).text() for row in range(dock.export.plan.count())]


def _write(dock, qtbot) -> None:
    dock.render_now()
    QTest.mouseClick(dock.export.write, LEFT)
    qtbot.waitUntil(lambda: "Wrote" in dock.export.status.text(), timeout=PATIENCE_MS)


def test_each_slide_is_told_before_anything_is_written(two, qtbot, tmp_path) -> None:
    two.export.folder.setText(str(tmp_path / "out"))
    assert two.export.write.isHidden()
    lines = _plan(two, qtbot)
    assert lines == [
        f"{name} → {name}.png: labels alone, 10.0 % labelled, 50.0 % of the tissue covered."
        for name in ("a", "b")
    ]
    assert not (tmp_path / "out").exists()
    assert two.export.write.text() == "Write 2 slides"
    _write(two, qtbot)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    assert two.export.write.isHidden()


def test_what_is_unticked_is_not_written(two, qtbot, tmp_path) -> None:
    two.export.folder.setText(str(tmp_path / "out"))
    _plan(two, qtbot)
    view = two.export.plan
    two.scroll_area.ensureWidgetVisible(view)
    box = view.visualItemRect(view.item(0))
    QTest.mouseClick(view.viewport(), LEFT, pos=box.topLeft() + QPoint(10, box.height() // 2))
    assert two.export.chosen_slides() == ["b"]
    assert two.export.write.text() == "Write 1 slide"
    _write(two, qtbot)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


def test_the_slide_on_show_alone(two, qtbot) -> None:
    _plan(two, qtbot)
    QTest.mouseClick(two.export.shown_alone, LEFT)
    assert two.export.chosen_slides() == ["a"]


def test_a_plan_is_forgotten_when_there_is_something_else_to_write(two, qtbot) -> None:
    session = two.controller.session
    _plan(two, qtbot)
    session.mark_region(Rect(64, 64, 64, 64))
    session.strokes_made(np.full((64, 64), 1, np.uint8))
    session.accept()
    two.render_now()
    assert two.export.write.isHidden()
    _plan(two, qtbot)
    two.export.format.setCurrentIndex(1)
    assert two.export.write.isHidden()
