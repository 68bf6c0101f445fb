"""Halving of predicted pixels, kind by kind: 2 × 2 pixels become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]

COARSEST_PX = 1024
"""Longest side of the coarsest level that is shown or exported."""


def level_shapes(shape_yx: tuple[int, int], stop_px: int) -> list[tuple[int, int]]:
    """Return the shape of every level, finest first, until both sides are within ``stop_px``."""
    shapes = [shape_yx]
    while max(shapes[-1]) > stop_px:
        h, w = shapes[-1]
        shapes.append(((h + 1) // 2, (w + 1) // 2))
    return shapes


def coarser(rect: Rect) -> Rect:
    """Return the pixels of the next coarser level that ``rect`` touches."""
    y, x = rect.y // 2, rect.x // 2
    return Rect(y, x, (rect.y1 + 1) // 2 - y, (rect.x1 + 1) // 2 - x)


def finer(rect: Rect, shape_yx: tuple[int, int]) -> Rect:
    """Return the pixels of the next finer level, of ``shape_yx``, under ``rect``."""
    return Rect(2 * rect.y, 2 * rect.x, 2 * rect.h, 2 * rect.w).intersect(Rect(0, 0, *shape_yx))


def halve_majority(values: U8) -> U8:
    """Return the most frequent value of each 2 × 2 block; a tie goes to the highest value.

    The highest, so that what is predicted beats what is not, and disagreement is not smoothed away.
    """
    a, b, c, d = _quarters(values)
    low, high = np.minimum(a, b), np.maximum(a, b)
    low2, high2 = np.minimum(c, d), np.maximum(c, d)
    top = np.maximum(high, high2)
    # Sorted, a block reads s0 ≤ s1 ≤ s2 ≤ s3 with s3 = top.
    bottom = np.minimum(low, low2)
    m1, m2 = np.maximum(low, low2), np.minimum(high, high2)
    s1, s2 = np.minimum(m1, m2), np.maximum(m1, m2)
    # Only where s3 stands alone can s1 be more frequent: it then needs a twin beside it.
    twin = (s1 == bottom) | (s1 == s2)
    return np.where(twin & (s2 != top), s1, top)


def halve_mean(values: U8, weights: NDArray[np.bool_]) -> U8:
    """Return the mean of each 2 × 2 block over the pixels of ``weights``; 0 where there is none.

    Both arrays are ``(Y, X)``; odd sides repeat their last row or column.
    """
    # At most 4 × 255: 16 bits hold the sum.
    total = _sum(np.where(weights, values, np.uint8(0)))
    count = _sum(weights.astype(np.uint8))
    return ((total + count // 2) // np.maximum(count, 1)).astype(np.uint8)


def _sum(values: U8) -> U16:
    a, b, c, d = (quarter.astype(np.uint16) for quarter in _quarters(values))
    return a + b + c + d


def _quarters(values: U8) -> tuple[U8, U8, U8, U8]:
    h, w = values.shape
    if h % 2 or w % 2:
        values = np.pad(values, ((0, h % 2), (0, w % 2)), mode="edge")
    return values[::2, ::2], values[::2, 1::2], values[1::2, ::2], values[1::2, 1::2]
