"""Colours of label values and of doubt, as napari's colormaps."""

from __future__ import annotations

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap


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
