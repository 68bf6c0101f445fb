"""Which regions a person should look at next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.active.cells import CellSums, sum_cells, tile_rect, tile_sums
from unisemalign.active.likeness import Likeness, mean_colors
from unisemalign.active.reasons import explain
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import (
    LabelStore,
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
    """What a region is worth: a weighted mean of four figures in 0…1, each over its pixels.

    Attributes
    ----------
    doubt
        Of the decoder's mean doubt, 1 − confidence.
    disagreement
        Of the share on which prototypes or words disagree with the decoder.
    borders
        Of the share that borders on another class.
    changed
        Of the share that the round before called otherwise.
    same_slide
        A region counts so much of its worth, again for each one of its slide that was labelled,
        skipped or is taken before it.
    variety
        Its worth is divided by 1 + ``variety`` times how alike it is to every region that was
        labelled, skipped or is taken before it: the same classes in the same colours count 1.
    """

    doubt: float = 0.5
    disagreement: float = 0.25
    borders: float = 0.1
    changed: float = 0.15
    same_slide: float = 0.8
    variety: float = 1.0


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
    candidates = _candidates(project, round, size_px, weights, events)
    picked = [
        Region(
            id=0,
            slide=found.slide.name,
            rect=found.rect,
            state=RegionState.PREDICTED,
            split=Split.TRAIN,
            score=found.score,
            reason=_reason(found.store, found.rect, project),
            round=found.round,
        )
        for found in _pick(project, candidates, count, weights)
    ]
    picked.sort(key=lambda region: -(region.score or 0.0))
    return project.replace_queue(picked)


@dataclass(frozen=True)
class _Candidate:
    """A tile, how much there is to doubt, which classes it shows, and whose map says so."""

    slide: SlideRecord
    rect: Rect
    score: float
    shares: NDArray[np.float64]
    round: int
    store: PredictionStore


def _candidates(
    project: Project, number: int | None, size_px: int, weights: RankingWeights, events: Events
) -> list[_Candidate]:
    """Return the tiles of every training slide, best first."""
    slides = project.slides(Split.TRAIN)
    read = {slide.name: _rounds_to_read(project, slide.name, number) for slide in slides}
    if not any(read.values()):
        whose = "any round" if number is None else f"round {number}"
        raise ProjectError(
            f"The queue needs what {whose} predicts, found no training slide that it has segmented "
            f"yet. Segment one first; the list stays as it is."
        )
    found: list[_Candidate] = []
    for done, slide in enumerate(slides, start=1):
        events.emit(Progress(done=done, total=len(slides), what="Ranking regions"))
        if read[slide.name]:
            found += _tiles(project, slide, read[slide.name], size_px, weights)
    # Stable: equal scores come in reading order, so that a ranking can be repeated.
    found.sort(key=lambda each: -each.score)
    return found


def _rounds_to_read(project: Project, slide: str, number: int | None) -> list[int]:
    """Return the rounds that say something of a slide, newest first: ``number`` alone, or any."""
    if number is not None:
        return [number] if project.has_prediction(number, slide) else []
    return project.predicted_rounds(slide)[:_ROUNDS]


def _round_before(project: Project, slide: str, number: int) -> PredictionStore | None:
    """Return what the newest trained round before ``number`` says of a slide."""
    older = [each for each in project.predicted_rounds(slide) if 0 < each < number]
    return project.predictions(older[0], slide) if older else None


def _tiles(
    project: Project,
    slide: SlideRecord,
    rounds: Sequence[int],
    size_px: int,
    weights: RankingWeights,
) -> Iterator[_Candidate]:
    """Yield a slide's tiles, each by the newest of ``rounds`` that labelled enough of it."""
    seen: NDArray[np.bool_] | None = None
    for number in rounds:
        store = project.predictions(number, slide.name)
        older = _round_before(project, slide.name, number) if weights.changed else None
        cells = sum_cells(store, max(1, size_px // 2), len(project.info.classes), older)
        score, shares = _scores(cells, weights)
        said = score >= 0
        new = said if seen is None else said & ~seen
        seen = said if seen is None else seen | said
        for row, column in np.argwhere(new):
            yield _Candidate(
                slide,
                tile_rect(int(row), int(column), cells.cell_px, size_px, slide.shape_yx),
                float(score[row, column]),
                shares[:, row, column],
                number,
                store,
            )
        if seen.all():
            break


def _scores(
    cells: CellSums, weights: RankingWeights
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each tile's score, −1 where too little is labelled, and its classes' shares."""
    predicted = tile_sums(cells.predicted)
    enough = predicted >= LEAST_PREDICTED * np.maximum(1, tile_sums(cells.pixels))
    per_pixel = 1 / np.maximum(1, predicted)
    score = per_pixel * (
        weights.doubt * tile_sums(cells.doubt)
        + weights.disagreement * tile_sums(cells.disagreement)
        + weights.borders * tile_sums(cells.borders)
        + weights.changed * tile_sums(cells.changed)
    )
    shares = np.stack([per_pixel * tile_sums(each) for each in cells.classes])
    return np.where(enough, score, -1.0), shares


def _pick(
    project: Project, candidates: Sequence[_Candidate], count: int, weights: RankingWeights
) -> Iterator[_Candidate]:
    """Yield up to ``count`` free tiles, the most worth first.

    A slide's next tile is worth less for each region of it that somebody has looked at or that is
    taken now, and a tile less the more it looks like one of these.
    """
    if not candidates:
        return
    names = sorted({each.slide.name for each in candidates})
    place = {name: index for index, name in enumerate(names)}
    slides = np.array([place[each.slide.name] for each in candidates])
    score = np.array([each.score for each in candidates])
    taken = {name: _kept_clear(project, name) for name in names}
    before = {name: _looked_at(project, name) for name in names}
    looked = np.array([len(before[name]) for name in names])
    likeness = _likeness(project, candidates, slides, names) if weights.variety else None
    alike, used = np.zeros(len(candidates)), np.zeros(len(candidates), bool)
    if likeness is not None:
        for name, rects in before.items():
            here = np.flatnonzero(slides == place[name])
            tiles = [candidates[int(k)].rect for k in here] if rects else []
            for rect in rects:
                # What was labelled is told by the tile that lies there.
                shared = _shared_px(tiles, rect)
                if shared.max() > 0:
                    alike += likeness.to(int(here[shared.argmax()]))
    labels: dict[str, tuple[LabelStore, list[Rect]]] = {}
    for _ in range(count):
        worth = score * weights.same_slide ** looked[slides] / (1 + weights.variety * alike)
        worth = np.where(used, -1, worth)
        for index in np.argsort(-worth, kind="stable"):
            if used[index]:
                return
            used[index] = True
            found = candidates[index]
            name = found.slide.name
            if name not in labels:
                store = project.labels(name)
                labels[name] = store, store.labelled_rects()
            if _is_free(found.rect, taken[name], *labels[name]):
                yield found
                looked[slides[index]] += 1
                taken[name].append(found.rect)
                if likeness is not None:
                    alike += likeness.to(int(index))
                break
        else:
            return


def _likeness(
    project: Project,
    candidates: Sequence[_Candidate],
    slides: NDArray[np.int64],
    names: Sequence[str],
) -> Likeness:
    colors = np.zeros((len(candidates), 3))
    for index, name in enumerate(names):
        here = np.flatnonzero(slides == index)
        rects = [candidates[int(k)].rect for k in here]
        colors[here] = mean_colors(project, name, rects, rects[0].h)
    return Likeness(np.stack([each.shares for each in candidates]), colors)


def _kept_clear(project: Project, slide: str) -> list[Rect]:
    return [
        region.rect
        for region in project.regions(slide=slide)
        if region.split != Split.TRAIN
        or region.state in {RegionState.REVIEW, RegionState.ACCEPTED, RegionState.SKIPPED}
    ]


def _shared_px(tiles: Sequence[Rect], rect: Rect) -> NDArray[np.int64]:
    """Return how many pixels each tile shares with ``rect``, ``(N,)``."""
    y, y1, x, x1 = np.array([(each.y, each.y1, each.x, each.x1) for each in tiles]).T
    high = np.minimum(y1, rect.y1) - np.maximum(y, rect.y)
    wide = np.minimum(x1, rect.x1) - np.maximum(x, rect.x)
    shared: NDArray[np.int64] = np.maximum(high, 0) * np.maximum(wide, 0)
    return shared


def _looked_at(project: Project, slide: str) -> list[Rect]:
    """Return the training regions of a slide that were accepted or skipped."""
    states = {RegionState.ACCEPTED, RegionState.SKIPPED}
    regions = project.regions(slide=slide, split=Split.TRAIN)
    return [region.rect for region in regions if region.state in states]


def _is_free(
    rect: Rect, taken: Sequence[Rect], labels: LabelStore, labelled: Sequence[Rect]
) -> bool:
    if any(rect.intersect(each).area for each in taken):
        return False
    # Chunks tell cheaply where nothing is labelled; only near labels are pixels read.
    near = any(rect.intersect(each).area for each in labelled)
    return not (near and labels.read(rect).any())


def _reason(store: PredictionStore, rect: Rect, project: Project) -> str:
    return explain(
        store.read(rect, "class"),
        store.read(rect, "confidence"),
        store.read(rect, "disagreement"),
        project.info.class_names,
        reads_words=project.info.text != "free",
    )
