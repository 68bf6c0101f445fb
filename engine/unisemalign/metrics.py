"""Overlap and object scores. Class indices 0…C−1 here; 255 is ignored. Source: methods.md A7."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unisemalign.errors import DataError

IGNORE = 255
"""Value of a pixel that no score and no loss may count (the field's convention)."""

Summary = dict[str, float | list[float | None] | tuple[float, float] | int | None]
"""Scores by name."""

_DRAWS = 1000
"""How often the bootstrap draws its images."""

SCORE_NAMES = {
    "mdice": "mDice",
    "mjaccard": "mJaccard",
    "foreground_dice": "foreground Dice",
    "per_image_mdice": "per-image mDice",
    "object_dice": "object Dice",
    "object_f1": "object F1",
}
"""The headline figures of :meth:`Scores.summary`, in the order they are shown, in words."""


@dataclass
class OverlapScores:
    """Intersections and unions per class, pooled over every image added (methods.md A7).

    ``n_classes`` counts the background too. Call :meth:`add` per image, then read.

    Attributes
    ----------
    image_mdice
        Each image's own mDice, in the order added: the mean of its Dice over the classes that
        occur in its truth or its prediction. ``None``: every pixel is ignored.
    image_counts
        Each image's own intersections and unions, ``(C, 2)``, in the order added.
    """

    n_classes: int
    image_mdice: list[float | None] = field(init=False, default_factory=list)
    image_counts: list[NDArray[np.int64]] = field(init=False, default_factory=list)
    _intersection: NDArray[np.int64] = field(init=False)
    _union: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._intersection = np.zeros(self.n_classes, np.int64)
        self._union = np.zeros(self.n_classes, np.int64)

    def add(self, predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count one image: two ``(Y, X)`` arrays of class indices; truth 255 is ignored.

        A prediction outside 0…C−1 (255: nothing predicted) counts as a miss for the truth's class.
        """
        keep = _counted(predicted, truth, self.n_classes)
        p, t = predicted[keep].astype(np.int64), truth[keep].astype(np.int64)
        p = np.where((p < 0) | (p >= self.n_classes), self.n_classes, p)
        table = np.bincount(
            t * (self.n_classes + 1) + p, minlength=self.n_classes * (self.n_classes + 1)
        )
        table = table.reshape(self.n_classes, self.n_classes + 1)
        inter = np.diag(table[:, : self.n_classes])
        union = table.sum(1) + table[:, : self.n_classes].sum(0) - inter
        self._intersection += inter
        self._union += union
        self.image_counts.append(np.stack([inter, union], axis=1))
        self.image_mdice.append(_mean(_dice(inter, union)))

    def class_counts(self) -> list[NDArray[np.int64]]:
        """Return a class's intersections and unions in each image, ``(images, 2)`` a class."""
        if not self.image_counts:
            return [np.zeros((0, 2), np.int64) for _ in range(self.n_classes)]
        return list(np.stack(self.image_counts, axis=1))

    @property
    def images(self) -> int:
        """How many images have been added."""
        return len(self.image_mdice)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Pooled Dice per class, ``(C,)``; NaN where a class never occurs."""
        return _dice(self._intersection, self._union)

    @property
    def mdice_interval(self) -> tuple[float, float] | None:
        """95 % interval of mDice over images drawn anew (percentile bootstrap, 1000 draws).

        What other images of the same kind might have given. ``None`` below three images: too few to
        tell. The draws are the same every time.
        """
        if self.images < 3:
            return None
        counts = np.stack(self.image_counts)
        drawn = np.random.default_rng(0).integers(0, len(counts), (_DRAWS, len(counts)))
        times = np.stack([np.bincount(one, minlength=len(counts)) for one in drawn])
        pooled = np.einsum("di,icx->dcx", times, counts)
        means = np.array([_mean(_dice(*one.T)) for one in pooled], float)
        low, high = np.nanpercentile(means, (2.5, 97.5))
        return (float(low), float(high)) if np.isfinite(low) else None

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """Pooled intersection over union per class, ``(C,)``; NaN where a class never occurs."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._intersection / self._union

    def summary(self) -> Summary:
        """Return every score as plain numbers in 0…1: JSON may hold it. ``None``: not defined."""
        return {
            "images": self.images,
            "mdice": _mean(self.dice),
            "mjaccard": _mean(self.jaccard),
            "dice_per_class": [_plain(v) for v in self.dice],
            "jaccard_per_class": [_plain(v) for v in self.jaccard],
            "foreground_dice": _mean(self.dice[1:]),
            "per_image_mdice": _mean(np.array(self.image_mdice, float)),
            "mdice_interval": self.mdice_interval,
        }


_TOUCHING = np.ones((3, 3), int)
"""Pixels of one object touch by side or corner (8-connectivity, as in the challenge's code)."""


@dataclass
class ObjectScores:
    """Object-level Dice and F1 of the GlaS challenge, per foreground class, pooled over images.

    An object is a connected component of a class's mask. A mask of classes does not tell
    instances apart: glands that touch, by a corner even, are one object, in the truth as in the
    prediction. Nothing is too small to be an object: an island of one pixel that lies on no true
    object is a false positive. Ignored pixels belong to nothing, on both sides.

    ``n_classes`` counts the background (class 0), which has no objects. Call :meth:`add` per
    image, then read.

    **F1.** The truth of a segmented object is the true object it overlaps most (of equals, the
    first in reading order). It is a true positive when it covers at least half of that object's
    area (no second one can: they would touch). Whatever else was segmented is a false positive,
    what was not found a false negative; F1 = 2 TP / (2 TP + FP + FN), counted over every image.

    **Dice.** Each object's Dice with the one of the other side it overlaps most (0 where there is
    none), averaged with its share of the area of all objects of its side, in all images, as
    weight; then the mean of both sides.

    Source: Sirinukunwattana et al. 2017, Medical Image Analysis 35, 489–502 (methods.md A7). The
    challenge's own program asks for *more* than half, and takes one image at a time.
    """

    n_classes: int
    _found: NDArray[np.int64] = field(init=False)
    _objects: NDArray[np.int64] = field(init=False)
    _dice_area: NDArray[np.float64] = field(init=False)
    _area: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        n_foreground = self.n_classes - 1
        self._found = np.zeros(n_foreground, np.int64)
        # One column a side: segmented, true.
        self._objects = np.zeros((n_foreground, 2), np.int64)
        self._dice_area = np.zeros((n_foreground, 2))
        self._area = np.zeros((n_foreground, 2))

    def add(self, predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count one image: two ``(Y, X)`` arrays of class indices; truth 255 is ignored.

        A prediction outside 0…C−1 (255: nothing predicted) belongs to no object.

        Raises
        ------
        DataError
            For two shapes, or a class in the truth that is neither 0…C−1 nor 255.
        """
        keep = _counted(predicted, truth, self.n_classes)
        for index in range(self.n_classes - 1):
            segmented, _ = ndimage.label((predicted == index + 1) & keep, _TOUCHING)
            true, _ = ndimage.label(truth == index + 1, _TOUCHING)
            self._add_class(index, segmented, true)

    def _add_class(self, index: int, segmented: NDArray[np.int32], true: NDArray[np.int32]) -> None:
        """Count the objects of one class: two ``(Y, X)`` arrays of object numbers, 0 = none."""
        areas = [np.bincount(side.ravel())[1:] for side in (segmented, true)]
        both = (segmented > 0) & (true > 0)
        n_true = len(areas[1])
        codes, shared = np.unique(
            (segmented[both].astype(np.int64) - 1) * n_true + true[both] - 1, return_counts=True
        )
        pairs = np.stack(np.divmod(codes, max(1, n_true)))
        for side in (0, 1):
            best = _most_shared(pairs[side], shared)
            mine, other = pairs[side][best], pairs[1 - side][best]
            own, partner = areas[side][mine], areas[1 - side][other]
            self._dice_area[index, side] += (own * 2 * shared[best] / (own + partner)).sum()
            self._area[index, side] += areas[side].sum()
            self._objects[index, side] += len(areas[side])
            if side == 0:
                self._found[index] += np.count_nonzero(2 * shared[best] >= partner)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Object Dice per foreground class, ``(C − 1,)``; NaN where neither side has an object."""
        with np.errstate(invalid="ignore", divide="ignore"):
            sides: NDArray[np.float64] = self._dice_area / self._area
        one_empty = np.isnan(sides) & self._area.any(axis=1, keepdims=True)
        mean: NDArray[np.float64] = np.where(one_empty, 0, sides).mean(axis=1)
        return mean

    @property
    def f1(self) -> NDArray[np.float64]:
        """Object F1 per foreground class, ``(C − 1,)``; NaN where neither side has an object."""
        with np.errstate(invalid="ignore", divide="ignore"):
            f1: NDArray[np.float64] = 2 * self._found / self._objects.sum(axis=1)
        return f1

    def summary(self) -> dict[str, float | None]:
        """Return the means over foreground classes, in 0…1. ``None``: no object anywhere."""
        return {"object_dice": _mean(self.dice), "object_f1": _mean(self.f1)}


@dataclass
class Scores:
    """Every score of a split: pixels and objects. Call :meth:`add` per image, then read."""

    n_classes: int
    overlap: OverlapScores = field(init=False)
    objects: ObjectScores = field(init=False)

    def __post_init__(self) -> None:
        self.overlap = OverlapScores(self.n_classes)
        self.objects = ObjectScores(self.n_classes)

    def add(self, predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count one image: two ``(Y, X)`` arrays of class indices; truth 255 is ignored."""
        self.overlap.add(predicted, truth)
        self.objects.add(predicted, truth)

    def summary(self) -> Summary:
        """Return every score as plain numbers in 0…1: JSON may hold it. ``None``: not defined."""
        return {**self.overlap.summary(), **self.objects.summary()}


def _counted(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], n_classes: int
) -> NDArray[np.bool_]:
    """Return which pixels count, ``(Y, X)``, after a look at shapes and values."""
    if predicted.shape != truth.shape:
        raise DataError(
            f"Prediction and truth need the same shape, found {predicted.shape} and {truth.shape}."
        )
    keep: NDArray[np.bool_] = truth != IGNORE
    highest = truth[keep].max(initial=0)
    if highest >= n_classes:
        raise DataError(f"Truth needs classes 0…{n_classes - 1} or 255, found {highest}.")
    return keep


def _dice(intersection: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return Dice per class, ``(C,)``; NaN where a class is on neither side."""
    with np.errstate(invalid="ignore", divide="ignore"):
        dice: NDArray[np.float64] = 2 * intersection / (union + intersection)
    return dice


def _most_shared(objects: NDArray[np.int64], shared: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for each object of a list of pairs, the index of the pair that shares most pixels."""
    order = np.lexsort((-shared, objects))
    first = np.ones(len(order), bool)
    first[1:] = objects[order][1:] != objects[order][:-1]
    return order[first]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
