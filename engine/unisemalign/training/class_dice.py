"""How each class fares on held-out regions while a round trains. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.protocol import FallenClass

Counts = NDArray[np.int64]
"""Of one class ``(images, 2)``: intersection and union in pixels."""

_LEAST_NOISE = 0.01
"""A change of one point of Dice is never called a fall."""
_FEW_IMAGES_NOISE = 0.05
"""Below three images with the class there is no telling: five points."""


@dataclass
class ClassWatch:
    """The best held-out Dice of each class so far, with the counts it comes from.

    Attributes
    ----------
    names
        Of the classes, in order.
    peaks
        A class: ``{"step", "dice", "counts"}``, ``None`` before it was scored. Plain numbers: a
        checkpoint holds them.
    """

    names: Sequence[str]
    peaks: list[dict[str, Any] | None] = field(default_factory=list)

    def see(self, counts: Sequence[Counts], step: int) -> list[FallenClass]:
        """Take a validation's counts, one array a class; return the classes that have fallen."""
        if len(self.peaks) != len(counts):
            self.peaks = [None] * len(counts)
        falls = []
        for index, (name, now) in enumerate(zip(self.names, counts, strict=True)):
            dice, peak = pooled_dice(now), self.peaks[index]
            if np.isnan(dice):
                continue
            if peak is None or len(peak["counts"]) != len(now) or dice >= peak["dice"]:
                self.peaks[index] = {"step": step, "dice": dice, "counts": now.tolist()}
                continue
            noise = paired_noise(np.array(peak["counts"]), now)
            if peak["dice"] - dice > noise:
                falls.append(
                    FallenClass(
                        name=name, best=peak["dice"], now=dice, noise=noise, step=peak["step"]
                    )
                )
        return falls


def suits_better(new: Sequence[Counts], kept: Sequence[Counts]) -> bool:
    """Tell whether a validation is to replace the kept one; one array a class, in the same order.

    It is where the mean Dice over classes has risen, or is equal, what a class lost beyond its
    noise counting twice: a rise of the others must be twice such a fall to buy it.
    """
    gain = 0.0
    for now, before in zip(new, kept, strict=True):
        rise = np.nan_to_num(pooled_dice(now)) - np.nan_to_num(pooled_dice(before))
        lost = max(0.0, -rise - paired_noise(before, now)) if len(now) == len(before) else 0.0
        gain += rise - lost
    return bool(gain >= 0)


def pooled_dice(counts: Counts) -> float:
    """Return 2I/(U + I) over all images; NaN where the class is on neither side."""
    inter, union = counts.sum(0)
    return float(2 * inter / (union + inter)) if union > 0 else float("nan")


def mean_noise(one: Sequence[Counts], two: Sequence[Counts]) -> float | None:
    """Return two standard errors of the difference of two mean Dice on the same images.

    One array a class, of both sides. By leaving out one image at a time; ``None`` below three
    images.
    """
    images = len(one[0])
    if images < 3:
        return None
    without = []
    for left_out in range(images):
        kept = np.arange(images) != left_out
        sides = [np.array([pooled_dice(each[kept]) for each in side]) for side in (one, two)]
        known = ~np.isnan(sides[0]) & ~np.isnan(sides[1])
        without.append(float((sides[0] - sides[1])[known].mean()) if known.any() else 0.0)
    spread = np.array(without)
    return 2 * float(np.sqrt((images - 1) / images * ((spread - spread.mean()) ** 2).sum()))


def paired_noise(one: Counts, two: Counts) -> float:
    """Return two standard errors of the difference of two pooled Dice on the same images.

    By leaving out one image at a time (jackknife), so that an image that is hard for both does not
    count as noise. At least 0.01; 0.05 where fewer than three images hold the class.
    """
    held = (one[:, 1] > 0) | (two[:, 1] > 0)
    n = int(held.sum())
    if n < 3:
        return _FEW_IMAGES_NOISE
    without = []
    for left_out in np.flatnonzero(held):
        kept = np.arange(len(one)) != left_out
        pair = pooled_dice(one[kept]), pooled_dice(two[kept])
        without.append(np.nan_to_num(pair[0]) - np.nan_to_num(pair[1]))
    spread = np.array(without)
    error = float(np.sqrt((n - 1) / n * ((spread - spread.mean()) ** 2).sum()))
    return max(_LEAST_NOISE, 2 * error)
