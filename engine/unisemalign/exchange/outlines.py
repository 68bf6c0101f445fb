"""Outlines of other programs on their way into the labels: classes, what is left out, regions."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import box

from unisemalign.errors import DataError
from unisemalign.exchange.polygons import Ring, fill, fill_many
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project, Region, RegionState
from unisemalign.protocol import Message
from unisemalign.runtime import Events

_TILE_PX = 4096
_SMALL_PX, _AT_ONCE_PX = 10_000, 2_000_000
"""Shapes of so few pixels are painted together until they have so many: some tens of megabytes."""
_MOST_ROWS_CROSSED = 500_000_000
"""Of one outline: its edges, times the rows each crosses. A drawn one has some thousands."""
_MANY_REGIONS = 200
_GRID_PX = 512
_FARTHEST = 1e9
_NAMED = 8

LEAVE_OUT = ""
"""A class of the file is mapped to this where its outlines are not wanted."""


class UnknownClassesError(DataError):
    """A file names classes that the project does not have, and no mapping says what they are.

    Attributes
    ----------
    counts
        How many outlines each unknown class has, as the file calls it.
    """

    def __init__(self, text: str, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(text)
        self.counts = dict(counts or {})


@dataclass(frozen=True)
class Outline:
    """One area of a file.

    Attributes
    ----------
    rings
        ``(n, 2)`` each, ``x, y`` in level-0 pixels: the outer one, then holes (even-odd).
    name
        Of its class, as the file calls it; ``None`` where it has none.
    """

    rings: list[Ring]
    name: str | None


@dataclass
class Tally:
    """What a reader left out, and what a person should know, counted as it reads."""

    left_out: Counter[str] = field(default_factory=Counter)
    not_kept: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def sentences(self, taken: int) -> list[str]:
        """Return what to tell of a file of which ``taken`` outlines became labels."""
        sentences = []
        if self.left_out:
            listed = ", ".join(f"{count} {what}" for what, count in self.left_out.items())
            sentences.append(f"{taken} outlines became labels. Left out: {listed}.")
        if self.not_kept:
            listed = ", ".join(f"{what} of {count}" for what, count in self.not_kept.items())
            sentences.append(f"Only class and area are kept, not the {listed}.")
        return [*sentences, *self.remarks]


def checked_ring(points: object) -> Ring | None:
    """Return points as ``(n, 2)`` float64, ``x, y``; ``None`` if they are no ring."""
    try:
        ring = np.array(points, np.float64)
    except (ValueError, TypeError, OverflowError):
        try:  # points of different lengths: what is beyond x and y does not matter
            ring = np.array([point[:2] for point in points], np.float64)  # type: ignore[attr-defined]
        except (ValueError, TypeError, OverflowError, IndexError, KeyError):
            return None
    if ring.ndim != 2 or ring.shape[0] < 3 or ring.shape[1] < 2:
        return None
    ring = ring[:, :2]
    return ring if bool((np.abs(ring) < _FARTHEST).all()) else None  # NaN is not below


@dataclass(frozen=True)
class _Shape:
    """One outline at working spacing with the label value of its class."""

    rings: list[Ring]
    label: int
    bounds: Rect
    """The pixels of the slide it may cover."""


def import_outlines(
    project: Project,
    slide_name: str,
    path: Path,
    outlines: Iterable[Outline],
    tally: Tally,
    *,
    mapping: Mapping[str, str] | None,
    state: RegionState,
    events: Events | None,
) -> list[Region]:
    """Take outlines as labels of origin ``imported``, as one act.

    Parameters
    ----------
    project, slide_name
        Where the labels go.
    path
        The file, for sentences.
    outlines, tally
        What is in it, and what its reader leaves out; the latter is told once all was read.
    mapping
        Class of the file → class of the project, or :data:`LEAVE_OUT`.
    state
        Of the regions.
    events
        Takes the sentences as ``message``; without it they are warnings.

    Raises
    ------
    UnknownClassesError
        If a class is neither the project's nor mapped.
    DataError
        If nothing is left to import. Nothing is then written.
    """
    slide = project.slide(slide_name)
    scale = slide.spacing_um / project.info.spacing_um
    whole = Rect(0, 0, *slide.shape_yx)
    labels = ClassLabels(project.info.class_names, mapping)
    shapes = list(_placed(outlines, labels, scale, whole, tally))
    labels.check_known(path)
    if not shapes:
        more = " ".join(tally.sentences(0)) or "It holds no outline."
        raise DataError(
            f"'{path.name}' needs at least one polygon on slide '{slide_name}', found none. {more} "
            f"Coordinates are pixels of the slide's finest level; choose the file of this slide."
        )
    edits = [partial(_edit, here) for here in _by_tile(shapes)]
    regions = tuple(joined([shape.bounds for shape in shapes]))
    last = len(edits) - 1
    accepted = project.accept(
        slide_name,
        (edit(regions if number == last else ()) for number, edit in enumerate(edits)),
        action="import",
        state=state,
        reason="imported",
    )
    for sentence in tally.sentences(len(shapes)):
        if events is None:
            warnings.warn(f"'{path.name}': {sentence}", stacklevel=3)
        else:
            events.emit(Message(text=f"'{path.name}': {sentence}"))
    return accepted


class ClassLabels:
    """Which label value a class of a file has; keeps count of those nobody knows."""

    def __init__(self, names: Sequence[str], mapping: Mapping[str, str] | None) -> None:
        self._names = tuple(names)
        known = {_plain(name): index + 1 for index, name in enumerate(names)}
        self._labels: dict[str, int | None] = dict(known)
        for source, target in (mapping or {}).items():
            if target == LEAVE_OUT:
                self._labels[_plain(source)] = None
            elif _plain(target) in known:
                self._labels[_plain(source)] = known[_plain(target)]
            else:
                raise DataError(
                    f"Mapping '{source}' needs one of the project's classes "
                    f"{', '.join(self._names)}, found '{target}'. Correct --map."
                )
        self.unknown: Counter[str] = Counter()

    def find(self, name: str) -> int | None:
        """Return the label value of a class; ``None``: it is left out, or unknown and counted."""
        plain = _plain(name)
        if plain in self._labels:
            return self._labels[plain]
        if not plain.endswith("*"):  # QuPath's mark of a class to be ignored
            self.unknown[name] += 1
        return None

    def check_known(self, path: Path) -> None:
        """Raise :class:`UnknownClassesError` where a class was neither known nor mapped."""
        if not self.unknown:
            return
        listed = ", ".join(
            f"'{name}' ({count})" for name, count in self.unknown.most_common(_NAMED)
        )
        more = len(self.unknown) - _NAMED
        first = next(iter(self.unknown))
        raise UnknownClassesError(
            f"'{path.name}' needs the project's classes {', '.join(self._names)}; found {listed}"
            f"{f' and {more} more' if more > 0 else ''}. Say what each means with "
            f'--map "{first}={self._names[-1]}", or leave it out with --map "{first}=".',
            self.unknown,
        )


def _plain(name: str) -> str:
    """Return a class's name for comparison: derived ones differ in blanks around the colon."""
    return ": ".join(part.strip() for part in name.split(":")).casefold()


