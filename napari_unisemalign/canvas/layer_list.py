"""The layers of this package in a viewer: found by role, added in order, hidden while painting."""

from __future__ import annotations

from collections.abc import Callable

from napari.components import ViewerModel
from napari.layers import Labels, Layer
from psygnal import Signal

from napari_unisemalign.canvas.overlays import EDITING, ORDER, OVERLAYS
from napari_unisemalign.canvas.slide_layer import METADATA_KEY

OUTLINE_PX = 3
"""Width of the outlines of what is painted, in pixels of the region."""


def role_of(layer: Layer) -> str | None:
    """Return a layer's role among this package's layers, ``None`` for anybody else's."""
    role: str | None = layer.metadata.get(METADATA_KEY, {}).get("role")
    return role


class LayerList:
    """Layers are known by their metadata, never by name: what a person adds is left in peace."""

    shown_changed = Signal()
    """A layer came, went, was hidden or shown."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._painted: set[str] = set()
        self._hidden: set[str] = set()
        self._outlined: tuple[bool, Labels | None] = (False, None)
        self._set_up: Callable[[Layer], None] = lambda _layer: None
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._on_shown_changed)

    def shut_down(self) -> None:
        """Follow the viewer no longer."""
        for event in (self.viewer.layers.events.inserted, self.viewer.layers.events.removed):
            event.disconnect(self._on_shown_changed)

    def set_up_new_layers(self, set_up: Callable[[Layer], None]) -> None:
        """Call ``set_up`` with every layer added from now on (to bind its keys)."""
        self._set_up = set_up

    def layer(self, role: str) -> Layer | None:
        """Return the layer of that role, or ``None``."""
        return next((layer for layer in self.viewer.layers if role_of(layer) == role), None)

    def editing(self) -> Labels | None:
        """Return the layer under the brush."""
        layer = self.layer(EDITING)
        return layer if isinstance(layer, Labels) else None

    def toggle(self, role: str) -> bool | None:
        """Show or hide a layer and return whether it is visible; ``None`` when it is not there."""
        layer = self.layer(role)
        if layer is None:
            return None
        layer.visible = not layer.visible
        return bool(layer.visible)

    def add(self, layer: Layer) -> None:
        """Add a layer at its place in the order of :data:`ORDER`; the active layer stays active."""
        rank = ORDER.index(layer.metadata[METADATA_KEY]["role"])
        index = next(
            (
                index
                for index, other in enumerate(self.viewer.layers)
                if (role := role_of(other)) in ORDER and ORDER.index(role) > rank
            ),
            len(self.viewer.layers),
        )
        active = self.viewer.layers.selection.active
        self._set_up(layer)
        layer.events.visible.connect(self._on_shown_changed)
        self.viewer.layers.insert(index, layer)
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def remove(self, role: str) -> None:
        """Remove the layer of that role, if it is there."""
        layer = self.layer(role)
        if layer is not None:
            self.viewer.layers.remove(layer)

    def remove_all(self) -> None:
        """Remove every layer of this package."""
        # One by one, each layer's going would hold the window up for a quarter of a second.
        with self.viewer.layers.batched_update():
            for layer in [each for each in self.viewer.layers if role_of(each) is not None]:
                self.viewer.layers.remove(layer)

    def remove_loose(self, path: str) -> None:
        """Remove a layer of the same file that was opened before the project knew it."""
        for layer in list(self.viewer.layers):
            facts = layer.metadata.get(METADATA_KEY, {})
            if facts.get("path") == path and "role" not in facts:
                self.viewer.layers.remove(layer)

    def _on_shown_changed(self) -> None:
        self._outline_while_read()
        self.shown_changed.emit()

    def _outline_while_read(self) -> None:
        """Show what is painted as outlines while an overlay below it is read, else as areas."""
        read = any(
            layer.visible
            and (overlay := OVERLAYS.get(role_of(layer) or "")) is not None
            and overlay.read_while_painting
            for layer in self.viewer.layers
        )
        editing = self.editing()
        # Only when it changes: a person may choose outlines too.
        if editing is not None and (read, editing) != self._outlined:
            editing.contour = OUTLINE_PX if read else 0
        self._outlined = read, editing

    def hide_overlays_while_painting(self, painted: str, editing: bool) -> None:
        """Hide the overlays that would tint what is being painted; show them again afterwards.

        ``painted`` is the role of the layer that is, or is no longer, painted on.
        """
        before = bool(self._painted)
        (self._painted.add if editing else self._painted.discard)(painted)
        if bool(self._painted) == before:
            return
        for role, overlay in OVERLAYS.items():
            layer = self.layer(role)
            if layer is None or not overlay.tints_brush:
                continue
            if editing and layer.visible:
                self._hidden.add(role)
                layer.visible = False
            elif not editing and role in self._hidden:
                layer.visible = True
        if not editing:
            self._hidden.clear()
