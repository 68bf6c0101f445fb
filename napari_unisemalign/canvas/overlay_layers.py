"""napari layers made from the table of overlays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from skimage.draw import disk, polygon

from napari_unisemalign.canvas.colormaps import class_colormap, doubt_colormap
from napari_unisemalign.canvas.lazy_levels import two_or_more
from napari_unisemalign.canvas.overlays import EDITING, OVERLAYS, UNCERTAINTY, Palette
from napari_unisemalign.canvas.placement import place
from napari_unisemalign.canvas.slide_layer import METADATA_KEY
from napari_unisemalign.session.region_edit import RegionEdit
from unisemalign.geometry import Rect

FRAME_COLOR = "#2f7de1"

Touched = Callable[[], NDArray[np.bool_] | None]
"""Returns what strokes went over in the open region, ``(h, w)``; ``None`` where none is open."""


def palette_keywords(palette: Palette) -> dict[str, Any]:
    """Return the arguments of a Labels layer that show and name its values."""
    return {
        "colormap": class_colormap(list(palette.colors)),
        "features": {"index": list(range(len(palette.names))), "class": list(palette.names)},
    }


def labels_overlay(
    role: str, levels: Sequence[Any], palette: Palette, spacing_um: float, **look: Any
) -> Labels:
    """Return a read-only layer of labels over the whole slide.

    Parameters
    ----------
    role
        A key of :data:`OVERLAYS`.
    levels
        Arrays ``(y, x)`` of uint8, finest first.
    palette
        What the values mean.
    spacing_um
        Pixel size of the finest level.
    look
        ``opacity`` and ``visible``, where they differ from the table's.
    """
    overlay = OVERLAYS[role]
    layer = Labels(
        two_or_more(levels),
        name=role,
        multiscale=True,
        metadata={METADATA_KEY: {"role": role}},
        **{"opacity": overlay.opacity, "visible": overlay.visible, **look},
        **palette_keywords(palette),
        **place(Rect(0, 0, *levels[0].shape), spacing_um),
    )
    layer.contour = overlay.contour
    layer.editable = False
    return layer


def uncertainty_overlay(levels: Sequence[Any], spacing_um: float, **look: Any) -> Image:
    """Return the layer of a prediction's doubt; the parameters are :func:`labels_overlay`'s."""
    overlay = OVERLAYS[UNCERTAINTY]
    return Image(
        two_or_more(levels),
        name=UNCERTAINTY,
        multiscale=True,
        colormap=doubt_colormap(),
        contrast_limits=(0, 255),
        interpolation2d="nearest",
        metadata={METADATA_KEY: {"role": UNCERTAINTY}},
        **{"opacity": overlay.opacity, "visible": overlay.visible, **look},
        **place(Rect(0, 0, *levels[0].shape), spacing_um),
    )


def editing_layer(
    edit: RegionEdit,
    palette: Palette,
    spacing_um: float,
    touched: Touched,
    on_touched: Callable[[], None],
) -> Labels:
    """Return the layer that is painted on: it holds the very array ``edit.values``.

    ``touched`` returns the open region's plane of what strokes went over; ``on_touched`` is called
    where a stroke goes over pixels that none went over before.
    """
    layer = Labels(
        edit.values,
        name=EDITING,
        opacity=OVERLAYS[EDITING].opacity,
        metadata={METADATA_KEY: {"role": EDITING}},
        **palette_keywords(palette),
        **place(edit.region.rect, spacing_um),
    )
    layer.brush_size = max(8, min(edit.region.rect.shape) // 24)
    layer.selected_label = 1
    limit_labels(layer, len(palette.names) - 1)
    note_touched(layer, touched, on_touched)
    layer.bounding_box.visible = True
    layer.bounding_box.points = False
    layer.bounding_box.line_color = FRAME_COLOR
    layer.bounding_box.line_thickness = 2
    return layer


def move_editing_layer(layer: Labels, edit: RegionEdit, spacing_um: float) -> None:
    """Let the layer that is painted on show another region of the same shape; its undo is empty."""
    layer.data = edit.values
    layer.editable = False  # napari forgets its undo
    layer.editable = True
    layer.translate = place(edit.region.rect, spacing_um)["translate"]


def note_touched(layer: Labels, touched: Touched, on_touched: Callable[[], None]) -> None:
    """Note every pixel a stroke goes over, also where the label was the same.

    napari tells of changed pixels only. What is filled changes everywhere and needs no note.
    """
    paint, paint_polygon = layer.paint, layer.paint_polygon
    shape = layer.data.shape

    def note(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> None:
        plane = touched()
        if plane is not None and not plane[rows, columns].all():
            plane[rows, columns] = True
            on_touched()

    def noting_paint(coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        paint(coord, new_label, refresh)
        note(*disk(np.round(coord), layer.brush_size // 2 + 0.51, shape=shape))

    def noting_polygon(points: Any, new_label: int) -> None:
        paint_polygon(points, new_label)
        rows, columns = np.asarray(points).astype(int).T
        note(*polygon(rows, columns, shape))

    layer.paint, layer.paint_polygon = noting_paint, noting_polygon


def limit_labels(layer: Labels, highest: int) -> None:
    """Keep what is painted within 0 and ``highest``, whoever chooses it (a key, the spin box)."""

    def on_chosen() -> None:
        chosen = min(max(0, int(layer.selected_label)), highest)
        if chosen != layer.selected_label:
            layer.selected_label = chosen

    layer.events.selected_label.connect(on_chosen)


def look_of(layer: Layer | None) -> dict[str, Any]:
    """Return the opacity and visibility a person gave a layer, nothing without one."""
    return {} if layer is None else {"opacity": layer.opacity, "visible": layer.visible}
