"""In which order the pixels of a slide are labelled, and by which windows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from unisemalign.geometry import Rect, iter_windows
from unisemalign.project.stored_arrays import CHUNK_PX
from unisemalign.settings import InferenceSettings

BAND_PX = CHUNK_PX
"""Height of a band: a chunk of the prediction store."""
STRIP_PX = 6144
"""No band is wider: memory does not grow with the slide. Windows on a border run twice."""
_SECTION_BANDS = 12


@dataclass(frozen=True)
class Run:
    """Bands one below the other, labelled in one go.

    Attributes
    ----------
    rect
        The pixels, whole bands of one strip.
    extent
        What the strip's windows cover of the slide, above and below ``rect`` too.
    rows
        Windows that touch ``rect``, row by row, in the grid of the whole slide.
    """

    rect: Rect
    extent: Rect
    rows: list[list[Rect]]


class Plan:
    """Cuts a target into strips and bands, and puts what is unfinished in order.

    A band's labels depend on nothing but its strip: in which order bands are labelled, and where a
    run begins, changes no bit of them.

    Parameters
    ----------
    shape_yx
        Of the slide, at working spacing.
    inference
        Windows and stride.
    target
        What to label; ``None``: the whole slide.
    finished
        Bands of the whole slide that need not be done again.
    focus
        A pixel ``(y, x)``; what lies near it is labelled first. ``None``: from the top.
    sketch
        Windows beside one another from the target's corner: for a view less than half the work,
        and other labels near the windows' borders.

    Attributes
    ----------
    target
        What is labelled, inside the slide.
    """

    def __init__(
        self,
        shape_yx: tuple[int, int],
        inference: InferenceSettings,
        target: Rect | None = None,
        *,
        finished: Collection[Rect] = (),
        focus: tuple[int, int] | None = None,
        sketch: bool = False,
    ) -> None:
        self._whole = Rect(0, 0, *shape_yx)
        self._inference = inference
        self.target = self._whole if target is None else target.intersect(self._whole)
        side = inference.window_px
        self._finished = set(finished)
        self._strip_w = next(strips(self._whole)).w
        # One axis at a time: the grid of a large slide has a hundred thousand windows.
        self._ys = [w.y for w in self._windows((shape_yx[0], side))]
        self._xs = [w.x for w in self._windows((side, shape_yx[1]))]
        if sketch:
            self._ys = list(range(self.target.y, self.target.y1, side))
            self._xs = list(range(self.target.x, self.target.x1, side))
        self._rects = list(self._ordered(focus))

    def _windows(self, shape_yx: tuple[int, int]) -> Iterator[Rect]:
        one = self._inference
        return iter_windows(shape_yx, one.window_px, one.stride_px, whole=one.whole_windows)

    @property
    def total(self) -> int:
        """Windows of all runs."""
        return sum(
            len(self._touching(self._ys, r.y, r.y1)) * len(self._touching(self._xs, r.x, r.x1))
            for r in self._rects
        )

    def runs(self) -> Iterator[Run]:
        """Yield what is to be done, in order."""
        side = self._inference.window_px
        for rect in self._rects:
            columns = self._touching(self._xs, rect.x, rect.x1)
            strip = self._touching(self._ys, self.target.y, self.target.y1)
            extent = Rect(
                strip[0], columns[0], strip[-1] + side - strip[0], columns[-1] + side - columns[0]
            )
            rows = [
                [Rect(y, x, side, side) for x in columns]
                for y in self._touching(self._ys, rect.y, rect.y1)
            ]
            yield Run(rect, extent.intersect(self._whole), rows)

    def _touching(self, starts: list[int], first: int, end: int) -> list[int]:
        side = self._inference.window_px
        return [start for start in starts if start < end and start + side > first]

    def _ordered(self, focus: tuple[int, int] | None) -> Iterator[Rect]:
        sections = [
            section
            for strip in strips(self.target)
            for section in self._sections(strip, None if focus is None else focus[0])
        ]
        if focus is not None:
            sections.sort(key=lambda section: (_distance2(section, *focus), section))
        current: Rect | None = None
        for section in sections:
            if current is None:
                current = section
            elif section.x == current.x and section.y == current.y1:
                current = Rect(current.y, current.x, current.h + section.h, current.w)
            else:
                yield current
                current = section
        if current is not None:
            yield current

    def _sections(self, strip: Rect, row: int | None) -> Iterator[Rect]:
        """Yield the unfinished bands of ``strip``, some joined; near ``row`` from just above it."""
        first = 0 if row is None else max(0, row // BAND_PX - 1)
        section: Rect | None = None
        for band in bands(strip):
            begins = row is not None and (band.y // BAND_PX - first) % _SECTION_BANDS == 0
            if section is not None and (begins or self._is_finished(band)):
                yield section
                section = None
            if not self._is_finished(band):
                above = section or Rect(band.y, band.x, 0, band.w)
                section = Rect(above.y, above.x, above.h + band.h, above.w)
        if section is not None:
            yield section

    def _is_finished(self, band: Rect) -> bool:
        """Tell whether every band of the whole slide that ``band`` lies in is finished."""
        y, w = band.y // BAND_PX * BAND_PX, self._strip_w
        return all(
            Rect(y, x, BAND_PX, w).intersect(self._whole) in self._finished
            for x in range(band.x // w * w, band.x1, w)
        )


def strips(target: Rect) -> Iterator[Rect]:
    """Cut ``target`` into strips of about one width, of whole chunks where there are several."""
    if target.area == 0:
        return
    count = -(-target.w // STRIP_PX)
    width = target.w if count == 1 else -(-target.w // (count * BAND_PX)) * BAND_PX
    for x in range(target.x, target.x1, width):
        yield Rect(target.y, x, target.h, width).intersect(target)


def bands(strip: Rect) -> Iterator[Rect]:
    """Cut ``strip`` into bands: whole rows of chunks, less where it begins or ends in one."""
    cuts = range(strip.y // BAND_PX * BAND_PX + BAND_PX, strip.y1, BAND_PX)
    for y, y1 in pairwise([strip.y, *cuts, strip.y1]):
        yield Rect(y, strip.x, y1 - y, strip.w)


def _distance2(rect: Rect, y: int, x: int) -> int:
    """Return the squared distance from a pixel to ``rect``; 0 inside."""
    dy = max(rect.y - y, 0, y - rect.y1 + 1)
    dx = max(rect.x - x, 0, x - rect.x1 + 1)
    return dy * dy + dx * dx
