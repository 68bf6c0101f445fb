"""The layer of a slide's tissue: what is found, and what a person marked over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_unisemalign.canvas.overlay_layers import limit_labels, palette_keywords
from napari_unisemalign.canvas.overlays import OVERLAYS, TISSUE, TISSUE_PALETTE
from napari_unisemalign.canvas.placement import place
from napari_unisemalign.canvas.slide_layer import METADATA_KEY
from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import TissueChange, TissueStore
from unisemalign.slides import TissueMask

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TissueLayer:
    """The slide whose tissue is on show; ``background`` is what its layer holds unmarked."""

    store: TissueStore
    slide: str
    found: TissueMask
    background: Pixels
    layer: Labels

    def changes(self) -> Pixels:
        """Return what is marked, as :class:`TissueChange`; what was rubbed out is as found.

        The layer is put right: the rubber leaves tissue wherever it was.
        """
        values = np.asarray(self.layer.data)
        if values.shape != self.found.mask.shape:
            raise ProjectError(
                f"The layer '{TISSUE}' needs {self.found.mask.shape} pixels, found {values.shape}. "
                f"Delete it and press Tissue again."
            )
        values = values.astype(np.uint8, copy=False)
        marked = values - np.uint8(1) < 2  # 0 wraps to 255
        changes = values * marked
        wanted = np.where(marked, values, self.background)
        if not np.array_equal(values, wanted):
            self.layer.data[...] = wanted
            self.layer.refresh()
        return changes


def tissue_layer(found: TissueMask, values: Pixels) -> Labels:
    """Return the layer of ``values`` ``(Y, X)``, in the pixels of ``found``."""
    layer = Labels(
        values,
        name=TISSUE,
        opacity=OVERLAYS[TISSUE].opacity,
        metadata={METADATA_KEY: {"role": TISSUE}},
        **palette_keywords(TISSUE_PALETTE),
        **place(Rect(0, 0, *found.mask.shape), found.spacing_um),
    )
    layer.brush_size = max(4, min(found.mask.shape) // 40)
    limit_labels(layer, max(TissueChange))
    return layer
