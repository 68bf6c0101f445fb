"""Overlap scores. Class indices 0…C−1 here; 255 is ignored. Source: METHODS A7."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import DataError

IGNORE = 255
"""Value of a pixel that no score and no loss may count (the field's convention)."""


@dataclass
class OverlapScores:
    """Intersections and unions per class, pooled over every image added (METHODS A7).

    ``n_classes`` counts the background too. Call :meth:`add` per image, then read.
    """

    n_classes: int
    _intersection: NDArray[np.int64] = field(init=False)
    _union: NDArray[np.int64] = field(init=False)
    _per_image: list[NDArray[np.float64]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._intersection = np.zeros(self.n_classes, np.int64)
        self._union = np.zeros(self.n_classes, np.int64)

    def add(self, predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count one image: two ``(Y, X)`` arrays of class indices; truth 255 is ignored.

        A prediction outside 0…C−1 (255: nothing predicted) counts as a miss for the truth's class.
        """
        if predicted.shape != truth.shape:
            raise DataError(
                f"Prediction and truth want the same shape, "
                f"found {predicted.shape} and {truth.shape}."
            )
        keep = truth != IGNORE
        p, t = predicted[keep].astype(np.int64), truth[keep].astype(np.int64)
        if t.size and t.max() >= self.n_classes:
            raise DataError(f"Truth wants classes 0…{self.n_classes - 1} or 255, found {t.max()}.")
        p = np.where((p < 0) | (p >= self.n_classes), self.n_classes, p)
        table = np.bincount(
            t * (self.n_classes + 1) + p, minlength=self.n_classes * (self.n_classes + 1)
        )
        table = table.reshape(self.n_classes, self.n_classes + 1)
        inter = np.diag(table[:, : self.n_classes])
        union = table.sum(1) + table[:, : self.n_classes].sum(0) - inter
        self._intersection += inter
        self._union += union
        with np.errstate(invalid="ignore", divide="ignore"):
            self._per_image.append(2 * inter / (union + inter))

    @property
    def images(self) -> int:
        """How many images have been added."""
        return len(self._per_image)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Pooled Dice per class, ``(C,)``; NaN where a class never occurs."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 2 * self._intersection / (self._union + self._intersection)

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """Pooled intersection over union per class, ``(C,)``; NaN where a class never occurs."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._intersection / self._union

    def summary(self) -> dict[str, float | list[float | None] | int | None]:
        """Return every score as plain numbers in 0…1: JSON may hold it. ``None``: not defined."""
        per_image = np.array(self._per_image).reshape(-1, self.n_classes)
        return {
            "images": self.images,
            "mdice": _mean(self.dice),
            "mjaccard": _mean(self.jaccard),
            "dice_per_class": [_plain(v) for v in self.dice],
            "jaccard_per_class": [_plain(v) for v in self.jaccard],
            "foreground_dice": _mean(self.dice[1:]),
            "per_image_mdice": _mean(per_image),
        }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
