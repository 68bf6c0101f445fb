"""The napari layers of a session, named for what they are. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap

from napari_unisemalign.canvas.lazy_levels import (
    DoubtLevel,
    LabelLevel,
    PredictionLevel,
    label_levels,
    prediction_levels,
    two_or_more,
)
from napari_unisemalign.canvas.reader import METADATA_KEY, slide_layer
from napari_unisemalign.session.dock_state import cluster_color
from napari_unisemalign.session.session import Session
from unisemalign.geometry import Rect
from unisemalign.project import GuessNote, PredictionStore
from unisemalign.project.predictions import KINDS

PREDICTION = "prediction"
CLUSTERS = "clusters"
UNCERTAINTY = "uncertainty"
DISAGREEMENT = "disagreement"
ACCEPTED = "accepted"
TISSUE = "tissue"
EDITING = "editing"
SLIDE = "slide"
DISAGREEMENT_NAMES = (
    "none",
    "prototypes disagree",
    "words disagree",
    "prototypes and words disagree",
)
DISAGREEMENT_COLORS = ("#00000000", "#f0e442", "#56b4e9", "#d55e00")
UNITS = ("um", "um")
FRAME_COLOR = "#2f7de1"


class LayerManager:
    """Keeps the layers of one viewer in step with a session.

    Layers are known by their metadata, never by name alone, so that what a person adds or renames
    is left in peace.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self.viewer = viewer
        self.session = session
        self._predicted_round: int | None = None
        self._clustered: GuessNote | None = None
        self._accepted: list[LabelLevel] = []
        self._predicted: list[PredictionLevel] = []
        self._hidden: set[str] = set()
        self._painted: set[str] = set()
        self._set_up: Callable[[Layer], None] = lambda _layer: None
        session.slide_changed.connect(self._on_slide_changed)
        session.region_changed.connect(self._on_region_changed)
        session.labels_changed.connect(self._on_labels_changed)
        session.prediction_changed.connect(self.refresh_prediction)

    def set_up_new_layers(self, set_up: Callable[[Layer], None]) -> None:
        """Call ``dressing`` with every layer made from now on (to bind its keys)."""
        self._set_up = set_up

    def layer(self, role: str) -> Layer | None:
        """Return the layer of that role, or ``None``."""
        for layer in self.viewer.layers:
            if layer.metadata.get(METADATA_KEY, {}).get("role") == role:
                return layer
        return None

    def editing(self) -> Labels | None:
        """Return the layer under the brush."""
        layer = self.layer(EDITING)
        return layer if isinstance(layer, Labels) else None

    def toggle(self, role: str) -> bool | None:
        """Show or hide a layer; ``None`` when it is not there."""
        layer = self.layer(role)
        if layer is None:
            return None
        layer.visible = not layer.visible
        return bool(layer.visible)

    def visible_rect(self, canvas_yx: tuple[int, int] | None = None) -> Rect:
        """Return what the window shows, at working spacing, cut to the slide."""
        session = self.session
        if session.project is None or session.slide is None:
            return Rect(0, 0, 0, 0)
        spacing = session.project.info.spacing_um
        whole = Rect(0, 0, *session.spaced_slide(session.slide).shape_yx)
        canvas = canvas_yx or tuple(self.viewer.canvas.size)
        zoom = float(self.viewer.scene.camera.zoom)
        center = np.asarray(self.viewer.scene.camera.center, float)[-2:]
        half = np.asarray(canvas, float) / zoom / 2
        low = np.floor((center - half) / spacing).astype(int)
        high = np.ceil((center + half) / spacing).astype(int)
        h, w = np.maximum(high - low, 0)
        return Rect(int(low[0]), int(low[1]), int(h), int(w)).intersect(whole)

    @property
    def downsample(self) -> float:
        """Working pixels across a pixel of the window."""
        project = self.session.project
        spacing = 1.0 if project is None else project.info.spacing_um
        return 1 / (float(self.viewer.scene.camera.zoom) * spacing)

    def look_at(self, rect: Rect, canvas_yx: tuple[int, int] | None = None) -> None:
        """Move the camera so that ``rect`` (working spacing) fills most of the window."""
        if self.session.project is None:
            return
        spacing = self.session.project.info.spacing_um
        canvas = canvas_yx or tuple(self.viewer.canvas.size)
        self.viewer.scene.camera.center = (
            (rect.y + rect.h / 2) * spacing,
            (rect.x + rect.w / 2) * spacing,
        )
        room = min(canvas[0] / max(1, rect.h), canvas[1] / max(1, rect.w))
        self.viewer.scene.camera.zoom = 0.75 * room / spacing

    # -- in step with the session -------------------------------------------------------------

    def recreate_layers(self) -> None:
        """Make what is missing of the slide on show, such as layers deleted by hand."""
        session = self.session
        if session.project is None or session.slide is None:
            return
        if self.layer(SLIDE) is None:
            slide = session.spaced_slide(session.slide)
            data, keywords, _ = slide_layer(slide.slide, name=session.slide)
            keywords["metadata"][METADATA_KEY]["role"] = SLIDE
            self._drop_loose(keywords["metadata"][METADATA_KEY]["path"])
            self.add(Image(data, **keywords))
        self.viewer.canvas.overlays.scale_bar.visible = True
        self.refresh_prediction()
        self._on_labels_changed()

    def _on_slide_changed(self) -> None:
        self._remove_all()
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
            self._accepted = label_levels(store)
            self._put_labels(ACCEPTED, self._accepted, opacity=0.35)
            return
        # Taking a layer away and making it again would hold the window up for half a second.
        labelled = store.labelled_rects()
        for level in self._accepted:
            level.labelled = labelled
        layer.refresh()

    def refresh_prediction(self) -> None:
        """Show the newest prediction; new pixels of the one on show are only drawn again."""
        session = self.session
        self._refresh_clusters()
        store, number = session.prediction(), session.prediction_round()
        if store is None:
            for role in (PREDICTION, UNCERTAINTY, DISAGREEMENT):
                self._remove(role)
            self._predicted_round = None
            return
        there = self.layer(PREDICTION)
        if there is None or number != self._predicted_round:
            self._put_prediction(store)
            self._predicted_round = number
            return
        for level in self._predicted:
            level.set_coarse(store.coarse_answers())
        for role in (PREDICTION, UNCERTAINTY, DISAGREEMENT):
            layer = self.layer(role)
            if layer is not None and layer.visible:
                layer.refresh()

    def _refresh_clusters(self) -> None:
        """Show the clusters of a first guess while they wait for names, and until there is more."""
        session = self.session
        note, store = session.guess_note(), session.clusters()
        if note is None or store is None or session.latest_round() is not None:
            self._remove(CLUSTERS)
            self._clustered = None
            return
        layer = self.layer(CLUSTERS)
        if layer is None or note.directions != (self._clustered and self._clustered.directions):
            self._put_labels(CLUSTERS, store.levels("class"), opacity=0.5, visible=note.waiting)
        elif note.names != (self._clustered and self._clustered.names):
            layer.visible = note.waiting
        else:
            layer.refresh()
        self._clustered = note

    def _put_prediction(self, store: PredictionStore) -> None:
        classes, confidence, disagreement = (prediction_levels(store, what) for what in KINDS)
        self._predicted = [*classes, *confidence, *disagreement]
        self._put_labels(PREDICTION, classes, opacity=0.4)
        self._put_labels(DISAGREEMENT, disagreement, opacity=0.6, visible=False)
        doubt = [DoubtLevel(*each) for each in zip(confidence, classes, strict=True)]
        old = self.layer(UNCERTAINTY)
        visible = False if old is None else bool(old.visible)
        self._remove(UNCERTAINTY)
        layer = Image(
            two_or_more(doubt),
            name=UNCERTAINTY,
            multiscale=True,
            colormap=doubt_colormap(),
            contrast_limits=(0, 255),
            interpolation2d="nearest",
            opacity=0.6,
            visible=visible,
            metadata={METADATA_KEY: {"role": UNCERTAINTY}},
            **self._place(Rect(0, 0, *store.shape_yx)),
        )
        self.add(layer)

    def _put_labels(
        self, role: str, levels: list[Any], *, opacity: float, visible: bool = True
    ) -> None:
        old = self.layer(role)
        if old is not None:
            opacity, visible = float(old.opacity), bool(old.visible)
        self._remove(role)
        names, colors = self._classes()
        if role == DISAGREEMENT:
            names, colors = list(DISAGREEMENT_NAMES), list(DISAGREEMENT_COLORS)
        if role == CLUSTERS:
            names, colors = self._cluster_names()
        layer = Labels(
            two_or_more(levels),
            name=role,
            multiscale=True,
            opacity=opacity,
            visible=visible,
            colormap=class_colormap(colors),
            features={"index": list(range(len(names))), "class": names},
            metadata={METADATA_KEY: {"role": role}},
            **self._place(Rect(0, 0, *levels[0].shape)),
        )
        layer.editable = False
        self.add(layer)

    def _on_region_changed(self) -> None:
        self._remove(EDITING)
        edit = self.session.edit
        if edit is None:
            self.hide_overlays_while_painting(EDITING, False)
            return
        names, colors = self._classes()
        layer = Labels(
            edit.values,
            name=EDITING,
            opacity=0.5,
            colormap=class_colormap(colors),
            features={"index": list(range(len(names))), "class": names},
            metadata={METADATA_KEY: {"role": EDITING}},
            **self._place(edit.region.rect),
        )
        layer.brush_size = max(8, min(edit.region.rect.shape) // 24)
        layer.selected_label = 1
        layer.bounding_box.visible = True
        layer.bounding_box.points = False
        layer.bounding_box.line_color = FRAME_COLOR
        layer.bounding_box.line_thickness = 2
        self.add(layer)
        layer.events.paint.connect(self._on_strokes)
        layer.events.set_data.connect(self._on_strokes)
        layer.mode = "paint"
        self.hide_overlays_while_painting(EDITING, True)
        self.viewer.layers.selection.active = layer
        self.look_at(edit.region.rect)

    def hide_overlays_while_painting(self, painted: str, editing: bool) -> None:
        """Keep the overlays below from tinting what is being painted.

        ``painted`` is the role of the layer that is, or is no longer, painted on.
        """
        before = bool(self._painted)
        (self._painted.add if editing else self._painted.discard)(painted)
        if bool(self._painted) == before:
            return
        for role in (PREDICTION, CLUSTERS, ACCEPTED):
            layer = self.layer(role)
            if layer is None:
                continue
            if editing and layer.visible:
                self._hidden.add(role)
                layer.visible = False
            elif not editing and role in self._hidden:
                layer.visible = True
        if not editing:
            self._hidden.clear()

    def _on_strokes(self) -> None:
        layer = self.editing()
        if layer is None or self.session.edit is None:
            return
        values = np.asarray(layer.data)
        if values.dtype != np.uint8:
            values = np.clip(values, 0, 255).astype(np.uint8)
        self.session.strokes_made(values)

    # -- small parts --------------------------------------------------------------------------

    def _classes(self) -> tuple[list[str], list[str]]:
        project = self.session.project
        infos = () if project is None else project.info.classes
        return (
            ["not labelled", *(each.name for each in infos)],
            ["#00000000", *(each.color for each in infos)],
        )

    def _cluster_names(self) -> tuple[list[str], list[str]]:
        note = self.session.guess_note()
        numbers = range(1, 1 + (0 if note is None else len(note.directions)))
        return (
            ["no tissue", *(f"cluster {number}" for number in numbers)],
            ["#00000000", *(cluster_color(number) for number in numbers)],
        )

    def _place(self, rect: Rect) -> dict[str, Any]:
        """Return :func:`place` of pixels at working spacing."""
        project = self.session.project
        spacing = 1.0 if project is None else project.info.spacing_um
        return place(rect, spacing)

    def add(self, layer: Layer) -> None:
        """Add a layer at its place in the order slide, clusters, prediction, …, editing."""
        order = [SLIDE, CLUSTERS, PREDICTION, UNCERTAINTY, DISAGREEMENT, ACCEPTED, TISSUE, EDITING]
        rank = order.index(layer.metadata[METADATA_KEY]["role"])
        place = len(self.viewer.layers)
        for index, other in enumerate(self.viewer.layers):
            role = other.metadata.get(METADATA_KEY, {}).get("role")
            if role in order and order.index(role) > rank:
                place = index
                break
        active = self.viewer.layers.selection.active
        self._set_up(layer)
        self.viewer.layers.insert(place, layer)
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _remove(self, role: str) -> None:
        layer = self.layer(role)
        if layer is not None:
            self.viewer.layers.remove(layer)

    def _remove_all(self) -> None:
        # One by one, each layer's going would hold the window up for a quarter of a second.
        with self.viewer.layers.batched_update():
            for layer in list(self.viewer.layers):
                if "role" in layer.metadata.get(METADATA_KEY, {}):
                    self.viewer.layers.remove(layer)
        self._predicted_round = self._clustered = None

    def _drop_loose(self, path: str) -> None:
        """Remove a layer of the same file that was opened before the project knew it."""
        for layer in list(self.viewer.layers):
            facts = layer.metadata.get(METADATA_KEY, {})
            if facts.get("path") == path and "role" not in facts:
                self.viewer.layers.remove(layer)


def place(rect: Rect, spacing_um: float) -> dict[str, Any]:
    """Return scale and translate (µm) of pixels of ``spacing_um`` whose corner is ``rect``'s.

    The slide's top-left edge lies at 0, 0, so a pixel's centre lies half a pixel further.
    """
    return {
        "scale": (spacing_um, spacing_um),
        "translate": ((rect.y + 0.5) * spacing_um, (rect.x + 0.5) * spacing_um),
        "units": UNITS,
    }


def class_colormap(colors: list[str]) -> DirectLabelColormap:
    """Return the colours of label values 0…C; anything else is transparent."""
    table: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    table.update(dict(enumerate(colors[1:], start=1)))
    return DirectLabelColormap(color_dict=table)


def doubt_colormap() -> Colormap:
    """Return magma that begins transparent: what the model is sure of lets the slide through."""
    magma = ensure_colormap("magma").map(np.linspace(0.25, 1, 256))
    magma[:, 3] = np.clip(np.linspace(-0.05, 2.0, 256), 0, 1)
    return Colormap(magma, name="doubt")