def _placed(
    outlines: Iterable[Outline], labels: ClassLabels, scale: float, whole: Rect, tally: Tally
) -> Iterator[_Shape]:
    for outline in outlines:
        if outline.name is None:
            tally.left_out["without a class"] += 1
            continue
        label = labels.find(outline.name)
        if label is None:
            if not labels.unknown[outline.name]:
                tally.left_out[f"of the class '{outline.name}'"] += 1
            continue
        rings = [ring * scale for ring in outline.rings]
        bounds = _bounds(rings[0]).intersect(whole)
        if not bounds.area:
            tally.left_out["outside the slide"] += 1
        elif _rows_crossed(rings, whole.h) > _MOST_ROWS_CROSSED:
            tally.left_out["too intricate to be drawn by anybody"] += 1
        else:
            yield _Shape(rings, label, bounds)


def _bounds(outer: Ring) -> Rect:
    x, y = (math.floor(side) for side in outer.min(axis=0).tolist())
    x1, y1 = (math.ceil(side) for side in outer.max(axis=0).tolist())
    return Rect(y, x, y1 - y, x1 - x)


def _rows_crossed(rings: list[Ring], height: int) -> float:
    total = float(sum(map(len, rings))) * height
    if total <= _MOST_ROWS_CROSSED:
        return total  # at most: nobody needs to know more
    total = 0.0
    for ring in rings:
        rows = np.clip(ring[:, 1], 0, height)
        total += float(np.abs(np.diff(rows, append=rows[:1])).sum())
    return total


