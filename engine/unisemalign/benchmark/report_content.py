"""What a report shows beside the scores: settings, learning curves, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.benchmark.curve import validation_points
from unisemalign.benchmark.pictures import Example
from unisemalign.benchmark.report import ReportContent
from unisemalign.datasets import DataSet
from unisemalign.errors import UnisemalignError
from unisemalign.metrics import IGNORE, OverlapScores
from unisemalign.project import Project, Round, Split
from unisemalign.protocol import Message, Progress, Start
from unisemalign.runtime import Events
from unisemalign.runtime.events import read_log
from unisemalign.settings import Settings, build_settings
from unisemalign.slides import SpacedSlide

_SHOWN_ELSEWHERE = {"seed", "model.encoder", "model.text"}


def gather_content(
    result: Mapping[str, Any],
    settings: Settings,
    dataset: DataSet,
    *,
    project: str,
    events: Events,
) -> ReportContent:
    """Return the content of a report; what cannot be read any more is left out and told.

    Parameters
    ----------
    result
        As ``run_benchmark`` returns it.
    settings
        Those of every seed.
    dataset
        What was trained and scored on.
    project
        Name of the project in each run's folder. Its log gives the curve; the median seed's best
        weights label the val images once more, for the pictures.
    events
        Told of the labelling.
    """
    runs = result["runs"]
    ranked = sorted(runs, key=lambda run: float(run["best_val"]["mdice"]))
    median = ranked[(len(ranked) - 1) // 2]
    examples: list[Example] = []
    why = ""
    try:
        examples = _examples(Path(median["folder"]) / project, dataset, settings, events)
    except UnisemalignError as error:  # the figures stand without pictures
        why = str(error)
        events.emit(Message(text=f"The report has no pictures. {why}"))
    curves = {f"seed {run['seed']}": _curve(Path(run["folder"]) / project) for run in runs}
    return ReportContent(
        result=result,
        title=dataset.title,
        images=dataset.images,
        shown_class=dataset.classes[dataset.shown],
        text=settings.model.text,
        changed=changed_settings(settings),
        curves={name: curve for name, curve in curves.items() if curve},
        examples=examples,
        examples_seed=median["seed"],
        no_examples=why,
    )


def benchmark_round(project: Project) -> Round | None:
    """Return the round a benchmark trained: the first that was finished. A person may go on."""
    return next((each for each in project.rounds() if each.state == "done"), None)


def report_progress(events: Events) -> Callable[[int, int], None]:
    """Return what tells ``events`` of progress: called with what is done and the total."""

    def tell(done: int, total: int) -> None:
        events.emit(Progress(done=done, total=total))

    return tell


def changed_settings(settings: Settings) -> list[tuple[str, str, str]]:
    """Return what is not the preset's, as JSON: address, the preset's value, this value.

    The seed and the names of encoder and text tower stand in the page's head.
    """
    preset = build_settings(settings.preset, settings.method.name)
    before, now = (_flat(each.model_dump(mode="json")) for each in (preset, settings))
    return [
        (address, json.dumps(before[address]), json.dumps(value))
        for address, value in now.items()
        if value != before[address] and address not in _SHOWN_ELSEWHERE
    ]


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def _curve(root: Path) -> list[tuple[int, float]]:
    if not root.exists():
        return []
    with Project.open(root) as project:
        made = benchmark_round(project)
        return validation_points(read_log(made.layout.log)) if made else []


def _examples(root: Path, dataset: DataSet, settings: Settings, events: Events) -> list[Example]:
    """Return the worst and the best val image by their own mDice; one where there is one."""
    from unisemalign.inference import load_predictor, predict_split

    events.emit(Start(what="Drawing the report"))
    kept: list[Example] = []
    slides: dict[str, SpacedSlide] = {}
    with Project.open(root) as project:
        made = benchmark_round(project)
        number = made.number if made else None
        predictor, _ = load_predictor(project, number, [f"device={settings.device}"])
        for region in predict_split(
            project, predictor, Split.VAL, slides=slides, on_region=report_progress(events)
        ):
            scores = OverlapScores(predictor.n_classes)
            scores.add(region.predicted, region.truth)
            [mdice] = scores.image_mdice
            if mdice is None:
                continue
            dice = float(scores.dice[dataset.shown])
            example = Example(
                name=region.slide,
                mdice=mdice,
                class_dice=None if np.isnan(dice) else dice,
                image=slides[region.slide].read(region.rect),
                predicted=_one_class(region.predicted, dataset.shown),
                truth=_one_class(region.truth, dataset.shown),
            )
            kept = sorted([*kept, example], key=lambda each: each.mdice)
            kept = kept if len(kept) < 3 else [kept[0], kept[-1]]
    return kept


def _one_class(indices: NDArray[np.uint8], shown: int) -> NDArray[np.uint8]:
    """Return ``(Y, X)`` of 1 where ``shown`` is, 0 elsewhere; 255 stays."""
    return np.where(indices == IGNORE, IGNORE, indices == shown).astype(np.uint8)
