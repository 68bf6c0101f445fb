"""The view is labelled by itself, gives way, and is left when it moves on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog
from standins import PATIENCE_MS

from napari_unisemalign.actions.live_rules import LabelledAreas, moved_on, next_rect
from napari_unisemalign.session.dock_state import resolve_state
from napari_unisemalign.session.session import Session
from napari_unisemalign.widgets.dock import DockWidget
from unisemalign.geometry import Rect
from unisemalign.project import TissueChange

VIEW = Rect(100, 100, 200, 400)
# -- the rules, without a window ------------------------------------------------------------------


def test_a_view_moved_on_when_less_than_half_of_it_is_seen() -> None:
    assert not moved_on(VIEW, VIEW)
    assert not moved_on(VIEW, Rect(100, 300, 200, 400))
    assert moved_on(VIEW, Rect(100, 301, 200, 400))
    assert not moved_on(VIEW, Rect(0, 0, 1000, 1000)), "further out it is still on the screen"
    assert moved_on(VIEW, Rect(150, 150, 50, 50)), "further in, most of it is not"
    assert moved_on(VIEW, Rect(0, 0, 0, 0))


def test_what_is_missing_is_asked_for() -> None:
    assert next_rect(VIEW, [], None) == VIEW
    assert next_rect(VIEW, [VIEW], None) is None
    assert next_rect(VIEW, [], VIEW) is None
    right = Rect(100, 300, 200, 200)
    assert next_rect(VIEW, [Rect(0, 0, 500, 300)], None) == right
    assert next_rect(VIEW, [Rect(0, 0, 500, 300)], right) is None
    assert next_rect(VIEW, [Rect(0, 0, 500, 300)], Rect(100, 300, 200, 100)) == right
    rim = [Rect(102, 102, 900, 900)]
    assert next_rect(VIEW, rim, None) is None, "hardly any"
    assert next_rect(VIEW, [Rect(0, 0, 150, 500), Rect(0, 0, 500, 200)], None) == Rect(
        150, 200, 150, 300
    )


def test_what_is_labelled_is_kept_apart_and_forgotten() -> None:
    labelled = LabelledAreas()
    for rect in (Rect(0, 0, 9, 9), Rect(1, 1, 2, 2), Rect(0, 0, 20, 20)):
        labelled.add(1, "a", rect)
    assert list(labelled.of(1, "a")) == [Rect(0, 0, 20, 20)]
    assert not labelled.of(2, "a")
    assert not labelled.of(1, "b")
    labelled.forget()
    assert not labelled.of(1, "a")


def test_live_says_what_it_waits_for(session: Session, with_model) -> None:
    assert not Session().live
    assert not resolve_state(Session()).can.live.possible
    session.set_live(True)
    state = resolve_state(session)
    assert state.can.live.possible
    assert state.live_on
    assert "waits for a trained round" in state.segment_note
    with_model(session.project)
    state = resolve_state(session)
    assert "by itself" in state.segment_note
    assert "Press View" not in state.next_step


# -- with a window, and the stand-in engine -------------------------------------------------------


@pytest.fixture
def live(dock: DockWidget, with_model) -> DockWidget:
    with_model(dock.controller.session.project)
    look(dock, Rect(100, 100, 300, 300))
    return dock


def look(dock: DockWidget, rect: Rect) -> Rect:
    dock.controller.layers.viewport.look_at(rect)
    return dock.controller.layers.viewport.visible_rect()


def switch(dock: DockWidget) -> None:
    dock.render_now()
    assert dock.segment.live.isEnabled()
    dock.segment.live.click()


def asked(dock: DockWidget, verb: str = "segment") -> list[dict]:
    path = dock.controller.session.project.root / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    return [one for one in map(json.loads, lines) if one["verb"] == verb]


def until_asked(dock: DockWidget, qtbot, count: int) -> None:
    qtbot.waitUntil(lambda: len(asked(dock)) >= count, timeout=PATIENCE_MS)


def until_idle(dock: DockWidget, qtbot, count: int) -> None:
    until_asked(dock, qtbot, count)
    qtbot.waitUntil(lambda: dock.controller.session.segmenting is None, timeout=PATIENCE_MS)
    qtbot.wait(600)
    assert len(asked(dock)) == count, "nothing is asked twice"


def test_live_labels_what_the_window_shows_once(live, qtbot, with_model) -> None:
    session = live.controller.session
    view = live.controller.layers.viewport.visible_rect()
    switch(live)
    until_idle(live, qtbot, 1)
    one = asked(live)[0]
    assert Rect(*one["rect"]) == view
    assert one["focus"] == [view.y + view.h // 2, view.x + view.w // 2]
    assert one["downsample"] == pytest.approx(live.controller.layers.viewport.downsample)
    assert (session.prediction().read(view) > 0).all()
    shifted = look(live, Rect(100, 180, 300, 300))
    until_idle(live, qtbot, 2)
    two = Rect(*asked(live)[1]["rect"])
    assert (two.x, two.x1, two.h) == (view.x1, shifted.x1, view.h), "only what is new"
    look(live, Rect(100, 100, 300, 300))
    until_idle(live, qtbot, 2)
    with_model(session.project)
    session.rounds_changed()
    until_idle(live, qtbot, 3)
    assert asked(live)[2]["round"] == 2
    assert Rect(*asked(live)[2]["rect"]) == view
    switch(live)
    look(live, Rect(600, 600, 300, 300))
    until_idle(live, qtbot, 3)


def test_live_labels_again_where_the_tissue_was_corrected(live, qtbot) -> None:
    switch(live)
    until_idle(live, qtbot, 1)
    tissue = live.controller.tissue
    tissue.toggle()
    qtbot.waitUntil(lambda: tissue.layer is not None, timeout=PATIENCE_MS)
    tissue.start()
    tissue.paint(TissueChange.NOT_TISSUE)
    tissue.layer.paint((3, 3), tissue.layer.selected_label)
    until_idle(live, qtbot, 2)
    assert asked(live)[1]["rect"] == asked(live)[0]["rect"]


def test_live_waits_for_a_round_and_for_dialogs(dock, qtbot, with_model) -> None:
    look(dock, Rect(100, 100, 300, 300))
    switch(dock)
    qtbot.wait(500)
    assert not asked(dock)
    assert dock.controller.session.segmenting is None, "first guesses are not live"
    dialog = QDialog(dock)
    dialog.setModal(True)
    dialog.show()
    with_model(dock.controller.session.project)
    dock.controller.session.rounds_changed()
    qtbot.wait(500)
    assert not asked(dock)
    dialog.close()
    until_idle(dock, qtbot, 1)


@pytest.fixture
def slow(monkeypatch, live, qtbot) -> DockWidget:
    monkeypatch.setenv("FAKE_STEP_S", "0.4")
    server = live.controller.segmenter.server
    server.warm_up()
    qtbot.waitUntil(lambda: server.ready, timeout=PATIENCE_MS)
    return live


def test_a_view_is_dropped_when_it_moves_on_and_a_region_is_not(slow, qtbot) -> None:
    controller, session = slow.controller, slow.controller.session
    controller.segmenter.segment_view()
    first = session.segmenting
    assert first.follows_viewport
    look(slow, Rect(120, 120, 300, 300))
    assert session.segmenting is not None, "most of it is still seen"
    look(slow, Rect(700, 700, 300, 300))
    assert session.segmenting is None
    controller.segmenter.segment_view()
    assert session.segmenting.rect != first.rect
    qtbot.waitUntil(lambda: len(asked(slow, "cancel")) == 1, timeout=PATIENCE_MS)
    controller.segmenter.segment_slide()
    assert session.segmenting.rect is None, "a view gives way"
    look(slow, Rect(0, 0, 200, 200))
    assert session.segmenting is not None
    slow.render_now()
    assert not slow.segment.view.isEnabled()
    controller.segmenter.segment_view()
    assert session.segmenting.rect is None
    controller.segmenter.cancel()
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    assert [one["target"] for one in asked(slow, "cancel")] == [one["id"] for one in asked(slow)]


def test_live_follows_the_view_and_next_region_does_not_wait_for_it(slow, qtbot) -> None:
    controller, session = slow.controller, slow.controller.session
    switch(slow)
    until_asked(slow, qtbot, 1)
    look(slow, Rect(700, 700, 300, 300))
    until_asked(slow, qtbot, 2)
    assert [one["target"] for one in asked(slow, "cancel")] == [asked(slow)[0]["id"]]
    slow.render_now()
    assert "labelling what the window shows" in slow.segment.note.text()
    assert slow.segment.view.isEnabled()
    assert slow.review.next.isEnabled()
    controller.reviewer.next_region()
    assert session.ranking
    qtbot.waitUntil(lambda: session.edit is not None, timeout=PATIENCE_MS)
    until_asked(slow, qtbot, 3)
    switch(slow)
    assert session.segmenting is None


def test_what_was_stopped_or_failed_is_not_begun_again_by_itself(slow, qtbot) -> None:
    controller, session = slow.controller, slow.controller.session
    switch(slow)
    until_asked(slow, qtbot, 1)
    controller.segmenter.cancel()
    until_idle(slow, qtbot, 1)
    (session.project.root / "fails").touch()
    look(slow, Rect(500, 500, 300, 300))
    until_idle(slow, qtbot, 2)
    slow.render_now()
    assert "The disk is full" in slow.segment.error.text()
    (session.project.root / "fails").unlink()
    look(slow, Rect(100, 600, 300, 300))
    until_asked(slow, qtbot, 3)
    controller.segmenter.cancel()
    until_idle(slow, qtbot, 3)


def test_labels_are_drawn_while_they_come_but_not_into_a_stroke(slow, qtbot, monkeypatch) -> None:
    from napari_unisemalign.actions import segment

    controller, session = slow.controller, slow.controller.session
    drawn = []
    session.prediction_changed.connect(lambda: drawn.append(session.segmenting))
    pressed = [Qt.MouseButton.LeftButton]

    class Mouse(segment.QApplication):
        mouseButtons = staticmethod(lambda: pressed[0])  # noqa: N815  Qt's name

    monkeypatch.setattr(segment, "QApplication", Mouse)
    look(slow, Rect(0, 0, 1000, 1000))
    controller.segmenter.segment_view()
    qtbot.wait(1200)
    assert not drawn
    pressed[0] = Qt.MouseButton.NoButton
    qtbot.waitUntil(lambda: bool(drawn), timeout=PATIENCE_MS)
    assert drawn[0] is not None, "before it is done"
    assert np.asarray(controller.layers.layer("prediction").data[0][:, :]).any()
    controller.segmenter.cancel()
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
