"""Why a region is worth a look, as a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNSURE_BELOW = 0.75
"""A decoder that is less confident than this counts as unsure."""


def explain(
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    disagreement: NDArray[np.uint8],
    names: Sequence[str],
    *,
    reads_words: bool = True,
) -> str:
    """Return a sentence: "gland or stroma? model unsure on 34 %; prototypes disagree on 12 %".

    Parameters
    ----------
    classes, confidence, disagreement
        The region's predicted pixels, ``(h, w)`` uint8.
    names
        Class names; value k has the name at place k−1.
    reads_words
        Whether a text tower read the classes' words. Without one there are free vectors instead.
    """
    predicted = classes > 0
    if not predicted.any():
        return "nothing predicted yet"
    count = int(predicted.sum())
    unsure = predicted & (confidence < UNSURE_BELOW * 255)
    voices = (
        ("model unsure on", unsure),
        ("prototypes disagree on", predicted & (disagreement & 1 > 0)),
        (
            f"{'words' if reads_words else 'class vectors'} disagree on",
            predicted & (disagreement & 2 > 0),
        ),
    )
    parts = [f"{voice} {_percent(mask.sum() / count)}" for voice, mask in voices if mask.any()]
    between = _confused(classes, confidence, names)
    if not parts:
        return f"{between}: nothing in doubt"
    # The classes first: where there is little room the end is cut off.
    return f"{between}{'?' if ' or ' in between else ':'} {'; '.join(parts)}"


def _confused(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], names: Sequence[str]
) -> str:
    """Name the two classes that are easiest to mistake here."""
    weights = np.bincount(
        classes.ravel(), weights=(256.0 - confidence).ravel(), minlength=len(names) + 1
    )[1 : len(names) + 1]
    pair = _commonest_border(classes, len(names))
    if pair is None:
        pair = tuple(int(k) + 1 for k in np.argsort(-weights, kind="stable")[:2] if weights[k] > 0)
    # The class with more doubt comes first.
    ordered = sorted(pair, key=lambda k: -weights[k - 1])
    if len(ordered) == 1:
        return f"all {names[ordered[0] - 1]}"
    return " or ".join(names[k - 1] for k in ordered)


def _commonest_border(classes: NDArray[np.uint8], n_classes: int) -> tuple[int, ...] | None:
    table = np.zeros((n_classes + 1) ** 2, np.int64)
    for here, there in ((classes[:, :-1], classes[:, 1:]), (classes[:-1], classes[1:])):
        differ = (here != there) & (here > 0) & (there > 0)
        low = np.minimum(here, there)[differ].astype(np.int64)
        high = np.maximum(here, there)[differ].astype(np.int64)
        table += np.bincount(low * (n_classes + 1) + high, minlength=table.size)
    if not table.any():
        return None
    low_class, high_class = divmod(int(table.argmax()), n_classes + 1)
    return low_class, high_class


def _percent(fraction: float) -> str:
    return "under 1 %" if fraction < 0.01 else f"{100 * fraction:.0f} %"
