"""Specks and holes in a predicted map: dropped, filled, smoothed, wherever the map is read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unisemalign.errors import SettingsError
from unisemalign.geometry import Rect
from unisemalign.terms import MAX_PATCH_PX

U8 = NDArray[np.uint8]
Side = Literal["top", "left", "bottom", "right"]

USUAL_UM2 = 25.0
"""µm². On 66 GlaS images it brought object F1 from 64.7 to 67.0 (``docs/experiments.md``)."""
_LONGEST_PX = 1024
"""A longer patch is kept, however thin: a square is cleaned with so many pixels around it."""
_TILE_PX = 2048
_KEPT_BYTES = 2**28


@dataclass(frozen=True)
class Cleaning:
    """Which patches of a predicted map are dropped. 0 turns each off.

    Attributes
    ----------
    min_object_px
        Smaller patches of any class but the first become what lies around them.
    min_hole_px
        Smaller patches of the first class, which is the background, likewise.
    smooth_px
        Radius of the square whose most frequent class a pixel takes, before that.
    """

    min_object_px: int = 0
    min_hole_px: int = 0
    smooth_px: int = 0

    def __post_init__(self) -> None:
        for name, most in (
            ("min_object_px", MAX_PATCH_PX),
            ("min_hole_px", MAX_PATCH_PX),
            ("smooth_px", 50),
        ):
            found = getattr(self, name)
            if not 0 <= found <= most:
                raise SettingsError(f"{name} needs 0 to {most}, found {found}.")

    @classmethod
    def usual(cls, spacing_um: float) -> Cleaning:
        """Return what an export does unless it is told otherwise: specks and holes are left out.

        Both below :data:`USUAL_UM2`, less than a nucleus covers; ``spacing_um`` a pixel.
        """
        px = min(round(USUAL_UM2 / spacing_um**2), MAX_PATCH_PX)
        return cls(px, px)

    def __bool__(self) -> bool:
        return bool(self.min_object_px or self.min_hole_px or self.smooth_px)

    @property
    def margin_px(self) -> int:
        """How much around a square its cleaning depends on."""
        return min(max(self.min_object_px, self.min_hole_px), _LONGEST_PX) + self.smooth_px + 1

    def apply(self, labels: U8, cut: frozenset[Side] = frozenset()) -> U8:
        """Return cleaned label values, ``(Y, X)``; 0, where nothing is predicted, stays.

        Parameters
        ----------
        labels
            0 = none, k = class k.
        cut
            Sides at which the map goes on: a patch that reaches one may be larger than it looks.
        """
        if self.smooth_px:
            labels = _smoothed(labels, self.smooth_px)
        dropped = np.zeros(labels.shape, bool)
        for value in np.unique(labels[labels > 0]).tolist():
            limit = self.min_hole_px if value == 1 else self.min_object_px
            if limit > 1:
                dropped |= _smaller(labels == value, limit, cut)
        kept = (labels > 0) & ~dropped
        if not dropped.any() or not kept.any():
            return labels
        nearest = ndimage.distance_transform_edt(~kept, return_distances=False, return_indices=True)
        return np.where(dropped, labels[tuple(nearest)], labels)


def _smaller(mask: NDArray[np.bool_], limit: int, cut: frozenset[Side]) -> NDArray[np.bool_]:
    """Return the patches of ``mask`` with less than ``limit`` pixels; none that reaches a cut."""
    numbers, count = ndimage.label(mask)
    small = np.bincount(numbers.ravel(), minlength=count + 1) < limit
    rims = {"top": numbers[0], "bottom": numbers[-1], "left": numbers[:, 0]}
    rims["right"] = numbers[:, -1]
    for side in cut:
        small[rims[side]] = False
    small[0] = False
    found: NDArray[np.bool_] = small[numbers]
    return found


def _smoothed(labels: U8, radius: int) -> U8:
    """Return the most frequent class of the square around each pixel; a tie goes to the lower."""
    best = np.zeros(labels.shape, np.float32)
    smooth = labels.copy()
    for value in np.unique(labels[labels > 0]).tolist():
        share = ndimage.uniform_filter(
            (labels == value).astype(np.float32), 2 * radius + 1, mode="constant"
        )
        better = (share > best + 1e-6) & (labels > 0)
        smooth[better], best = value, np.where(better, share, best)
    return smooth


class CleanedMap:
    """A predicted map that is cleaned where it is read: any part is the crop of the whole.

    Parameters
    ----------
    read
        Returns label values under a rectangle, 0 outside.
    shape_yx
        ``(height, width)`` of the map.
    cleaning
        What is dropped.
    """

    def __init__(
        self, read: Callable[[Rect], U8], shape_yx: tuple[int, int], cleaning: Cleaning
    ) -> None:
        self._read = read
        self._whole = Rect(0, 0, *shape_yx)
        self._cleaning = cleaning
        self._tiles: OrderedDict[tuple[int, int], U8] = OrderedDict()

    def read(self, rect: Rect) -> U8:
        """Return cleaned label values, ``(h, w)``; 0 outside the map."""
        out = np.zeros(rect.shape, np.uint8)
        inside = rect.intersect(self._whole)
        if not inside.area:
            return out
        for row in range(inside.y // _TILE_PX, -(-inside.y1 // _TILE_PX)):
            for column in range(inside.x // _TILE_PX, -(-inside.x1 // _TILE_PX)):
                tile = Rect(row * _TILE_PX, column * _TILE_PX, _TILE_PX, _TILE_PX)
                tile = tile.intersect(self._whole)
                part = tile.intersect(inside)
                pixels = self._tile((row, column), tile)
                out[part.relative_to(rect).slices] = pixels[part.relative_to(tile).slices]
        return out

    def _tile(self, place: tuple[int, int], tile: Rect) -> U8:
        if place not in self._tiles:
            around = tile.grown(self._cleaning.margin_px).intersect(self._whole)
            sides: dict[Side, bool] = {
                "top": around.y > 0,
                "left": around.x > 0,
                "bottom": around.y1 < self._whole.h,
                "right": around.x1 < self._whole.w,
            }
            cut = frozenset(side for side, goes_on in sides.items() if goes_on)
            cleaned = self._cleaning.apply(self._read(around), cut)
            self._tiles[place] = cleaned[tile.relative_to(around).slices].copy()
            most = max(_KEPT_BYTES // _TILE_PX**2, -(-self._whole.w // _TILE_PX) + 1)
            while len(self._tiles) > most:
                self._tiles.popitem(last=False)
        self._tiles.move_to_end(place)
        return self._tiles[place]
