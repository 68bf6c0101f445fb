"""The region under the brush: what it started from, and what it is now."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unisemalign.project import Origin, Region

Pixels = NDArray[np.uint8]


@dataclass
class RegionEdit:
    """One region being edited; every array is ``(h, w)`` at working spacing.

    Attributes
    ----------
    values
        The labels as they are now. The editing layer paints into this very array.
    labels, origin
        What was labelled before, and where that came from.
    predicted
        What the model said; 0 where it said nothing.
    restored
        Whether it began from a draft.
    strokes, kept
        How often something was painted, and how much of that a draft holds.
    touched
        ``(h, w)`` bool: what a stroke went over, whether or not it changed the label.
    """

    region: Region
    values: Pixels
    labels: Pixels
    origin: Pixels
    predicted: Pixels
    restored: bool = False
    strokes: int = 0
    kept: int = 0
    touched: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.touched = np.zeros(self.values.shape, bool)

    def take_prediction(self, predicted: Pixels) -> bool:
        """Show what the model says now, ``(h, w)``, wherever nothing was painted or labelled.

        ``values`` changes in place. Where ``predicted`` is 0 the model says nothing new. Returns
        whether anything is different.
        """
        newer = (predicted > 0) & (predicted != self.predicted)
        if not newer.any():
            return False
        untouched = newer & ~self.touched & (self.values == self.start) & (self.labels == 0)
        self.values[untouched] = predicted[untouched]
        self.predicted = np.where(newer, predicted, self.predicted)
        return True

    @property
    def dirty(self) -> bool:
        """Whether something was painted that no draft holds yet."""
        return self.strokes > self.kept

    @property
    def start(self) -> Pixels:
        """What the person found: earlier labels, and the prediction where there were none."""
        return start_values(self.labels, self.predicted)

    def resolve_origin(self) -> Pixels:
        """Return where each pixel of :attr:`values` comes from (see :func:`resolve_origin`)."""
        return resolve_origin(
            self.values, labels=self.labels, origin=self.origin, predicted=self.predicted
        )


def start_values(labels: Pixels, predicted: Pixels) -> Pixels:
    """Return earlier labels, and the prediction where nothing was labelled."""
    return np.where(labels > 0, labels, predicted).astype(np.uint8)


def resolve_origin(values: Pixels, *, labels: Pixels, origin: Pixels, predicted: Pixels) -> Pixels:
    """Return the origin of every accepted pixel.

    Parameters
    ----------
    values
        What the person accepts.
    labels, origin
        What was labelled before, and its origin.
    predicted
        What the model said.

    Returns
    -------
    NDArray
        0 where ``values`` is 0; the earlier origin where an earlier label stands unchanged;
        accepted where the prediction stands unchanged; corrected where either was changed; drawn
        where there was nothing.
    """
    start = start_values(labels, predicted)
    result = np.full(values.shape, Origin.DRAWN, np.uint8)
    changed = values != start
    result[changed & (start > 0)] = Origin.CORRECTED
    result[~changed & (start > 0)] = Origin.ACCEPTED
    kept = ~changed & (labels > 0)
    result[kept] = origin[kept]
    result[values == 0] = Origin.NONE
    return result