def _by_tile(shapes: list[_Shape]) -> Iterator[list[tuple[_Shape, Rect]]]:
    """Yield the shapes of each square of the slide, in their order, with their part of it."""
    tiles: defaultdict[tuple[int, int], list[tuple[_Shape, Rect]]] = defaultdict(list)
    for shape in shapes:
        rect = shape.bounds
        for row in range(rect.y // _TILE_PX, -(-rect.y1 // _TILE_PX)):
            for column in range(rect.x // _TILE_PX, -(-rect.x1 // _TILE_PX)):
                tile = Rect(row * _TILE_PX, column * _TILE_PX, _TILE_PX, _TILE_PX)
                tiles[row, column].append((shape, rect.intersect(tile)))
    for place in sorted(tiles):
        yield tiles[place]


def _edit(here: list[tuple[_Shape, Rect]], regions: tuple[Rect, ...]) -> LabelEdit:
    rect = _around([rect for _, rect in here])
    labels: NDArray[np.uint8] = np.zeros(rect.shape, np.uint8)
    small: list[tuple[_Shape, Rect]] = []
    small_px = 0
    for shape, part in here:
        if part.area <= _SMALL_PX and small_px <= _AT_ONCE_PX:
            small.append((shape, part))
            small_px += part.area
            continue
        _paint(labels, rect, small)
        small, small_px = [], 0
        inside = fill(shape.rings, part)
        labels[part.relative_to(rect).slices][inside] = shape.label
    _paint(labels, rect, small)
    return LabelEdit(rect, labels, Origin.IMPORTED, labels > 0, regions)


def _paint(labels: NDArray[np.uint8], rect: Rect, small: list[tuple[_Shape, Rect]]) -> None:
    """Paint many small shapes on the labels of ``rect``; where they overlap the later one holds."""
    if small:
        y, x, number = fill_many([shape.rings for shape, _ in small], [part for _, part in small])
        values = np.array([shape.label for shape, _ in small], np.uint8)
        labels[y - rect.y, x - rect.x] = values[number]


def _around(rects: list[Rect]) -> Rect:
    y, x = min(each.y for each in rects), min(each.x for each in rects)
    return Rect(y, x, max(each.y1 for each in rects) - y, max(each.x1 for each in rects) - x)


def joined(rects: list[Rect]) -> list[Rect]:
    """Return rectangles that cover ``rects`` and do not overlap: few, however many those are."""
    grid_px = _GRID_PX
    while len(rects) > _MANY_REGIONS:
        rects = _on_grid(rects, grid_px)
        grid_px *= 2
    while True:
        union = shapely.union_all([box(each.x, each.y, each.x1, each.y1) for each in rects])
        bounds = [part.bounds for part in shapely.get_parts(union)]
        found = sorted(Rect(int(y), int(x), int(y1 - y), int(x1 - x)) for x, y, x1, y1 in bounds)
        if len(found) == len(rects):
            return found
        rects = found


def _on_grid(rects: list[Rect], grid_px: int) -> list[Rect]:
    """Return one rectangle around those in the same squares of a grid, or neighbouring ones."""
    edges = np.array([(each.y, each.x, each.y1, each.x1) for each in rects])
    first, last = edges[:, :2] // grid_px, (edges[:, 2:] - 1) // grid_px
    origin = first.min(axis=0)
    taken = np.zeros(last.max(axis=0) - origin + 1, bool)
    for (y, x), (y1, x1) in zip(first - origin, last - origin, strict=True):
        taken[y : y1 + 1, x : x1 + 1] = True
    numbers, count = ndimage.label(taken, np.ones((3, 3)))
    groups = numbers[tuple((first - origin).T)]
    low = np.full((count + 1, 2), np.iinfo(np.int64).max)
    high = np.zeros((count + 1, 2), np.int64)
    np.minimum.at(low, groups, edges[:, :2])
    np.maximum.at(high, groups, edges[:, 2:])
    return [
        Rect(int(y), int(x), int(y1 - y), int(x1 - x))
        for (y, x), (y1, x1) in zip(low[1:], high[1:], strict=True)
    ]
