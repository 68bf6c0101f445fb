"""The brush: what a person painted with last."""

from __future__ import annotations

from dataclasses import dataclass

from napari.layers import Labels


@dataclass(frozen=True)
class Brush:
    """What a person painted with last: it stays from region to region."""

    label: int
    size: int
    mode: str

    def give(self, layer: Labels) -> None:
        """Paint with it on ``layer``."""
        layer.selected_label, layer.brush_size, layer.mode = self.label, self.size, self.mode
