"""Which regions a person should look at next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from unisemalign.active.cells import CellSums, sum_cells, tile_rect, tile_sums
from unisemalign.active.reasons import explain
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import (
    PredictionStore,
    Project,
    Region,
    RegionState,
    SlideRecord,
    Split,
)
from unisemalign.protocol import Progress
from unisemalign.runtime.events import Events, SilentEvents

# What a tile's score is made of; each part lies in 0…1.
_DOUBT_WEIGHT = 0.5
_DISSENT_WEIGHT = 0.35
_BORDER_WEIGHT = 0.15

# Below this a tile says more about glass than about the model.
_LEAST_PREDICTED = 0.5

# How much the next region of the same slide must be better than one of a fresh slide.
_SAME_SLIDE_FACTOR = 0.85

_MIN_SIZE_PX = 16


def rank_regions(
    project: Project,
    round: int | None = None,  # noqa: A002  the field's word for a training run
    *,
    count: int = 10,
    size_px: int = 256,
    events: Events | None = None,
) -> list[Region]:
    """Find the regions most worth a person's look and make them the project's queue.

    Parameters
    ----------
    project
        Its slides of split ``train`` that are predicted are searched.
    round
        Whose predictions to read; ``None``: of each slide, the newest round's that predicted it.
    count
        Regions wanted; fewer come back when fewer are left.
    size_px
        Side of a region, working pixels. A smaller slide is one region.
    events
        Takes a ``progress`` event per slide.

    Returns
    -------
    list[Region]
        State ``predicted``, best first, as ``project.replace_queue`` stored them. The score lies
        in 0…1: mean doubt of the decoder, share of dissent and share of class borders. None
        overlaps another, a region that is in review, accepted, skipped or held out, or any label.

    Raises
    ------
    ProjectError
        If the project has no such round, or no training slide is predicted.
    DataError
        If ``count`` or ``size_px`` is too small.
    """
    if count < 1 or size_px < _MIN_SIZE_PX:
        raise DataError(
            f"A queue wants 1 region or more of {_MIN_SIZE_PX} pixels or more, "
            f"found {count} of {size_px}."
        )
    events = SilentEvents() if events is None else events
    if round is not None:
        project.round(round)
    searched = _searched(project, round, size_px, events)
    picked = [
        Region(
            id=0,
            slide=search.slide.name,
            rect=rect,
            state=RegionState.PREDICTED,
            split=Split.TRAIN,
            score=score,
            reason=_reason(search.store, rect, project),
            round=search.round,
        )
        for search, rect, score in _pick(searched, count)
    ]
    picked.sort(key=lambda region: -(region.score or 0.0))
    return project.replace_queue(picked)


@dataclass
class _Search:
    """One slide's candidates, best first, and what they must stay clear of."""

    slide: SlideRecord
    round: int
    store: PredictionStore
    candidates: Iterator[tuple[Rect, float]]
    taken: list[Rect]
    picked: int = 0
    best: tuple[Rect, float] | None = field(default=None)

    def advance(self) -> None:
        """Put the best candidate that is still free into ``best``, or ``None``."""
        self.best = next(
            (
                (rect, score)
                for rect, score in self.candidates
                if not any(rect.intersect(each).area for each in self.taken)
            ),
            None,
        )


def _searched(project: Project, number: int | None, size_px: int, events: Events) -> list[_Search]:
    slides = project.slides(Split.TRAIN)
    predicted = {slide.name: _predicted(project, slide.name, number) for slide in slides}
    if not any(each is not None for each in predicted.values()):
        whose = "any round" if number is None else f"round {number}"
        raise ProjectError(
            f"The queue needs what {whose} predicts, found no training slide that it has segmented "
            f"yet. Segment one first; the list stays as it is."
        )
    searched = []
    for done, slide in enumerate(slides, start=1):
        events.emit(Progress(done=done, total=len(slides), what="Ranking regions"))
        made = predicted[slide.name]
        if made is None:
            continue
        store = project.predictions(made, slide.name)
        cells = sum_cells(store, max(1, size_px // 2))
        candidates = _unlabelled(project, slide, _candidates(cells, size_px, slide.shape_yx))
        search = _Search(slide, made, store, candidates, _kept_clear(project, slide))
        search.advance()
        searched.append(search)
    return searched


def _predicted(project: Project, slide: str, number: int | None) -> int | None:
    """Return the round to read: ``number``, or the newest; ``None`` where it says nothing."""
    if number is None:
        return project.newest_prediction(slide)
    return number if project.has_prediction(number, slide) else None


def _kept_clear(project: Project, slide: SlideRecord) -> list[Rect]:
    return [
        region.rect
        for region in project.regions(slide=slide.name)
        if region.split != Split.TRAIN
        or region.state in {RegionState.REVIEW, RegionState.ACCEPTED, RegionState.SKIPPED}
    ]


def _candidates(
    cells: CellSums, size_px: int, shape_yx: tuple[int, int]
) -> Iterator[tuple[Rect, float]]:
    """Yield tiles with their scores, best first."""
    predicted = tile_sums(cells.predicted)
    enough = predicted >= _LEAST_PREDICTED * np.maximum(1, tile_sums(cells.pixels))
    per_pixel = 1 / np.maximum(1, predicted)
    score = per_pixel * (
        _DOUBT_WEIGHT * tile_sums(cells.doubt)
        + _DISSENT_WEIGHT * tile_sums(cells.dissent)
        + _BORDER_WEIGHT * tile_sums(cells.borders)
    )
    score = np.where(enough, score, -1.0)
    # Stable: equal scores come in reading order, so that a ranking can be repeated.
    for index in np.argsort(-score, axis=None, kind="stable"):
        row, column = divmod(int(index), score.shape[1])
        if score[row, column] < 0:
            return
        rect = tile_rect(row, column, cells.cell_px, size_px, shape_yx)
        yield rect, float(score[row, column])


def _unlabelled(
    project: Project, slide: SlideRecord, candidates: Iterator[tuple[Rect, float]]
) -> Iterator[tuple[Rect, float]]:
    labels = project.labels(slide.name)
    holding = labels.labelled_rects()
    for rect, score in candidates:
        # Chunks tell cheaply where nothing is labelled; only near labels are pixels read.
        if any(rect.intersect(each).area for each in holding) and labels.read(rect).any():
            continue
        yield rect, score


def _pick(searched: Sequence[_Search], count: int) -> Iterator[tuple[_Search, Rect, float]]:
    """Yield up to ``count`` tiles; each one taken from a slide makes its next one cheaper."""
    for _ in range(count):
        leading: _Search | None = None
        value = -1.0
        for search in searched:
            if search.best is None:
                continue
            worth = search.best[1] * _SAME_SLIDE_FACTOR**search.picked
            if worth > value:
                leading, value = search, worth
        if leading is None or leading.best is None:
            return
        rect, score = leading.best
        yield leading, rect, score
        leading.picked += 1
        leading.taken.append(rect)
        leading.advance()


def _reason(store: PredictionStore, rect: Rect, project: Project) -> str:
    return explain(
        store.read(rect, "class"),
        store.read(rect, "confidence"),
        store.read(rect, "disagreement"),
        project.info.class_names,
        reads_words=project.info.text != "free",
    )
