"""Measures how many labelled regions a study needs: the data set's masks answer for the person.

A study begins with a few regions of a pool of images; in each round the next ones are chosen,
answered by the data set's masks, and the model trains on. Scored is each round's last step on the
val images, beside a model that was shown the whole pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from unisemalign.benchmark.effort_page import ENOUGH, write_effort_page
from unisemalign.benchmark.forest import check_forest, score_forest
from unisemalign.benchmark.region_choice import ARMS, Arm, answer, asked, first_places, next_places
from unisemalign.benchmark.runs import benchmark_settings
from unisemalign.benchmark.spread import spread
from unisemalign.datasets import DataSet, read_dataset
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Project, Round, Split
from unisemalign.project.locks import ProcessLock
from unisemalign.protocol import Message
from unisemalign.runtime import CancelToken, Events
from unisemalign.runtime.files import read_json, write_json
from unisemalign.runtime.results import check_results
from unisemalign.settings import Settings

_CURVE = "curve.json"
_FOREST = "forest"


@dataclass(frozen=True)
class EffortChoice:
    """What is tried, and how.

    Attributes
    ----------
    data, seeds, fraction, preset, encoder, text, overrides
        As of a table of methods; every round has ``training.steps`` steps.
    arms
        How regions are chosen.
    first, more, rounds
        Regions a person begins with, those of each later round, and how many of these follow.
    side_px
        Side of a region at the data set's own pixel size.
    forest
        Whether a random forest learns from the queue's pixels beside it.
    out
        Folder for the studies and the page. A study that is there is read, another goes on.
    """

    data: Mapping[str, Path]
    seeds: Sequence[int]
    out: Path
    arms: Sequence[Arm] = ARMS
    first: int = 2
    more: int = 4
    rounds: int = 5
    side_px: int = 256
    forest: bool = True
    fraction: int = 10
    preset: str = "recommended"
    encoder: str = "embedded"
    text: str = "free"
    overrides: Sequence[str] = ()

    def settings(self, seed: int, method: str | None = None, length: int = 1) -> Settings:
        """Return a round's settings; ``length`` rounds at once for a model of the whole pool."""
        given = ["training.steps=200", *self.overrides]
        made = benchmark_settings(self.fraction, self.preset, method, given)
        steps = made.training.steps * length
        towers = {"encoder": self.encoder, "text": self.text}
        return made.model_copy(
            update={
                "seed": seed,
                "model": made.model.model_copy(update=towers),
                # Only the last step is scored, which nobody chose.
                "training": made.training.model_copy(
                    update={"steps": steps, "validate_every": steps}
                ),
            }
        )


class Point(BaseModel):
    """Where a study stands after a round; ``share`` of the pool's labelled pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: int
    pixels: int
    share: float
    mdice: float
    forest: float | None = None


class Curve(BaseModel):
    """A study's points so far (``curve.json``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: tuple[Point, ...] = ()


def measure_effort(choice: EffortChoice, *, events: Events, cancel: CancelToken) -> dict[str, Any]:
    """Run what is missing and return one row a data set and arm.

    Returns
    -------
    dict
        ``rows``: ``dataset``, ``arm``, ``points`` (regions, share of the pool's pixels in per
        cent, mDice as a spread over seeds, in per cent), ``full`` (spread: the whole pool) and
        ``enough`` (spread of the regions after which :data:`ENOUGH` of it is reached; ``None``
        where some seed did not). ``report``: the page.

    Raises
    ------
    BusyError
        If another process makes one of these studies right now.
    CancelledError
        If it was stopped; it goes on another time.
    DataError
        If a data set is not what its reader needs, or the page would replace something else.
    SettingsError
        For a setting there is not, or a forest without scikit-learn.
    """
    choice.settings(0)
    if choice.forest and "queue" in choice.arms:
        check_forest()
    found = {name: read_dataset(name, path, choice.fraction) for name, path in choice.data.items()}
    for name, dataset in found.items():
        if not dataset.pool or not dataset.val:
            raise DataError(
                f"'{name}' needs masks of training and val images, found none. Check --data."
            )
    page = choice.out / f"effort-{_digest(choice, choice.data, choice.seeds, choice.arms)}.html"
    check_results(choice.out, [page.name])
    full: dict[str, list[float]] = {name: [] for name in found}
    curves: dict[tuple[str, Arm], list[Curve]] = {(n, a): [] for n in found for a in choice.arms}
    for seed in choice.seeds:
        for name, dataset in found.items():
            study = _Study(choice, dataset, seed, events, cancel)
            full[name].append(study.whole_pool())
            for arm in choice.arms:
                curves[name, arm].append(study.run(arm))
    rows = [
        row for (name, arm), made in curves.items() for row in _rows(name, arm, made, full[name])
    ]
    write_effort_page(page, choice, found, rows)
    return {"rows": rows, "report": str(page)}


