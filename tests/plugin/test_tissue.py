"""The tissue layer: shown from a thread, painted on, kept, and given back as found."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image
from standins import PATIENCE_MS

from napari_unisemalign.actions import tissue_search
from napari_unisemalign.actions.tissue import TissueEditor
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.canvas.overlays import ACCEPTED, EDITING, GLASS, ORIGIN, TISSUE
from napari_unisemalign.session.session import Session
from unisemalign.errors import UnisemalignError
from unisemalign.geometry import Rect
from unisemalign.project import Project, TissueChange, TissueStore

SHAPE = 75, 100
SKIP, KEEP = int(TissueChange.NOT_TISSUE), int(TissueChange.TISSUE)


@pytest.fixture
def study(tmp_path):
    """A project with two slides of 1 µm: pink on the left, glass on the right."""
    pixels = np.full((600, 800, 3), 244, np.uint8)
    pixels[:, :400] = (214, 150, 196)
    with Project.create(tmp_path / "p.unisem", classes=["x", "y"], spacing_um=1.0) as made:
        for name in ("a", "b"):
            Image.fromarray(pixels).save(tmp_path / f"{name}.png")
            made.add_slide(tmp_path / f"{name}.png", spacing_um=1.0)
        return made.root


class Told(list):
    """What the person is told."""

    @contextmanager
    def reporting(self):
        try:
            yield
        except UnisemalignError as error:
            self.append(str(error))


@pytest.fixture
def status():
    return Told()


@pytest.fixture
def editor(study, qtbot, status):
    session = Session()
    layers = LayerManager(ViewerModel(), session)
    editor = TissueEditor(layers, status.reporting)
    session.open(study)
    yield editor
    editor.shut_down()
    session.close()


@pytest.fixture
def shown(editor, qtbot):
    """The editor with its layer on show."""
    editor.toggle()
    qtbot.waitUntil(lambda: editor.layer is not None, timeout=PATIENCE_MS)
    return editor


def viewer_of(editor):
    return editor._layers.viewer


def session_of(editor):
    return editor._session


def on_disk(editor, name="a"):
    return session_of(editor).project.tissue(name)


def test_the_layer_darkens_what_is_skipped_and_lies_on_the_slide(editor, qtbot) -> None:
    editor.toggle()
    assert editor.finding  # the window goes on meanwhile
    assert editor.layer is None
    qtbot.waitUntil(lambda: editor.layer is not None, timeout=PATIENCE_MS)
    layer = editor.layer
    assert not editor.finding
    assert layer.data.shape == SHAPE
    assert np.array_equal(layer.data == GLASS, ~on_disk(editor).mask)
    assert editor.share == pytest.approx(0.5, abs=0.02)
    assert layer.scale.tolist() == [8, 8]
    assert layer.translate.tolist() == [4, 4]
    assert layer.mode == "pan_zoom"
    assert [each.name for each in viewer_of(editor).layers] == ["a", ACCEPTED, ORIGIN, TISSUE]
    color = layer.colormap.map(np.array([0, GLASS], np.uint8))
    assert color[0, 3] == 0
    assert color[1, 3] == 1
    editor.toggle()
    assert not layer.visible
    editor.toggle()
    assert editor.layer is layer
    assert layer.visible


def test_a_stroke_is_kept_a_moment_later_and_undone(shown, qtbot) -> None:
    shown.start()
    layer = shown.layer
    assert layer.mode == "paint"
    assert shown.brush == SKIP
    layer.brush_size = 9
    layer.paint((30, 20), SKIP)
    qtbot.waitUntil(lambda: on_disk(shown).skipped is not None, timeout=PATIENCE_MS)
    assert not on_disk(shown).mask[30, 20]
    shown.paint(TissueChange.TISSUE)
    layer.paint((30, 80), layer.selected_label)
    shown.stop()  # at once
    assert on_disk(shown).mask[30, 80]
    assert layer.mode == "pan_zoom"
    layer.undo()
    layer.undo()
    qtbot.waitUntil(lambda: on_disk(shown).skipped is None, timeout=PATIENCE_MS)
    assert TissueStore(session_of(shown).project.root).stamp("a") is None


def test_the_eraser_gives_back_what_was_found(shown) -> None:
    shown.start()
    before = shown.layer.data.copy()
    shown.layer.fill((30, 80), KEEP)  # the whole of the glass
    shown.keep()
    assert on_disk(shown).mask.all()
    assert shown.share == 1
    shown.layer.fill((30, 80), 0)
    shown.layer.paint((30, 10), 0)
    shown.keep()
    assert np.array_equal(shown.layer.data, before)
    assert on_disk(shown).mask.mean() == pytest.approx(0.5, abs=0.02)
    shown.layer.undo()
    shown.keep()
    assert on_disk(shown).mask.all()


def test_painting_with_what_only_the_layer_means_marks_nothing(shown) -> None:
    shown.start()
    before = shown.layer.data.copy()
    shown.layer.paint((30, 20), GLASS)
    shown.layer.paint((30, 40), 7)
    shown.keep()
    assert np.array_equal(shown.layer.data, before)
    assert not (session_of(shown).project.root / "tissue").exists()


def test_as_found_forgets_every_mark_and_can_be_undone(shown) -> None:
    shown.start()
    before = shown.layer.data.copy()
    shown.layer.paint((30, 20), SKIP)
    shown.layer.paint((30, 80), KEEP)
    shown.keep()
    marked = on_disk(shown).mask
    shown.as_found()
    assert np.array_equal(shown.layer.data, before)
    assert on_disk(shown).skipped is None
    shown.layer.undo()
    shown.keep()
    assert np.array_equal(on_disk(shown).mask, marked)


def test_a_correction_is_there_the_next_time(study, editor, qtbot) -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[:10, :10] = SKIP
    TissueStore(study).correct("a", values, 8.0)
    editor.start()
    qtbot.waitUntil(lambda: editor.layer is not None, timeout=PATIENCE_MS)
    assert (editor.layer.data[:10, :10] == SKIP).all()
    assert editor.layer.mode == "paint"  # as was asked before it was there
    editor.keep()
    assert on_disk(editor).skipped.sum() == 100


def test_another_slide_shows_its_own_tissue(shown, qtbot) -> None:
    session, first = session_of(shown), shown.layer
    shown.start()
    first.paint((30, 20), SKIP)
    session.show_slide("b")
    assert not on_disk(shown, "a").mask[30, 20]
    assert not shown.correcting
    qtbot.waitUntil(lambda: shown.layer is not None, timeout=PATIENCE_MS)
    assert shown.layer is not first
    assert (shown.layer.data != SKIP).all()
    shown.toggle()
    session.show_slide("a")
    assert not shown.finding
    assert shown.layer is None


def test_a_search_for_a_slide_that_left_is_not_shown(editor, qtbot, monkeypatch) -> None:
    editor.toggle()
    session_of(editor).show_slide("b")
    qtbot.waitUntil(lambda: editor.layer is not None, timeout=PATIENCE_MS)
    qtbot.wait(100)
    assert [each.name for each in viewer_of(editor).layers].count(TISSUE) == 1
    assert editor._shown.slide == "b"


def test_closing_or_deleting_the_layer_loses_no_stroke(shown, qtbot) -> None:
    root = session_of(shown).project.root
    shown.start()
    shown.layer.paint((30, 20), SKIP)
    viewer_of(shown).layers.remove(shown.layer)
    assert shown.layer is None
    assert not shown.correcting
    assert not on_disk(shown).mask[30, 20]
    shown.toggle()
    qtbot.waitUntil(lambda: shown.layer is not None, timeout=PATIENCE_MS)
    shown.layer.paint((60, 20), SKIP)
    session_of(shown).close()
    with Project.open(root) as again:
        assert not again.tissue("a").mask[60, 20]


def test_there_is_one_brush_at_a_time(shown) -> None:
    session, layers = session_of(shown), shown._layers
    shown.start()
    assert not layers.layer(ACCEPTED).visible
    session.mark_region(Rect(100, 100, 64, 64))
    assert not shown.correcting
    assert viewer_of(shown).layers.selection.active is layers.layer(EDITING)
    assert not layers.layer(ACCEPTED).visible  # the region is painted on
    session.skip()
    assert layers.layer(ACCEPTED).visible


def test_what_goes_wrong_is_told(editor, status, study, qtbot, monkeypatch) -> None:
    TissueStore(study).correct("a", np.ones(SHAPE, np.uint8), 8.0)
    (study / "tissue" / "a.npz").write_bytes(b"torn")
    editor.start()
    qtbot.waitUntil(lambda: bool(status), timeout=PATIENCE_MS)
    assert "is damaged" in status[0]
    assert not editor.correcting
    assert editor.layer is None
    (study / "tissue" / "a.npz").unlink()

    def missing(path, spacing_um, opening):
        raise UnisemalignError("The disk sleeps.")

    monkeypatch.setattr(tissue_search, "reopen_slide", missing)
    editor.toggle()
    qtbot.waitUntil(lambda: len(status) > 1, timeout=PATIENCE_MS)
    assert status[1] == "The disk sleeps."
    assert not editor.finding
