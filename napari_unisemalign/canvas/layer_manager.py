"""The layers of a session, kept in step with it. No Qt."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_unisemalign.canvas.brush import Brush
from napari_unisemalign.canvas.layer_list import LayerList
from napari_unisemalign.canvas.lazy_levels import (
    ChangedLevel,
    DoubtLevel,
    LabelLevel,
    PredictionLevel,
    label_levels,
    prediction_levels,
)
from napari_unisemalign.canvas.overlay_layers import (
    editing_layer,
    labels_overlay,
    look_of,
    move_editing_layer,
    palette_keywords,
    uncertainty_overlay,
)
from napari_unisemalign.canvas.overlays import (
    ACCEPTED,
    CHANGED,
    CLUSTERS,
    DISAGREEMENT,
    EDITING,
    ORIGIN,
    OVERLAYS,
    PREDICTION,
    SLIDE,
    UNCERTAINTY,
    class_palette,
)
from napari_unisemalign.canvas.slide_layer import METADATA_KEY, slide_layer
from napari_unisemalign.canvas.viewport import Viewport
from napari_unisemalign.session.region_edit import Pixels
from napari_unisemalign.session.session import Session
from unisemalign.project import GuessNote, PredictionStore
from unisemalign.project.predictions import KINDS

PREDICTED = (PREDICTION, UNCERTAINTY, DISAGREEMENT)


class LayerManager(LayerList):
    """Keeps the layers of one viewer in step with a session.

    Attributes
    ----------
    session
        What is shown.
    viewport
        What part of it the window shows.
    replacing
        Whether the layer that is painted on goes because another region has opened.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        super().__init__(viewer)
        self.session = session
        self.viewport = Viewport(viewer, session)
        self._brush: Brush | None = None
        self._painted_digest = 0
        self._changing = self._region_waits = False
        self.replacing = False
        self._predicted_round: int | None = None
        self._changed_rounds: tuple[int | None, int] | None = None
        self._clustered: GuessNote | None = None
        self._accepted: list[LabelLevel] = []
        self._predicted: list[PredictionLevel] = []
        session.slide_changed.connect(self._on_slide_changed)
        session.region_changed.connect(self._on_region_changed)
        session.labels_changed.connect(self._on_labels_changed)
        session.prediction_changed.connect(self.refresh_prediction)
        session.classes_changed.connect(self._on_classes_changed)

    def recreate_layers(self) -> None:
        """Recreate deleted layers of the slide on show."""
        session = self.session
        if session.project is None or session.slide is None:
            return
        if self.layer(SLIDE) is None:
            slide = session.spaced_slide(session.slide)
            data, keywords, _ = slide_layer(slide.slide, name=session.slide)
            keywords["metadata"][METADATA_KEY]["role"] = SLIDE
            self.remove_loose(keywords["metadata"][METADATA_KEY]["path"])
            self.add(Image(data, **keywords))
        self.viewer.canvas.overlays.scale_bar.visible = True
        # napari draws the box of its overlays behind the brush's circle too, and leaves it there.
        self.viewer.canvas.overlays["_brush_circle"].box = False
        self.refresh_prediction()
        self._on_labels_changed()

    def _on_classes_changed(self) -> None:
        """Show names and colours as they are now."""
        for role, overlay in OVERLAYS.items():
            layer = self.layer(role)
            if overlay.palette is not None and isinstance(layer, Labels):
                for name, value in palette_keywords(overlay.palette(self.session)).items():
                    setattr(layer, name, value)

    def _on_slide_changed(self) -> None:
        self.remove_all()
        self._predicted_round = self._clustered = self._changed_rounds = None
        if self.session.project is None or self.session.slide is None:
            return
        self.recreate_layers()
        self.viewer.reset_view()

    def _on_labels_changed(self) -> None:
        session = self.session
        if session.project is None or session.slide is None:
            return
        store = session.project.labels(session.slide)
        layer = self.layer(ACCEPTED)
        if layer is None:
            labels, origins = label_levels(store), label_levels(store, origin=True)
            self._accepted = [*labels, *origins]
            self._put_labels(ACCEPTED, labels)
            self._put_labels(ORIGIN, origins)
            return
        # Taking a layer away and making it again would hold the window up for half a second.
        labelled = store.labelled_rects()
        for level in self._accepted:
            level.labelled = labelled
        layer.refresh()
        if (origin := self.layer(ORIGIN)) is not None and origin.visible:
            origin.refresh()

    def refresh_prediction(self) -> None:
        """Show the newest prediction; new pixels of the one on show are only drawn again."""
        session = self.session
        self._refresh_clusters()
        if (editing := self.editing()) is not None:
            self._painted_digest = _digest(editing.data)  # what the model says is no stroke
            editing.refresh()
        shown = session.shown_prediction()
        if shown is None:
            for role in (*PREDICTED, CHANGED):
                self.remove(role)
            self._predicted_round = self._changed_rounds = None
            return
        number, store = shown
        self._refresh_changed(number)
        if self.layer(PREDICTION) is None or number != self._predicted_round:
            self._put_prediction(store)
            self._predicted_round = number
            return
        for level in self._predicted:
            level.set_coarse(store.coarse_answers())
        for role in PREDICTED:
            layer = self.layer(role)
            if layer is not None and layer.visible:
                layer.refresh()

    def _refresh_changed(self, number: int) -> None:
        """Show where the round on show differs from the one it is compared with, if any."""
        pair, rounds = self.session.compared_predictions(), (self.session.compared_round, number)
        if pair is None:
            self.remove(CHANGED)
            self._changed_rounds = None
        elif rounds != self._changed_rounds or self.layer(CHANGED) is None:
            older, newer = (prediction_levels(each, "class") for each in pair)
            levels = [ChangedLevel(*each) for each in zip(older, newer, strict=True)]
            self._put_labels(CHANGED, levels, visible=True)
            self._changed_rounds = rounds
        elif (layer := self.layer(CHANGED)) is not None and layer.visible:
            layer.refresh()

    def _refresh_clusters(self) -> None:
        """Show the clusters of a first guess while they wait for names, and until there is more."""
        session = self.session
        note, store = session.guess_note(), session.clusters()
        if note is None or store is None or session.latest_round() is not None:
            self.remove(CLUSTERS)
            self._clustered = None
            return
        layer, shown = self.layer(CLUSTERS), self._clustered
        if layer is None or shown is None or note.directions != shown.directions:
            self._put_labels(CLUSTERS, store.levels("class"), visible=note.waiting)
        elif note.names != shown.names:
            layer.visible = note.waiting
        else:
            layer.refresh()
        self._clustered = note

    def _put_prediction(self, store: PredictionStore) -> None:
        classes, confidence, disagreement = (prediction_levels(store, what) for what in KINDS)
        self._predicted = [*classes, *confidence, *disagreement]
        self._put_labels(PREDICTION, classes)
        self._put_labels(DISAGREEMENT, disagreement)
        doubt = [DoubtLevel(*each) for each in zip(confidence, classes, strict=True)]
        look = look_of(self.layer(UNCERTAINTY))
        self.remove(UNCERTAINTY)
        self.add(uncertainty_overlay(doubt, self._spacing_um, **look))

    def _put_labels(self, role: str, levels: list[Any], **look: Any) -> None:
        look |= look_of(self.layer(role))
        self.remove(role)
        palette = (OVERLAYS[role].palette or class_palette)(self.session)
        self.add(labels_overlay(role, levels, palette, self._spacing_um, **look))

    @contextmanager
    def one_change(self) -> Iterator[None]:
        """Show once, at the end of a block, which region is open: it may change several times."""
        outermost, self._changing = not self._changing, True
        try:
            yield
        finally:
            if outermost:
                self._changing = False
                if self._region_waits:
                    self._region_waits = False
                    self._on_region_changed()

    def _on_region_changed(self) -> None:
        if self._changing:
            self._region_waits = True
            return
        before, edit = self.editing(), self.session.edit
        if before is not None:
            self._brush = Brush(before.selected_label, before.brush_size, str(before.mode))
        if before is not None and edit is not None and before.data.shape == edit.values.shape:
            # A layer less and a layer more would hold the window up for a third of a second.
            self._painted_digest = _digest(edit.values)
            move_editing_layer(before, edit, self._spacing_um)
            if self._brush is not None:
                self._brush.give(before)
            self.viewer.layers.selection.active = before
            self.viewport.look_at(edit.region.rect)
            return
        self.replacing = True
        try:
            self.remove(EDITING)
        finally:
            self.replacing = False
        if edit is None:
            self.hide_overlays_while_painting(EDITING, False)
            return
        layer = editing_layer(
            edit, class_palette(self.session), self._spacing_um, self._touched, self._on_touched
        )
        self._painted_digest = _digest(edit.values)
        self.add(layer)
        layer.events.paint.connect(self._on_strokes)
        layer.events.set_data.connect(self._on_strokes)
        layer.mode = "paint"
        if self._brush is not None:
            self._brush.give(layer)
        self.hide_overlays_while_painting(EDITING, True)
        self.viewer.layers.selection.active = layer
        self.viewport.look_at(edit.region.rect)

    def paint_class(self, value: int) -> None:
        """Paint with the class of label ``value`` in the open region, if it is one."""
        layer, project = self.editing(), self.session.project
        if layer is None or project is None or value > len(project.info.classes):
            return
        layer.selected_label = value
        if str(layer.mode) not in {"paint", "fill", "polygon"}:
            layer.mode = "paint"
        self.viewer.layers.selection.active = layer

    def _touched(self) -> NDArray[np.bool_] | None:
        edit = self.session.edit
        return None if edit is None else edit.touched

    def _on_touched(self) -> None:
        """Note a stroke also where it changes no label: it says that the label is right."""
        layer = self.editing()
        if layer is not None:
            self._painted_digest = _digest(layer.data)
            self.session.strokes_made(np.asarray(layer.data))

    def _on_strokes(self) -> None:
        layer = self.editing()
        if layer is None or self.session.edit is None:
            return
        values = np.asarray(layer.data)
        if values.dtype != np.uint8:
            values = np.clip(values, 0, 255).astype(np.uint8)
        digest = _digest(values)
        if digest != self._painted_digest:  # napari tells of pixels that are only drawn again too
            self._painted_digest = digest
            self.session.strokes_made(values)

    @property
    def _spacing_um(self) -> float:
        """Pixel size of labels and predictions."""
        project = self.session.project
        return 1.0 if project is None else project.info.spacing_um


def _digest(values: Pixels) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data)
