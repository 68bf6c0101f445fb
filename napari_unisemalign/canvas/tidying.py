"""Tidying one class of the open region: its outline moved or smoothed, its holes filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from scipy import ndimage

from napari_unisemalign.session.region_edit import Pixels

STEP_PX = 2
"""How far an outline moves at a time, and how coarse what is smoothed away is."""

Mask = NDArray[np.bool_]


def grow(values: Pixels, label: int) -> Pixels:
    """Return ``values`` ``(h, w)`` with ``label`` :data:`STEP_PX` wider all around."""
    return np.where(_dilated(values == label), np.uint8(label), values)


def shrink(values: Pixels, label: int) -> Pixels:
    """Return ``values`` with ``label`` narrower; what it leaves becomes its nearest neighbour's.

    Edges of the region are no outlines: nothing is lost there. Alone in the region it stays.
    """
    others = values != label
    left = ~others & _dilated(others)
    return _given_to_neighbours(values, left, others)


def smooth(values: Pixels, label: int) -> Pixels:
    """Return ``values`` with the outline of ``label`` smoothed: spikes and notches go."""
    mask = values == label
    soft = ndimage.gaussian_filter(mask.astype(np.float32), STEP_PX, mode="nearest")
    new = soft > 0.5
    grown = np.where(new & ~mask, np.uint8(label), values)
    return _given_to_neighbours(grown, mask & ~new, ~mask & ~new)


def fill_holes(values: Pixels, label: int) -> Pixels:
    """Return ``values`` with everything that ``label`` encloses made ``label``."""
    return np.where(ndimage.binary_fill_holes(values == label), np.uint8(label), values)


TIDYING: Mapping[str, Callable[[Pixels, int], Pixels]] = {
    "Grow": grow,
    "Shrink": shrink,
    "Smooth": smooth,
    "Fill holes": fill_holes,
}
"""What a person reads → what it does to the class that is chosen."""


def tidy(layer: Labels, name: str) -> bool:
    """Do ``name`` of :data:`TIDYING` to the chosen class, as one stroke that Undo takes back.

    Returns whether anything changed.
    """
    values = np.asarray(layer.data)
    new = TIDYING[name](values, int(layer.selected_label))
    changed = np.nonzero(new != values)
    if not changed[0].size:
        return False
    with layer.block_history():
        layer.data_setitem(changed, new[changed])
    return True


def _dilated(mask: Mask) -> Mask:
    y, x = np.ogrid[-STEP_PX : STEP_PX + 1, -STEP_PX : STEP_PX + 1]
    grown: Mask = ndimage.binary_dilation(mask, y**2 + x**2 <= STEP_PX**2)
    return grown


def _given_to_neighbours(values: Pixels, left: Mask, sources: Mask) -> Pixels:
    """Return ``values`` where each pixel of ``left`` is that of the nearest of ``sources``."""
    if not (left.any() and sources.any()):
        return values
    rows, columns = ndimage.distance_transform_edt(
        ~sources, return_distances=False, return_indices=True
    )
    given = values.copy()
    given[left] = values[rows[left], columns[left]]
    return given