class _Study:
    """One data set with one seed: its arms and the model of the whole pool."""

    def __init__(
        self,
        choice: EffortChoice,
        dataset: DataSet,
        seed: int,
        events: Events,
        cancel: CancelToken,
    ) -> None:
        self.choice, self.dataset, self.seed = choice, dataset, seed
        self.events, self.cancel = events, cancel
        self.settings = choice.settings(seed)
        self.root = choice.out / dataset.name

    def whole_pool(self) -> float:
        """Return the val mDice of a model that learned from the whole pool, as long as an arm."""
        settings = self.choice.settings(self.seed, "supervised", self.choice.rounds + 1)
        folder = self._folder("whole pool", settings)
        with self._making(folder) as curve:
            if not curve.points:
                with self._answers(folder) as project:
                    made = self._trained(project, settings, 1)
                    pixels = _labelled(project)
                    regions = len(self.dataset.pool)
                point = Point(regions=regions, pixels=pixels, share=1, mdice=_last(made))
                curve = self._keep(folder, curve, point)
        return curve.points[0].mdice

    def run(self, arm: Arm) -> Curve:
        """Return an arm's curve: what is there of it, and what is missing made now."""
        choice = self.choice
        folder = self._folder(arm, self.settings)
        with self._making(folder) as curve:
            if len(curve.points) > choice.rounds:
                return curve
            with self._answers(folder) as answers, self._pool(folder) as project:
                whole = _labelled(answers)
                for number in range(len(curve.points), choice.rounds + 1):
                    self._ask(project, answers, arm, number)
                    made = self._trained(project, self.settings, number + 1)
                    forest = None
                    if arm == "queue" and choice.forest:
                        forest = score_forest(project, self.seed)
                    pixels = _labelled(project)
                    point = Point(
                        regions=len(asked(project)),
                        pixels=pixels,
                        share=pixels / whole,
                        mdice=_last(made),
                        forest=forest,
                    )
                    curve = self._keep(folder, curve, point)
                    self._tell(arm, point)
        return curve

    def _ask(self, project: Project, answers: Project, arm: Arm, number: int) -> None:
        """Bring the project to the regions of round ``number``; nothing is asked twice."""
        choice = self.choice
        missing = choice.first + number * choice.more - len(asked(project))
        if missing <= 0:
            return
        if number == 0:
            places = first_places(answers, choice.first, choice.side_px, self.seed)
            places = places[len(asked(project)) :]
        else:
            if arm != "random":
                self._segment(project, number)
            rng = np.random.default_rng([self.seed, number])
            places = next_places(project, arm, missing, choice.side_px, rng, number)
        answer(project, answers, places)

    def _segment(self, project: Project, number: int) -> None:
        from unisemalign.inference import load_predictor, segment_slide

        predictor, made = load_predictor(project, number, [f"device={self.settings.device}"])
        for slide in project.slides(Split.TRAIN):
            segment_slide(project, slide.name, predictor, made.number, cancel=self.cancel)

    def _trained(self, project: Project, settings: Settings, number: int) -> Round:
        """Return round ``number``, trained where it is not there yet."""
        from unisemalign.training import train_round, unfinished_round

        done = [each for each in project.rounds() if each.state == "done"]
        if done and done[-1].number >= number:
            return done[-1]
        resume = unfinished_round(project) is not None
        made = train_round(project, settings, resume=resume, events=self.events, cancel=self.cancel)
        return project.use_round(made.number)  # also where Dice fell: the curve tells

    def _folder(self, what: str, settings: Settings) -> Path:
        made_of: list[Any] = [self.choice.first, self.choice.more, self.choice.side_px]
        made_of += [self.choice.forest, self.dataset.partition, settings.model_dump_json()]
        digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:10]
        return self.root / f"effort-{what.replace(' ', '-')}-{digest}-s{self.seed}"

    def _answers(self, folder: Path) -> Project:
        model = self.settings.model
        return self.dataset.open_answers(folder / "answers.unisem", model.encoder, model.text)

    def _pool(self, folder: Path) -> Project:
        model = self.settings.model
        return self.dataset.open_pool(folder / "pool.unisem", model.encoder, model.text)

    @contextmanager
    def _making(self, folder: Path) -> Iterator[Curve]:
        """Hold the folder and give what is there of its curve."""
        busy = f"'{folder.name}' is being made by {{holder}}. Wait for it, or choose another --out."
        with ProcessLock(folder / "making.lock", busy).held():
            yield _read(folder)

    def _keep(self, folder: Path, curve: Curve, point: Point) -> Curve:
        longer = Curve(points=(*curve.points, point))
        write_json(folder / _CURVE, longer.model_dump(mode="json"))
        return longer

    def _tell(self, arm: Arm, point: Point) -> None:
        text = (
            f"{self.dataset.name}, {arm}, seed {self.seed}: {point.regions} regions, "
            f"{100 * point.share:.2f} % of the pixels, mDice {100 * point.mdice:.2f}"
        )
        self.events.emit(Message(text=text))


