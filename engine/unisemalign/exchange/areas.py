"""How much of a slide each class covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from unisemalign.exchange.pixels import BAND_PX
from unisemalign.project import Project


class Sized(Protocol):
    """What has a number of pixels."""

    @property
    def size(self) -> int:
        """Number of pixels."""


_ENOUGH_PX = 64_000_000
"""Of a larger slide a coarser level is counted: the answer must come at once."""


def countable_level(levels: Sequence[Sized]) -> int:
    """Return the finest level of a pyramid that is counted at once: the coarsest if none is."""
    fitting = [level for level, each in enumerate(levels) if each.size <= _ENOUGH_PX]
    return fitting[0] if fitting else len(levels) - 1


def area_by_class(
    project: Project,
    slide: str,
    round: int,  # noqa: A002  the field's word for a training run
) -> dict[str, float]:
    """Return the fraction of the predicted pixels that each class covers; all 0 when none is.

    Raises
    ------
    ProjectError
        If the round has no prediction of the slide.
    """
    levels = project.predictions(round, slide).levels("class")
    array = levels[countable_level(levels)]
    names = project.info.class_names
    counts = np.zeros(256, np.int64)
    for y in range(0, array.shape[0], BAND_PX):
        band = np.asarray(array[y : y + BAND_PX], np.uint8)
        counts += np.bincount(band.ravel(), minlength=256)
    total = max(1, int(counts[1 : len(names) + 1].sum()))
    return {name: float(counts[k] / total) for k, name in enumerate(names, start=1)}
