"""Where the person of an effort benchmark is asked: the queue, its rivals, and who answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unisemalign.active import DEFAULT_WEIGHTS, RankingWeights, rank_regions
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project, Region, RegionState, Split

Arm = Literal["queue", "doubt", "random"]
"""How regions are chosen: by the dock's ranking, by doubt alone, or by chance."""

ARMS: tuple[Arm, ...] = get_args(Arm)

Place = tuple[str, Rect]
"""A slide's name and a rectangle on it."""

_DOUBT_ALONE = RankingWeights(
    doubt=1, disagreement=0, borders=0, changed=0, same_slide=1, variety=0
)
_TRIES = 200


def first_places(answers: Project, count: int, side_px: int, seed: int) -> list[Place]:
    """Return where a person begins: places drawn by chance that show as many classes as they can.

    The same for every arm. Of several draws the first that shows every class is taken.
    """
    rng = np.random.default_rng([seed, 0])
    best: list[Place] = []
    most = -1
    for _ in range(_TRIES):
        drawn: list[Place] = []
        for _ in range(count):
            drawn += draw_places(answers, 1, side_px, rng, taken=drawn)
        seen = {int(v) for name, rect in drawn for v in np.unique(_truth(answers, name, rect))}
        shown = len(seen - {0})
        if shown > most:
            best, most = drawn, shown
        if most == len(answers.info.classes):
            break
    return best


def next_places(
    project: Project,
    arm: Arm,
    count: int,
    side_px: int,
    rng: np.random.Generator,
    number: int | None = None,
) -> list[Place]:
    """Return the next ``count`` places by ``arm``; fewer where fewer are left.

    ``queue`` and ``doubt`` read what round ``number`` says of every slide.
    """
    if arm == "random":
        taken = [(each.slide, each.rect) for each in asked(project)]
        return draw_places(project, count, side_px, rng, taken=taken)
    weights = DEFAULT_WEIGHTS if arm == "queue" else _DOUBT_ALONE
    ranked = rank_regions(project, number, count=count, size_px=side_px, weights=weights)
    return [(each.slide, each.rect) for each in ranked]


def draw_places(
    project: Project, count: int, side_px: int, rng: np.random.Generator, taken: list[Place]
) -> list[Place]:
    """Return places drawn by chance, large slides oftener, none over another or over ``taken``."""
    slides = project.slides(Split.TRAIN)
    areas = np.array([each.shape_yx[0] * each.shape_yx[1] for each in slides], dtype=float)
    drawn: list[Place] = []
    for _ in range(_TRIES * count):
        if len(drawn) == count:
            break
        slide = slides[int(rng.choice(len(slides), p=areas / areas.sum()))]
        height, width = (min(side_px, side) for side in slide.shape_yx)
        y = int(rng.integers(slide.shape_yx[0] - height + 1))
        x = int(rng.integers(slide.shape_yx[1] - width + 1))
        rect = Rect(y, x, height, width)
        near = [r for name, r in (*taken, *drawn) if name == slide.name]
        if not any(rect.intersect(each).area for each in near):
            drawn.append((slide.name, rect))
    return drawn


def asked(project: Project) -> list[Region]:
    """Return the training regions the person has looked at, labelled or skipped."""
    states = (RegionState.ACCEPTED, RegionState.SKIPPED)
    return [r for state in states for r in project.regions(state=state, split=Split.TRAIN)]


def answer(project: Project, answers: Project, places: Sequence[Place]) -> None:
    """Label ``places`` of ``project`` as ``answers`` has them, each as one act of a person.

    A place where nothing is labelled is skipped, as a person skips glass.
    """
    for name, rect in places:
        truth = _truth(answers, name, rect)
        if truth.any():
            edit = LabelEdit(rect, truth, Origin.DRAWN, regions=(rect,))
            project.accept(name, [edit], action="accept")
        else:
            project.add_region(name, rect, state=RegionState.SKIPPED)


def _truth(answers: Project, name: str, rect: Rect) -> NDArray[np.uint8]:
    return answers.labels(name).read(rect)
