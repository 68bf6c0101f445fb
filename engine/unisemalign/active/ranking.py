"""Which regions a person should look at next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
from unisemalign.terms import MIN_REGION_PX


@dataclass(frozen=True)
class RankingWeights:
    """What a region is worth: a weighted mean of three figures in 0…1, each over its pixels.

    Attributes
    ----------
    doubt
        Of the decoder's mean doubt, 1 − confidence.
    disagreement
        Of the share on which prototypes or words disagree with the decoder.
    borders
        Of the share that borders on another class.
    same_slide
        The next region of the same slide counts so much of its worth, again for each one taken.
    """

    doubt: float = 0.5
    disagreement: float = 0.35
    borders: float = 0.15
    same_slide: float = 0.85


DEFAULT_WEIGHTS = RankingWeights()
"""Those of the dock and the command line."""

LEAST_PREDICTED = 0.5
"""Share of a tile that a round must have labelled to have a say there: below, most is glass."""
_ROUNDS = 3
"""So many rounds of a slide are read: what only older ones have seen is not asked about."""


def rank_regions(
    project: Project,
    round: int | None = None,  # noqa: A002  the field's word for a training run
    *,
    count: int = 10,
    size_px: int = 256,
    weights: RankingWeights = DEFAULT_WEIGHTS,
    events: Events | None = None,
) -> list[Region]:
    """Find the regions most worth a person's look and make them the project's queue.

    Parameters
    ----------
    project
        Its slides of split ``train`` that are predicted are searched.
    round
        Whose predictions to read; ``None``: at each place, the newest round's that predicted it.
    count
        Regions wanted; fewer come back when fewer are left.
    size_px
        Side of a region, working pixels. A smaller slide is one region.
    weights
        What a region is worth.
    events
        Takes a ``progress`` event per slide.

    Returns
    -------
    list[Region]
        State ``predicted``, best first, as ``project.replace_queue`` stored them. The score lies
        in 0…1, a mean weighted by ``weights``. None
        overlaps another, a region that is in review, accepted, skipped or held out, or any label.

    Raises
    ------
    ProjectError
        If the project has no such round, or no training slide is predicted.
    DataError
        If ``count`` or ``size_px`` is too small.
    """
    if count < 1 or size_px < MIN_REGION_PX:
        raise DataError(
            f"A queue needs 1 region or more of {MIN_REGION_PX} pixels or more, "
            f"found {count} of {size_px}. Ask for more regions, or larger ones."
        )
    events = SilentEvents() if events is None else events
    if round is not None:
        project.round(round)
    searched = _searched(project, round, size_px, weights, events)
    picked = [
        Region(
            id=0,
            slide=search.slide.name,
            rect=found.rect,
            state=RegionState.PREDICTED,
            split=Split.TRAIN,
            score=found.score,
            reason=_reason(found.store, found.rect, project),
            round=found.round,
        )
        for search, found in _pick(searched, count, weights.same_slide)
    ]
    picked.sort(key=lambda region: -(region.score or 0.0))
    return project.replace_queue(picked)


@dataclass(frozen=True)
class _Candidate:
    """A tile, how much there is to doubt, and whose map says so."""

    rect: Rect
    score: float
    round: int
    store: PredictionStore


@dataclass
class _Search:
    """One slide's candidates, best first, and what they must stay clear of."""

    slide: SlideRecord
    candidates: Iterator[_Candidate]
    taken: list[Rect]
    picked: int = 0
    best: _Candidate | None = field(default=None)

    def advance(self) -> None:
        """Put the best candidate that is still free into ``best``, or ``None``."""
        self.best = next(
            (
                each
                for each in self.candidates
                if not any(each.rect.intersect(taken).area for taken in self.taken)
            ),
            None,
        )


