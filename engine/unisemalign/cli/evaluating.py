"""The verb ``evaluate``: a round's scores on held-out regions."""

from __future__ import annotations

from collections.abc import Sequence

from unisemalign.errors import DataError
from unisemalign.inference import load_predictor, score_split
from unisemalign.project import Cleaning, Project, RegionState, Split
from unisemalign.protocol import EvaluateDone, Progress, SplitScores, Start
from unisemalign.runtime import CancelToken, Events


def evaluate_round(
    project: Project,
    split: Split,
    number: int | None,
    overrides: Sequence[str],
    events: Events,
    cancel: CancelToken,
    *,
    cleaning: Cleaning | None = None,
) -> EvaluateDone:
    """Score round ``number`` (``None``: the newest with weights) on the regions of ``split``.

    Raises
    ------
    DataError
        If no region of the split is labelled.
    CancelledError
        If a stop was asked for.
    """
    predictor, found = load_predictor(project, number, overrides)
    if not project.regions(state=RegionState.ACCEPTED, split=split):
        raise DataError(
            f"Scoring needs labelled regions of the split '{split.value}', found none. Add "
            f"slides with --masks and --split {split.value}, or hold a region out."
        )
    events.emit(Start(what=f"Scoring {split.value}"))

    def on_region(done: int, total: int) -> None:
        cancel.check()
        events.emit(Progress(done=done, total=total))

    counted = score_split(project, predictor, split, on_region=on_region, cleaning=cleaning)
    scores = SplitScores.model_validate(counted.summary())
    return EvaluateDone(round=found.number, split=split.value, **scores.model_dump())
