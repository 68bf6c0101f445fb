"""How alike places are: the shares of their predicted classes, and their colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.project import Project
from unisemalign.slides import SpacedSlide

_LONGEST_PX = 2048
"""A slide is looked at so small that its longer side is no longer than this."""
_LEAST_SD = 2.0
"""Grey levels: where a study's colours differ by less, they are not told apart."""
_SHARES_SD = 0.3
"""A difference of the classes' shares that counts as much as one SD of the colours."""


def mean_colors(
    project: Project, slide: str, rects: Sequence[Rect], size_px: int
) -> NDArray[np.float64]:
    """Return the mean colour of places of a slide, ``(N, 3)`` in 0…255.

    ``rects`` are in working pixels, about ``size_px`` a side. A slide that cannot be read has no
    colours: 0 everywhere.
    """
    try:
        opened = project.open_slide(slide)
    except SlideError:
        return np.zeros((len(rects), 3))
    try:
        factor = max(1.0, size_px / 8, max(opened.shape_yx) / _LONGEST_PX)
        small = SpacedSlide(opened.slide, opened.spacing_um * factor)
        h, w = small.shape_yx
        pixels = small.read(Rect(0, 0, h, w), [])
    finally:
        opened.slide.close()
    sums = np.zeros((h + 1, w + 1, 3))
    sums[1:, 1:] = pixels.astype(float).cumsum(0).cumsum(1)
    edges = np.array([(each.y, each.y1, each.x, each.x1) for each in rects]) / factor
    top, left = (np.minimum(edges[:, k].astype(int), side - 1) for k, side in ((0, h), (2, w)))
    below = np.clip(edges[:, 1].round().astype(int), top + 1, h)
    right = np.clip(edges[:, 3].round().astype(int), left + 1, w)
    total = sums[below, right] - sums[top, right] - sums[below, left] + sums[top, left]
    found: NDArray[np.float64] = total / ((below - top) * (right - left))[:, None]
    return found


class Likeness:
    """Tells how alike one of many places is to all of them.

    Parameters
    ----------
    shares
        ``(N, C)``: part of each place that is each class.
    colors
        ``(N, 3)``: mean colour of each, 0…255.
    """

    def __init__(self, shares: NDArray[np.float64], colors: NDArray[np.float64]) -> None:
        spread = np.maximum(colors.std(0), _LEAST_SD) if len(colors) else 1.0
        self._shares = shares / _SHARES_SD
        self._colors = colors / spread / np.sqrt(3)

    def to(self, place: int) -> NDArray[np.float64]:
        """Return ``(N,)`` in 0…1, 1 for a place that is the same: exp(−d²/2), d in SD."""
        apart = ((self._shares - self._shares[place]) ** 2).sum(1)
        apart += ((self._colors - self._colors[place]) ** 2).sum(1)
        alike: NDArray[np.float64] = np.exp(-apart / 2)
        return alike
