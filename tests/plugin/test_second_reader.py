"""A second reader sees what was sent to them alone, agrees or corrects; agreement is a number."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox

from napari_unisemalign.actions import own_settings
from napari_unisemalign.actions.persons import own_name
from napari_unisemalign.widgets.person_dialog import PersonDialog
from unisemalign.geometry import Rect
from unisemalign.project import Origin


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(own_settings, "_place", lambda name: tmp_path / "own" / name)
    (tmp_path / "own").mkdir()


def _press(dock, button) -> None:
    assert button.isVisibleTo(dock)
    dock.scroll_area.ensureWidgetVisible(button)
    QApplication.processEvents()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    dock.render_now()


def _typed(person: str | None, reader: str | None) -> list[PersonDialog]:
    """Type names into the dialog that comes, and press OK."""
    seen: list[PersonDialog] = []

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, PersonDialog):
            QTimer.singleShot(50, answer)
            return
        seen.append(dialog)
        if person is not None:
            dialog.person.selectAll()
            QTest.keyClicks(dialog.person, person)
        if reader is not None:
            dialog.reader.lineEdit().selectAll()
            QTest.keyClicks(dialog.reader.lineEdit(), reader)
        ok = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok)
        QTest.mouseClick(ok, Qt.MouseButton.LeftButton)

    QTimer.singleShot(50, answer)
    return seen


def _region(dock, y: int, value: int):
    """Mark a region, fill it and send it to B. Second."""
    session = dock.controller.session
    session.mark_region(Rect(y, 0, 128, 128))
    dock.render_now()
    layer = dock.controller.layers.editing()
    layer.data[:] = value
    session.strokes_made(np.asarray(layer.data))
    region = session.edit.region
    _typed("A. First" if y == 0 else None, "B. Second")
    _press(dock, dock.review.send)
    assert session.edit is None
    return region


@pytest.fixture
def sent(dock, qtbot):
    """A dock with two accepted regions that wait for B. Second, and one that does not."""
    dock.controller.layers.viewer.window._qt_window.show()
    session = dock.controller.session
    regions = [_region(dock, 0, 1), _region(dock, 200, 2)]
    session.mark_region(Rect(0, 200, 128, 128))
    session.close_region()
    dock.render_now()
    return dock, regions


def test_what_was_sent_waits_and_is_said(sent) -> None:
    dock, regions = sent
    project = dock.controller.session.project
    readings = project.second_readings()
    assert [(r.region_id, r.sent_by, r.reader) for r in readings] == [
        (region.id, "A. First", "B. Second") for region in regions
    ]
    assert dock.review.readings.text() == "Second reader B. Second: 2 waiting."
    assert set(project.edit_persons().values()) == {"A. First"}


def test_the_second_reader_sees_only_that_agrees_and_corrects(sent) -> None:
    dock, regions = sent
    session, review = dock.controller.session, dock.review
    seen = _typed("B. Second", None)
    _press(dock, review.read)
    assert not seen[0].reader.isVisible()
    assert session.reader == "B. Second"
    assert {each.id for each in session.queue()} == {region.id for region in regions}
    assert review.queue.count() == 2
    assert review.accept.text() == "Agree (C)"
    assert not review.skip.isVisibleTo(dock)
    assert not review.mark.isEnabled()
    first = session.edit.region
    assert (dock.controller.layers.editing().data == 1).all()  # the first reader's labels
    _press(dock, review.accept)
    assert [each.agreement for each in session.project.second_readings()] == [1.0, None]

    _press(dock, review.next)
    assert session.edit.region.id != first.id
    layer = dock.controller.layers.editing()
    layer.data[:32] = 1  # a quarter is another class for them
    session.strokes_made(np.asarray(layer.data))
    _press(dock, review.accept)
    assert [each.agreement for each in session.project.second_readings()] == [1.0, 0.75]
    labels = session.project.labels(session.slide)
    assert (labels.read(regions[1].rect)[:32] == 1).all()
    assert (labels.read_origin(regions[1].rect)[:32] == Origin.CORRECTED).all()
    assert set(session.project.edit_persons().values()) == {"A. First", "B. Second"}
    assert "agreement 87.5\u00a0% of the pixels in 2 regions" in review.readings.text()

    _press(dock, review.read)  # stop reading
    assert session.reader == ""
    assert len(session.queue()) == 1
    _press(dock, review.undo)
    assert (labels.read(regions[1].rect)[:32] == 2).all()


def test_one_cannot_read_ones_own_region_again(dock, qtbot) -> None:
    dock.controller.layers.viewer.window._qt_window.show()
    session = dock.controller.session
    session.mark_region(Rect(0, 0, 128, 128))
    dock.render_now()
    layer = dock.controller.layers.editing()
    layer.data[:] = 1
    session.strokes_made(np.asarray(layer.data))
    _typed("A. First", "A. First")
    _press(dock, dock.review.send)
    assert "somebody else than 'A. First'" in dock.review.error.text()
    assert session.edit is not None  # nothing was accepted
    assert not session.project.second_readings()


@pytest.mark.parametrize("content", [None, [], {"name": 3}, {"name": "x" * 500}, {"name": "a\x1b"}])
def test_an_odd_file_of_ones_own_name_is_none(content) -> None:
    own_settings.write_own("person.json", content)
    assert own_name() == ""
