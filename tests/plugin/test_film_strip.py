"""The strip of regions: pictures, mouse and keys along it; accepting what the model is sure of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QSize, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unisemalign.session.thumbnails import SIDE_PX, draw_thumbnail
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Region, RegionState, Split
from unisemalign.project.colors import rgb

RECTS = [Rect(0, 0, 128, 128), Rect(0, 200, 128, 96), Rect(200, 0, 128, 128)]


@pytest.fixture
def strip(dock, with_model, qtbot):
    """A dock with three ranked regions; the model is sure in the second and third alone."""
    session = dock.controller.session
    project = session.project
    number = with_model(project)
    h, w = session.spaced_slide(session.slide).shape_yx
    confidence = np.full((h, w), 150, np.uint8)
    for rect in RECTS[1:]:
        confidence[rect.slices] = 250
    store = project.predictions(number, session.slide, create=True)
    classes = np.full((h, w), 2, np.uint8)
    store.write(
        Rect(0, 0, h, w), classes=classes, confidence=confidence, disagreement=classes * np.uint8(0)
    )
    state, split = RegionState.PREDICTED, Split.TRAIN
    project.replace_queue(
        Region(0, session.slide, rect, state, split, 1.0 - k / 10, f"reason {k}", number)
        for k, rect in enumerate(RECTS)
    )
    session.rounds_changed()
    session.set_ranking(False)
    session.predicted()
    dock.controller.layers.viewer.window._qt_window.show()
    dock.render_now()
    QApplication.processEvents()
    return dock


def _texts(dock) -> list[str]:
    queue = dock.review.queue
    return [queue.item(row).text() for row in range(queue.count())]


def _open_rect(dock) -> Rect | None:
    edit = dock.controller.session.edit
    return None if edit is None else edit.region.rect


def _key(dock, key, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    canvas = dock.controller.layers.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    QTest.keyClick(canvas, key, modifier)
    QApplication.processEvents()
    dock.render_now()


def test_each_region_has_its_picture_and_reason(strip, qtbot) -> None:
    queue = strip.review.queue
    assert [text.splitlines()[-1] for text in _texts(strip)] == ["reason 0", "reason 1", "reason 2"]
    qtbot.waitUntil(lambda: len(queue._icons) == 3, timeout=5000)
    session = strip.controller.session
    color = np.array(rgb(session.project.info.classes[1].color))
    for row, region in enumerate(session.queue()):
        drawn = draw_thumbnail(session, region)
        assert max(drawn.shape[:2]) == SIDE_PX
        factor = max(region.rect.shape) / SIDE_PX
        rows, columns = (np.arange(side) * factor for side in drawn.shape[:2])
        tissue = session.spaced_slide(region.slide).read(region.rect)
        plain = tissue[np.ix_(rows.astype(int), columns.astype(int))].astype(float)
        expected = 0.6 * plain.mean((0, 1)) + 0.4 * color  # every pixel is predicted class 2
        assert np.abs(drawn.mean((0, 1)) - expected).max() < 6
        image = queue.item(row).icon().pixmap(QSize(SIDE_PX, SIDE_PX)).toImage()
        middle = image.pixelColor(image.width() // 2, image.height() // 2)
        assert middle.alpha() == 255
        shown = np.array([middle.red(), middle.green(), middle.blue()])
        assert np.abs(shown - drawn[drawn.shape[0] // 2, drawn.shape[1] // 2]).max() <= 2


def test_a_click_opens_a_region_and_keys_move_along(strip) -> None:
    queue = strip.review.queue
    strip.scroll_area.ensureWidgetVisible(queue)
    QApplication.processEvents()
    place = queue.visualItemRect(queue.item(1)).center()
    QTest.mouseClick(queue.viewport(), Qt.MouseButton.LeftButton, pos=place)
    QApplication.processEvents()
    strip.render_now()
    assert _open_rect(strip) == RECTS[1]
    _key(strip, Qt.Key.Key_N)
    second = _open_rect(strip)
    assert second in (RECTS[0], RECTS[2])
    _key(strip, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    assert _open_rect(strip) != second
    seen = {_open_rect(strip)}
    for _ in range(3):  # round the strip
        _key(strip, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
        seen.add(_open_rect(strip))
    assert seen == set(RECTS)


def test_what_the_model_is_sure_of_is_accepted_at_once_and_taken_back(strip) -> None:
    session, button = strip.controller.session, strip.review.sure
    labels = session.project.labels(session.slide)
    mine = Rect(RECTS[1].y, RECTS[1].x, 20, 20)  # a person labelled a corner before
    edit = LabelEdit(mine, np.ones(mine.shape, np.uint8), Origin.DRAWN)
    session.project.accept(session.slide, [edit], action="accept")
    assert button.text() == "Accept 2 sure of 3"
    strip.scroll_area.ensureWidgetVisible(button)
    QApplication.processEvents()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    strip.render_now()
    accepted = session.project.regions(state=RegionState.ACCEPTED)
    assert {each.rect for each in accepted} == set(RECTS[1:])
    assert (labels.read(mine) == 1).all()
    assert (labels.read_origin(mine) == Origin.DRAWN).all()
    for rect in (Rect(RECTS[1].y + 20, RECTS[1].x, 108, 96), RECTS[2]):
        assert (labels.read(rect) == 2).all()
        assert (labels.read_origin(rect) == Origin.ACCEPTED).all()
    assert not labels.read(RECTS[0]).any()
    assert not button.isVisibleTo(strip)
    assert [each.rect for each in session.queue()] == [RECTS[0]]
    QTest.mouseClick(strip.review.undo, Qt.MouseButton.LeftButton)
    strip.render_now()
    assert not session.project.regions(state=RegionState.ACCEPTED)
    assert (labels.read(RECTS[1]) > 0).sum() == mine.area
    assert not labels.read(RECTS[2]).any()
    assert button.text() == "Accept 2 sure of 3"
    QTest.mouseClick(strip.review.redo, Qt.MouseButton.LeftButton)
    strip.render_now()
    assert len(session.project.regions(state=RegionState.ACCEPTED)) == 2


def test_a_moved_slide_has_no_picture_and_nothing_stumbles(strip, tmp_path, monkeypatch) -> None:
    session = strip.controller.session
    region = session.queue()[0]
    kept = session._open_slides.pop(region.slide)
    gone = replace(session.project.slide(region.slide), path=tmp_path / "gone.tif")
    monkeypatch.setattr(session.project, "slide", lambda _name: gone)
    assert draw_thumbnail(session, region) is None
    session._open_slides[region.slide] = kept


def test_a_picture_opens_no_slide_for_good(strip) -> None:
    session = strip.controller.session
    region = session.queue()[0]
    kept = session._open_slides.pop(region.slide)
    assert draw_thumbnail(session, region) is not None
    assert region.slide not in session._open_slides
    session._open_slides[region.slide] = kept
