"""Mean ± SD over the seeds of a benchmark. SD: sample standard deviation (n − 1)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from unisemalign.metrics import SCORE_NAMES

SCORED_AT = {
    "best_val": "val, best step",
    "last_val": "val, last step",
    "best_test": "test, best step",
    "last_test": "test, last step",
}
"""Where a run is scored: the keys of its scores, in words. Best: by mDice on the val images.

methods.md G asks for the last step's too: there are more val images than labelled ones.
"""


def spread_over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and SD of every headline score, in per cent, and of the seconds a step.

    Parameters
    ----------
    runs
        The scores of each seed's round (``scores.json``).

    Returns
    -------
    dict
        For each key of :data:`SCORED_AT` that every run has: score name → spread. Then
        ``seconds_per_step``, in seconds. A spread is ``{"mean": …, "sd": …}``, or ``None`` unless
        every seed has the score; ``sd`` is the sample standard deviation (n − 1), ``None`` for a
        single seed.
    """
    found: dict[str, Any] = {}
    for place in SCORED_AT:
        scores = [run.get(place) or {} for run in runs]
        if all(scores):
            found[place] = {key: _spread([s.get(key) for s in scores], 100) for key in SCORE_NAMES}
    found["seconds_per_step"] = _spread([run.get("seconds_per_step") for run in runs], 1)
    return found


def spread_text(spread: dict[str, float | None] | None, digits: int = 2) -> str:
    """Return ``88.15 ± 0.40``; the mean alone for one seed, a dash where there is no figure."""
    if spread is None:
        return "–"
    sd = "" if spread["sd"] is None else f" ± {spread['sd']:.{digits}f}"
    return f"{spread['mean']:.{digits}f}{sd}"


def _spread(values: Sequence[float | None], scale: float) -> dict[str, float | None] | None:
    known = [scale * value for value in values if value is not None]
    return None if not known or len(known) < len(values) else spread(known)


def spread(known: Sequence[float]) -> dict[str, float | None]:
    """Return ``mean`` and ``sd`` (n − 1) of at least one value, as :func:`spread_over_seeds`."""
    sd = round(statistics.stdev(known), 4) if len(known) > 1 else None
    return {"mean": round(statistics.mean(known), 4), "sd": sd}
