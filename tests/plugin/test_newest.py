"""What a region, the list and its sentences show is always of the newest round."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from standins import PATIENCE_MS

from napari_unisemalign.session.change import Change
from napari_unisemalign.session.region_edit import RegionEdit
from napari_unisemalign.session.session import Session
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Region, RegionState, Split

HERE = Rect(64, 64, 128, 128)


def _offer(session, number, rect=HERE, reason="model unsure on 20 %"):
    return session.project.add_region(
        session.slide, rect, state=RegionState.PREDICTED, score=0.5, reason=reason, round=number
    )


def _predict_and_skip(session, with_model, with_prediction) -> None:
    """Predict the whole slide in a new round, and skip all of it."""
    number = with_model(session.project)
    with_prediction(session.project, number, session.slide)
    whole = Rect(0, 0, *session.spaced_slide(session.slide).shape_yx)
    session.project.add_region(session.slide, whole, state=RegionState.SKIPPED)


def _click(dock, button) -> None:
    dock.render_now()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    QApplication.processEvents()


def _stroke(dock) -> np.ndarray:
    """Paint across the middle of the open region with the mouse; return what was gone over."""
    controller = dock.controller
    canvas = controller.layers.viewer.window._qt_viewer.canvas.native
    middle = canvas.rect().center()
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    for dx in (10, 20, 30):
        QTest.mouseMove(canvas, middle + QPoint(dx, 0))
        QTest.qWait(10)
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(30, 0))
    QApplication.processEvents()
    return controller.session.edit.touched.copy()


def test_segmenting_an_open_region_shows_in_it_but_not_under_strokes(
    dock, qtbot, with_model
) -> None:
    controller, session = dock.controller, dock.controller.session
    with_model(session.project)
    controller.reviewer.mark_region(256)
    controller.layers.viewer.window._qt_window.show()
    editing = controller.layers.editing()
    editing.brush_size, editing.selected_label = 20, 4
    QTest.qWait(300)
    gone_over = _stroke(dock)
    assert 0 < gone_over.sum() < gone_over.size / 2
    assert not np.asarray(editing.data)[~gone_over].any()
    _click(dock, dock.segment.region)
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    shown = np.asarray(controller.layers.editing().data)
    predicted = session.prediction().read(session.edit.region.rect)
    assert predicted.all()
    assert (shown[gone_over] == 4).all()
    assert np.array_equal(shown[~gone_over], predicted[~gone_over])
    origin = session.edit.resolve_origin()
    assert (origin[~gone_over] == Origin.ACCEPTED).all()
    assert (origin[gone_over & (predicted != 4)] == Origin.CORRECTED).all()


def test_a_stroke_that_agrees_with_an_older_prediction_stays() -> None:
    zeros = np.zeros((4, 4), np.uint8)
    region = Region(1, "a", Rect(0, 0, 4, 4), RegionState.REVIEW, Split.TRAIN)
    edit = RegionEdit(region, np.full((4, 4), 2, np.uint8), zeros, zeros, zeros + 2)
    edit.touched[0] = True  # painted 2 over 2
    edit.values[1] = 3
    newer = zeros + 1
    newer[3] = 0  # not predicted anew
    assert edit.take_prediction(newer)
    assert edit.values.tolist() == [[2] * 4, [3] * 4, [1] * 4, [2] * 4]
    assert not edit.take_prediction(newer)


def test_earlier_labels_stay_when_the_model_changes_its_mind() -> None:
    labels = np.zeros((2, 2), np.uint8)
    labels[0] = 1
    region = Region(1, "a", Rect(0, 0, 2, 2), RegionState.REVIEW, Split.TRAIN)
    values = np.array([[1, 1], [2, 2]], np.uint8)
    edit = RegionEdit(region, values, labels, labels, np.full((2, 2), 2, np.uint8))
    edit.take_prediction(np.full((2, 2), 3, np.uint8))
    assert edit.values.tolist() == [[1, 1], [3, 3]]


def test_what_an_older_round_doubted_is_not_offered(
    session: Session, with_model, with_prediction
) -> None:
    first = with_model(session.project)
    with_prediction(session.project, first, session.slide)
    session.rounds_changed()
    session.predicted()
    old = _offer(session, first)
    session.set_ranking(False)
    assert [each.id for each in session.queue()] == [old.id]
    second = with_model(session.project)
    session.rounds_changed()
    assert [each.id for each in session.queue()] == [old.id]  # the new one said nothing yet
    with_prediction(session.project, second, session.slide)
    session.predicted()
    assert session.queue() == []
    new = _offer(session, second, Rect(300, 300, 128, 128))
    session.set_ranking(False)
    assert [each.id for each in session.queue()] == [new.id]


def test_where_the_new_round_has_not_been_the_older_one_is_heard(
    session: Session, with_model, with_prediction
) -> None:
    first = with_model(session.project)
    with_prediction(session.project, first, session.slide)
    _offer(session, first)
    outside = _offer(session, first, Rect(300, 300, 128, 128))
    second = with_model(session.project)
    seen = Rect(0, 0, 256, 256)
    session.project.predictions(second, session.slide, create=True).write(
        seen,
        classes=np.full(seen.shape, 2, np.uint8),
        confidence=np.full(seen.shape, 200, np.uint8),
        disagreement=np.zeros(seen.shape, np.uint8),
    )
    session.rounds_changed()
    session.predicted()
    session.set_ranking(False)
    assert [each.id for each in session.queue()] == [outside.id]


def test_a_stroke_that_changes_nothing_is_kept_over_a_restart(
    dock, with_model, with_prediction
) -> None:
    controller, session = dock.controller, dock.controller.session
    first = with_model(session.project)
    with_prediction(session.project, first, session.slide)
    session.rounds_changed()
    session.predicted()
    region = controller.reviewer.mark_region(256) or session.edit.region
    controller.layers.viewer.window._qt_window.show()
    editing = controller.layers.editing()
    editing.brush_size, editing.selected_label = 20, 2  # what is predicted there
    QTest.qWait(300)
    gone_over = _stroke(dock)
    assert gone_over.any()
    assert session.edit.dirty
    session.close_region()
    session.open_region(region.id)
    assert np.array_equal(session.edit.touched, gone_over)


def test_next_after_a_new_round_asks_anew(dock, qtbot, with_model, with_prediction) -> None:
    session = dock.controller.session
    first = with_model(session.project)
    with_prediction(session.project, first, session.slide)
    old = _offer(session, first)
    second = with_model(session.project)
    with_prediction(session.project, second, session.slide)
    session.rounds_changed()
    session.predicted()
    _click(dock, dock.review.next)
    qtbot.waitUntil(lambda: session.edit is not None, timeout=PATIENCE_MS)
    assert session.edit.region.round == second
    assert session.edit.region.id != old.id


def test_list_line_and_step_agree_when_nothing_is_left_to_ask(
    dock, qtbot, with_model, with_prediction
) -> None:
    session = dock.controller.session
    _predict_and_skip(session, with_model, with_prediction)
    session.rounds_changed()
    session.predicted()
    _click(dock, dock.review.next)
    qtbot.waitUntil(lambda: session.all_asked, timeout=PATIENCE_MS)
    dock.render_now()
    assert "No region is left to ask about" in dock.review.note.text()
    assert "No region is left to ask about" in dock.next_step.text()
    session.predicted()  # more was segmented
    dock.render_now()
    assert "Press Next region" in dock.review.note.text()
    assert "Press Next region" in dock.next_step.text()


def test_a_begun_region_comes_back_when_nothing_new_is_doubted(
    dock, qtbot, with_model, with_prediction
) -> None:
    session = dock.controller.session
    _predict_and_skip(session, with_model, with_prediction)
    begun = session.mark_region(HERE)
    session.close_region()
    session.predicted()
    _click(dock, dock.review.next)
    qtbot.waitUntil(lambda: session.edit is not None, timeout=PATIENCE_MS)
    assert session.edit.region.id == begun.id


def test_area_says_of_what_it_is_a_share(dock, with_model, with_prediction) -> None:
    session = dock.controller.session
    assert dock.segment.area_note.text() == ""
    number = with_model(session.project)
    with_prediction(session.project, number, session.slide)
    session.rounds_changed()
    session.predicted()
    session.refresh_area()
    dock.render_now()
    said = f"Share of what round {number} has labelled on this slide:"
    assert dock.segment.area_note.text() == said


def test_the_dock_says_how_much_was_looked_at(dock) -> None:
    controller, session = dock.controller, dock.controller.session
    dock.render_now()
    assert dock.review.looked.text() == ""
    height, width = session.spaced_slide(session.slide).shape_yx
    controller.reviewer.mark_region(128)
    controller.layers.editing().data_setitem((np.array([0]), np.array([0])), 1)
    controller.reviewer.accept()
    at = session.project.regions(state=RegionState.ACCEPTED)[0].rect
    again = Rect(at.y, at.x, 64, 64)  # inside: counted once
    session.project.add_region(session.slide, again, state=RegionState.SKIPPED)
    session.rounds_changed()
    session.records.forget(Change.REGIONS)
    dock.render_now()
    share = f"{100 * 128 * 128 / (height * width):.1f}"
    assert dock.review.looked.text() == f"Looked at on this slide: 2 regions, {share}\u00a0% of it."
