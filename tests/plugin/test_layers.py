"""The layers of a session, on a viewer without a window."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.canvas.overlays import (
    ACCEPTED,
    DISAGREEMENT,
    EDITING,
    ORIGIN,
    PREDICTION,
    UNCERTAINTY,
)
from napari_unisemalign.canvas.reader import read_slides
from napari_unisemalign.session.session import Session
from unisemalign.geometry import Rect
from unisemalign.project import Origin
from unisemalign.slides.synthetic import CLASSES, draw_slide

RECT = Rect(100, 200, 128, 128)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def layers(viewer: ViewerModel, root) -> LayerManager:
    session = Session()
    layers = LayerManager(viewer, session)
    session.open(root)
    yield layers
    session.close()


def _names(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers]


def _edges(layer) -> tuple[np.ndarray, np.ndarray]:
    """Outer edges in world units; napari's extent ends at the centres of the outermost pixels."""
    half = np.asarray(layer.scale)[-2:] / 2
    return layer.extent.world[0][-2:] - half, layer.extent.world[1][-2:] + half


def test_the_slide_is_shown_in_micrometres(layers: LayerManager, viewer: ViewerModel) -> None:
    slide = layers.layer("slide")
    assert slide.name == "a"
    assert slide.rgb
    assert slide.multiscale
    assert slide.scale.tolist() == [0.5, 0.5]
    assert [str(unit) for unit in slide.units] == ["micrometer", "micrometer"]
    assert viewer.canvas.overlays.scale_bar.visible
    assert layers.layer(ACCEPTED).multiscale


def test_every_layer_lies_on_the_same_tissue(tmp_path, drawn_path) -> None:
    """A project at another spacing than the slide's: corners must still meet."""
    viewer, session = ViewerModel(), Session()
    layers = LayerManager(viewer, session)
    session.create(tmp_path / "coarse", classes=list(CLASSES), spacing_um=2.0)
    session.add_slide(drawn_path)
    session.mark_region(Rect(64, 32, 64, 64))
    for role in ("slide", ACCEPTED):
        low, high = _edges(layers.layer(role))
        assert np.allclose(low, 0)
        assert np.allclose(high, 512)
    low, high = _edges(layers.editing())
    assert np.allclose(low, [128, 64])
    assert np.allclose(high, [256, 192])
    session.close()


def test_a_prediction_brings_three_layers(layers, viewer, with_model, with_prediction) -> None:
    session = layers.session
    with_prediction(session.project, with_model(session.project), "a")
    session.predicted()
    assert _names(viewer) == ["a", PREDICTION, UNCERTAINTY, DISAGREEMENT, ACCEPTED, ORIGIN]
    prediction = layers.layer(PREDICTION)
    assert not prediction.editable
    assert prediction.multiscale
    assert not layers.layer(UNCERTAINTY).visible
    assert not layers.layer(DISAGREEMENT).visible
    assert np.asarray(layers.layer(UNCERTAINTY).data[0][:4, :4]).tolist() == [[55] * 4] * 4
    colors = prediction.colormap.color_dict
    assert np.allclose(colors[2][:3], np.array([0xE6, 0x9F, 0x00]) / 255, atol=0.01)
    assert prediction.features["class"].tolist() == ["not labelled", *CLASSES]


def test_a_new_round_takes_the_place_of_the_old(layers, with_model, with_prediction) -> None:
    session = layers.session
    with_prediction(session.project, with_model(session.project), "a")
    session.predicted()
    layers.toggle(PREDICTION)
    layers.layer(PREDICTION).opacity = 0.9
    first = layers.layer(PREDICTION)
    session.predicted()
    assert layers.layer(PREDICTION) is first
    with_prediction(session.project, with_model(session.project), "a")
    session.predicted()
    second = layers.layer(PREDICTION)
    assert second is not first
    assert not second.visible
    assert second.opacity == 0.9


def test_painting_reaches_the_session(layers: LayerManager) -> None:
    session = layers.session
    session.mark_region(RECT)
    editing = layers.editing()
    assert editing.data.shape == RECT.shape
    assert editing.mode == "paint"
    editing.selected_label = 3
    editing.paint((64, 64), 3)
    assert session.edit.dirty
    assert session.edit.values[64, 64] == 3
    editing.undo()
    assert not session.edit.values.any()
    editing.redo()
    session.accept()
    assert layers.editing() is None
    assert session.project.labels("a").read(RECT)[64, 64] == 3
    assert np.asarray(layers.layer(ACCEPTED).data[0])[164, 264] == 3