def _searched(
    project: Project, number: int | None, size_px: int, weights: RankingWeights, events: Events
) -> list[_Search]:
    slides = project.slides(Split.TRAIN)
    read = {slide.name: _rounds_to_read(project, slide.name, number) for slide in slides}
    if not any(read.values()):
        whose = "any round" if number is None else f"round {number}"
        raise ProjectError(
            f"The queue needs what {whose} predicts, found no training slide that it has segmented "
            f"yet. Segment one first; the list stays as it is."
        )
    searched = []
    for done, slide in enumerate(slides, start=1):
        events.emit(Progress(done=done, total=len(slides), what="Ranking regions"))
        if not read[slide.name]:
            continue
        candidates = _candidates(project, slide, read[slide.name], size_px, weights)
        unlabelled = _unlabelled(project, slide, candidates)
        search = _Search(slide, unlabelled, _kept_clear(project, slide))
        search.advance()
        searched.append(search)
    return searched


def _rounds_to_read(project: Project, slide: str, number: int | None) -> list[int]:
    """Return the rounds that say something of a slide, newest first: ``number`` alone, or any."""
    if number is not None:
        return [number] if project.has_prediction(number, slide) else []
    return project.predicted_rounds(slide)[:_ROUNDS]


def _kept_clear(project: Project, slide: SlideRecord) -> list[Rect]:
    return [
        region.rect
        for region in project.regions(slide=slide.name)
        if region.split != Split.TRAIN
        or region.state in {RegionState.REVIEW, RegionState.ACCEPTED, RegionState.SKIPPED}
    ]


def _candidates(
    project: Project,
    slide: SlideRecord,
    rounds: Sequence[int],
    size_px: int,
    weights: RankingWeights,
) -> list[_Candidate]:
    """Return tiles, best first: each by the newest of ``rounds`` that labelled enough of it."""
    found: list[_Candidate] = []
    seen: NDArray[np.bool_] | None = None
    for number in rounds:
        store = project.predictions(number, slide.name)
        cells = sum_cells(store, max(1, size_px // 2))
        score = _scores(cells, weights)
        said = score >= 0
        new = said if seen is None else said & ~seen
        seen = said if seen is None else seen | said
        found += [
            _Candidate(
                tile_rect(int(row), int(column), cells.cell_px, size_px, slide.shape_yx),
                float(score[row, column]),
                number,
                store,
            )
            for row, column in np.argwhere(new)
        ]
        if seen.all():
            break
    # Stable: equal scores come in reading order, so that a ranking can be repeated.
    found.sort(key=lambda each: -each.score)
    return found


def _scores(cells: CellSums, weights: RankingWeights) -> NDArray[np.float64]:
    """Return the score of each tile; −1 where too little of it is labelled."""
    predicted = tile_sums(cells.predicted)
    enough = predicted >= LEAST_PREDICTED * np.maximum(1, tile_sums(cells.pixels))
    per_pixel = 1 / np.maximum(1, predicted)
    score = per_pixel * (
        weights.doubt * tile_sums(cells.doubt)
        + weights.disagreement * tile_sums(cells.disagreement)
        + weights.borders * tile_sums(cells.borders)
    )
    return np.where(enough, score, -1.0)


def _unlabelled(
    project: Project, slide: SlideRecord, candidates: Iterable[_Candidate]
) -> Iterator[_Candidate]:
    labels = project.labels(slide.name)
    holding = labels.labelled_rects()
    for each in candidates:
        # Chunks tell cheaply where nothing is labelled; only near labels are pixels read.
        near = any(each.rect.intersect(held).area for held in holding)
        if not (near and labels.read(each.rect).any()):
            yield each


def _pick(
    searched: Sequence[_Search], count: int, same_slide: float
) -> Iterator[tuple[_Search, _Candidate]]:
    """Yield up to ``count`` tiles; each one taken from a slide makes its next one cheaper."""
    for _ in range(count):
        leading: _Search | None = None
        value = -1.0
        for search in searched:
            if search.best is None:
                continue
            worth = search.best.score * same_slide**search.picked
            if worth > value:
                leading, value = search, worth
        if leading is None or leading.best is None:
            return
        found = leading.best
        yield leading, found
        leading.picked += 1
        leading.taken.append(found.rect)
        leading.advance()


def _reason(store: PredictionStore, rect: Rect, project: Project) -> str:
    return explain(
        store.read(rect, "class"),
        store.read(rect, "confidence"),
        store.read(rect, "disagreement"),
        project.info.class_names,
        reads_words=project.info.text != "free",
    )