def _read(folder: Path) -> Curve:
    """Return a study's curve; an empty one where there is none, or it was edited or torn."""
    try:
        return Curve.model_validate(read_json(folder / _CURVE) or {})
    except ValidationError:
        return Curve()


def _last(made: Round) -> float:
    last = made.scores.last_val if made.scores else None
    if last is None or last.mdice is None:
        raise ProjectError(
            f"Round {made.number} in '{made.folder}' is done without scores. Delete that study's "
            f"folder to make it again."
        )
    return last.mdice


def _labelled(project: Project) -> int:
    """Return how many pixels of the training images are labelled."""
    return sum(
        int(np.count_nonzero(project.labels(each.name).read(Rect(0, 0, *each.shape_yx))))
        for each in project.slides(Split.TRAIN)
    )


def regions_to(points: Sequence[tuple[float, float]], wanted: float) -> float | None:
    """Return after how many regions a curve reaches ``wanted`` and stays there to its end.

    ``points`` are (regions, Dice); between two points the curve is straight. ``None`` where its
    last point lies below.
    """
    if not points or points[-1][1] < wanted:
        return None
    reached = points[0][0]
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 < wanted <= y1:
            reached = x0 + (x1 - x0) * (wanted - y0) / (y1 - y0)
    return reached


def _rows(
    dataset: str, arm: str, curves: Sequence[Curve], full: Sequence[float]
) -> list[dict[str, Any]]:
    """Return an arm's row, and the forest's where there is one."""
    rows = [_row(dataset, arm, curves, full, [[p.mdice for p in c.points] for c in curves])]
    forests = [[p.forest for p in c.points if p.forest is not None] for c in curves]
    if all(len(made) == len(curve.points) for made, curve in zip(forests, curves, strict=True)):
        rows.append(_row(dataset, _FOREST, curves, full, forests))
    return rows


def _row(
    dataset: str,
    arm: str,
    curves: Sequence[Curve],
    full: Sequence[float],
    dices: Sequence[Sequence[float]],
) -> dict[str, Any]:
    points = [
        {
            "regions": mean(c.points[k].regions for c in curves),
            "share": 100 * mean(c.points[k].share for c in curves),
            "mdice": spread([100 * made[k] for made in dices]),
        }
        for k in range(min(len(made) for made in dices))
    ]
    arrived = [
        regions_to([(p.regions, y) for p, y in zip(c.points, made, strict=True)], ENOUGH * whole)
        for c, made, whole in zip(curves, dices, full, strict=True)
    ]
    known = [each for each in arrived if each is not None]
    return {
        "dataset": dataset,
        "arm": arm,
        "points": points,
        "full": spread([100 * each for each in full]),
        "enough": spread(known) if len(known) == len(arrived) else None,
    }


def _digest(choice: EffortChoice, *more: Iterable[object]) -> str:
    parts: list[Any] = [choice.settings(0).model_dump_json(), choice.first, choice.more]
    parts += [choice.rounds, choice.side_px, choice.forest, *(list(each) for each in more)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]