def test_filling_and_direct_edits_are_strokes_too(layers: LayerManager) -> None:
    session = layers.session
    session.mark_region(RECT)
    layers.editing().fill((5, 5), 2)
    assert (session.edit.values == 2).all()
    session.save_draft()
    layers.editing().data_setitem((np.array([3]), np.array([4])), 1)
    assert session.edit.dirty
    assert session.edit.values[3, 4] == 1


def test_a_replaced_array_is_painted_on(layers: LayerManager) -> None:
    layers.session.mark_region(RECT)
    layers.editing().data = np.full(RECT.shape, 4, np.int64)
    assert layers.session.edit.values.dtype == np.uint8
    layers.session.accept()
    assert (layers.session.project.labels("a").read(RECT) == 4).all()


def test_overlays_step_back_while_painting(layers, with_model, with_prediction) -> None:
    session = layers.session
    with_prediction(session.project, with_model(session.project), "a")
    session.predicted()
    layers.toggle(ACCEPTED)
    session.mark_region(RECT)
    assert not layers.layer(PREDICTION).visible
    session.skip()
    assert layers.layer(PREDICTION).visible
    assert not layers.layer(ACCEPTED).visible


def test_the_view_in_working_pixels(layers: LayerManager, viewer: ViewerModel) -> None:
    viewer.scene.camera.center = (256.0, 256.0)
    viewer.scene.camera.zoom = 4.0
    assert layers.viewport.visible_rect((400, 800)) == Rect(412, 312, 200, 400)
    viewer.scene.camera.center = (0.0, 0.0)
    assert layers.viewport.visible_rect((400, 800)) == Rect(0, 0, 100, 200)
    viewer.scene.camera.center = (9000.0, 0.0)
    assert layers.viewport.visible_rect((400, 800)).area == 0
    layers.viewport.look_at(RECT, (600, 600))
    assert layers.viewport.visible_rect((600, 600)).contains(RECT)


def test_layers_of_others_are_left_alone(layers: LayerManager, viewer, tmp_path) -> None:
    viewer.add_labels(np.zeros((8, 8), np.uint8), name="prediction")
    path = draw_slide(tmp_path / "b.tif", size_px=512, seed=1)
    layers.session.add_slide(path)
    assert "prediction" in _names(viewer)
    assert layers.layer("slide").name == "b"
    layers.session.close()
    assert _names(viewer) == ["prediction"]


def test_a_loose_slide_is_taken_over(layers: LayerManager, viewer, tmp_path) -> None:
    path = draw_slide(tmp_path / "b.tif", size_px=512, seed=1)
    for data, keywords, _kind in read_slides(str(path)):
        viewer.add_image(data, **keywords)
    layers.session.add_slide(path)
    assert _names(viewer).count("b") == 1


def test_a_tiny_slide_is_shown_and_labelled(tmp_path) -> None:
    from PIL import Image

    path = tmp_path / "tiny.png"
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(path)
    viewer, session = ViewerModel(), Session()
    layers = LayerManager(viewer, session)
    session.create(tmp_path / "p", classes=["x", "y"])
    session.add_slide(path, spacing_um=0.5)
    session.project.write_labels(
        "tiny", Rect(0, 0, 40, 60), np.ones((40, 60), np.uint8), Origin.DRAWN, action="draw"
    )
    session.labels_changed.emit()
    assert np.asarray(layers.layer(ACCEPTED).data[0]).all()
    session.mark_region(Rect(0, 0, 256, 256))
    assert layers.layer(EDITING).data.shape == (40, 60)
    session.close()


def test_accepting_keeps_the_layer_of_what_was_accepted(layers: LayerManager) -> None:
    before = layers.layer(ACCEPTED)
    session = layers.session
    session.mark_region(RECT)
    layers.editing().data[10:20, 30:40] = 2
    layers.editing().events.set_data()
    session.accept()
    after = layers.layer(ACCEPTED)
    assert after is before
    assert np.asarray(after.data[0][105:125, 225:245]).max() == 2
    session.undo()
    session.skip()
    assert not np.asarray(after.data[0][:, :]).any()


def test_deleted_layers_are_put_back(layers, viewer, with_model, with_prediction) -> None:
    project = layers.session.project
    with_prediction(project, with_model(project), "a")
    layers.session.predicted()
    names = _names(viewer)
    viewer.layers.clear()
    layers.recreate_layers()
    assert _names(viewer) == names
