"""What changed on a slide from one round to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.exchange.areas import countable_level
from unisemalign.exchange.pixels import BAND_PX
from unisemalign.project import Project


@dataclass(frozen=True)
class Changes:
    """Where two rounds name another class, of what both of them have labelled.

    Attributes
    ----------
    classes
        Names, in the order of the project's classes.
    um2
        Area in µm², ``(C, C)``: row the class in the older round, column in the newer one.
    """

    classes: tuple[str, ...]
    um2: NDArray[np.float64]

    @property
    def share(self) -> float:
        """Part of the area of both that changed its class; 0 where they share nothing."""
        total = float(self.um2.sum())
        return 0.0 if total == 0 else 1 - float(np.trace(self.um2)) / total

    def gained(self) -> dict[str, float]:
        """Return the area in µm² that each class gained; negative where it lost."""
        net = self.um2.sum(0) - self.um2.sum(1)
        return dict(zip(self.classes, net.tolist(), strict=True))


def count_changes(project: Project, slide: str, older: int, newer: int) -> Changes:
    """Compare what two rounds say of a slide; a large slide is counted at a coarser level.

    Raises
    ------
    ProjectError
        If one of them has no prediction of the slide.
    """
    before, after = (project.predictions(number, slide) for number in (older, newer))
    level = countable_level(after.levels("class"))
    maps = before.levels("class")[level], after.levels("class")[level]
    names = project.info.class_names
    n = len(names)
    counts = np.zeros((n, n), np.int64)
    for y in range(0, maps[0].shape[0], BAND_PX):
        one, two = (np.asarray(each[y : y + BAND_PX], np.uint8) for each in maps)
        both = (one > 0) & (one <= n) & (two > 0) & (two <= n)
        pairs = (one[both].astype(np.int64) - 1) * n + two[both] - 1
        counts += np.bincount(pairs, minlength=n * n).reshape(n, n)
    side_um = project.info.spacing_um * 2**level
    return Changes(tuple(names), counts * side_um**2)
