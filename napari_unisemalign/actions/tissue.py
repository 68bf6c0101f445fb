"""Showing a slide's tissue, and correcting it with napari's own brush."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

from napari_unisemalign.actions.tissue_search import TissueSearch, look_for_tissue
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.canvas.overlays import GLASS, TISSUE
from napari_unisemalign.canvas.tissue_layer import Pixels, TissueLayer, tissue_layer
from napari_unisemalign.engine.timers import single_shot
from unisemalign.project import TissueChange, TissueStore, corrected
from unisemalign.slides import TissueMask

SAVE_MS = 300
Reporting = Callable[[], AbstractContextManager[None]]


class TissueEditor(QObject):
    """Shows what will be skipped, and keeps what the person paints over it.

    Parameters
    ----------
    layers
        The layers of the viewer, and their session.
    reporting
        Returns a block in which an error is reported to the person.

    Attributes
    ----------
    finding
        Whether the tissue is being looked for.
    correcting
        Whether the person paints.
    share
        The part of the slide (0…1) that is tissue; ``None`` until it is known.
    """

    changed = Signal()
    """What is looked for, shown or painted with is another."""
    kept = Signal()
    """A correction was written: what was segmented there is of an older mask."""

    def __init__(self, layers: LayerManager, reporting: Reporting) -> None:
        super().__init__()
        self._layers = layers
        self._session = layers.session
        self._reporting = reporting
        self.finding = self.correcting = False
        self.share: float | None = None
        self._wanted = False
        self._asked = 0
        self._shown: TissueLayer | None = None
        self._kept: Pixels | None = None
        self._soon = single_shot(self, SAVE_MS, self.keep)
        self._session.slide_changed.connect(self._on_slide_changed)
        self._session.region_changed.connect(self._on_region_changed)
        layers.viewer.layers.events.removed.connect(self._on_layer_removed)

    def shut_down(self) -> None:
        """Keep what was painted, and follow the viewer no longer."""
        self.keep()
        self._asked += 1
        self._layers.viewer.layers.events.removed.disconnect(self._on_layer_removed)

    @property
    def layer(self) -> Labels | None:
        """The layer of the tissue, when it is there."""
        return None if self._shown is None else self._shown.layer

    @property
    def brush(self) -> int:
        """What the brush paints, as :class:`TissueChange`; 0 unless the person corrects."""
        return int(self.layer.selected_label) if self.layer and self.correcting else 0

    def toggle(self) -> None:
        """Show or hide the tissue; the first time it is looked for."""
        layer = self.layer
        if layer is None:
            self._wanted = True
            self._find()
        else:
            self._wanted = layer.visible = not layer.visible
            if not layer.visible:
                self.stop()
        self.changed.emit()

    def start(self) -> None:
        """Let the person paint; the tissue is shown first, where it is not on show."""
        self.correcting = self._wanted = True
        if self._shown is None:
            self._find()
        else:
            self._begin(self._shown.layer)
        self.changed.emit()

    def stop(self) -> None:
        """Keep what was painted, and put the brush away."""
        if not self.correcting:
            return
        self.keep()
        self.correcting = False
        layer = self.layer
        if layer is not None:
            layer.mode = "pan_zoom"  # editable it stays: napari would forget its undo
        self._layers.hide_overlays_while_painting(TISSUE, False)
        self.changed.emit()

    def paint(self, change: TissueChange) -> None:
        """Paint tissue, or what is to be skipped."""
        layer = self.layer
        if layer is not None and self.correcting:
            layer.selected_label = int(change)
            layer.mode = "fill" if layer.mode == "fill" else "paint"
            self._layers.viewer.layers.selection.active = layer
        self.changed.emit()

    def as_found(self) -> None:
        """Forget every mark; the layer's undo brings them back."""
        shown = self._shown
        if shown is None:
            return
        marked = np.nonzero(shown.changes())
        if marked[0].size:
            shown.layer.data_setitem(marked, shown.background[marked])
            shown.layer.refresh()
        self.keep()

    def keep(self) -> None:
        """Write what was painted into the project, where the engine finds it."""
        if isalive(self._soon):
            self._soon.stop()
        shown = self._shown
        if shown is None:
            return
        with self._reporting():
            changes = shown.changes()
            if self._kept is not None and np.array_equal(changes, self._kept):
                return
            shown.store.correct(shown.slide, changes, shown.found.spacing_um)
            self._kept = changes
            self.share = _share(corrected(shown.found, changes))
            self.kept.emit()
        self.changed.emit()

    # -- inside -------------------------------------------------------------------------------

    def _find(self) -> None:
        """Look for the tissue in a thread, which reads the slide through a handle of its own."""
        session = self._session
        if session.project is None or session.slide is None or self.finding:
            return
        with self._reporting():
            slide = session.spaced_slide(session.slide)
            store = TissueStore(session.project.root)
            self._asked += 1
            self.finding = True
            create_worker(
                look_for_tissue,
                TissueSearch(
                    self._asked,
                    store,
                    session.slide,
                    slide.slide.path,
                    slide.slide.spacing_um,
                    slide.slide.opening,
                    slide.spacing_um,
                ),
                _connect={"returned": self._on_found, "errored": self._on_stumbled},
            )

    def _on_found(self, answer: tuple[TissueSearch, TissueMask | Exception]) -> None:
        search, found = answer
        if search.number != self._asked:
            return
        correcting, self.finding = self.correcting, False
        self.correcting = self._wanted = False
        with self._reporting():
            if isinstance(found, Exception):
                raise found
            changes = search.store.correction(search.slide, found)
            unmarked = np.where(found.mask, np.uint8(0), np.uint8(GLASS))
            layer = tissue_layer(found, np.where(changes > 0, changes, unmarked))
            self._kept = changes
            self._shown = TissueLayer(search.store, search.slide, found, unmarked, layer)
            self.share = _share(corrected(found, changes))
            self._layers.add(layer)
            layer.events.paint.connect(self._on_strokes)
            layer.events.set_data.connect(self._on_strokes)
            self.correcting, self._wanted = correcting, True
            if correcting:
                self._begin(layer)
        self.changed.emit()

    def _on_stumbled(self) -> None:
        """Nobody foresaw this error: napari shows it."""
        self.finding = self.correcting = self._wanted = False
        self.changed.emit()

    def _begin(self, layer: Labels) -> None:
        self._layers.hide_overlays_while_painting(TISSUE, True)
        layer.visible = True
        layer.selected_label = int(TissueChange.NOT_TISSUE)
        layer.mode = "paint"
        self._layers.viewer.layers.selection.active = layer

    def _on_strokes(self) -> None:
        if isalive(self._soon):
            self._soon.start()

    def _on_slide_changed(self) -> None:
        # Its layer went with the slide before, and what was painted was kept then.
        self._asked += 1
        self.finding = False
        if self._session.slide is None:
            self._wanted = False
        elif self._wanted:
            self._find()

    def _on_region_changed(self) -> None:
        if self._session.edit is not None:
            self.stop()  # one brush at a time

    def _on_layer_removed(self, event: Any) -> None:
        shown = self._shown
        if shown is None or event.value is not shown.layer:
            return
        self.stop()
        self.keep()
        self._shown = self._kept = self.share = None
        if self._session.slide == shown.slide:
            self._wanted = False  # deleted by hand


def _share(mask: TissueMask) -> float:
    return float(np.count_nonzero(mask.mask) / mask.mask.size)
