"""Rectangles, windows and the step from one pixel size to another. All in ``y, x`` order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from unisemalign.errors import DataError, shortened

_LIMIT = 2**31
"""Pixels along a side, of any slide: coordinates stay below."""


@dataclass(frozen=True, order=True)
class Rect:
    """A rectangle in whole pixels: top-left corner ``(y, x)``, height and width.

    Corners may be negative (a window that hangs over an edge); sides may not.
    """

    y: int
    x: int
    h: int
    w: int

    def __post_init__(self) -> None:
        if self.h < 0 or self.w < 0:
            raise DataError(
                f"A rectangle needs a height and width of 0 or more, found {self.h} × {self.w}."
            )

    @property
    def y1(self) -> int:
        """First row below the rectangle."""
        return self.y + self.h

    @property
    def x1(self) -> int:
        """First column right of the rectangle."""
        return self.x + self.w

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.h, self.w

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.h * self.w

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index an array ``(Y, X, …)`` whose origin is this rectangle's origin."""
        return slice(self.y, self.y1), slice(self.x, self.x1)

    def intersect(self, other: Rect) -> Rect:
        """Return the common part; zero-sized when there is none."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        y1, x1 = min(self.y1, other.y1), min(self.x1, other.x1)
        return Rect(y, x, max(0, y1 - y), max(0, x1 - x))

    def contains(self, other: Rect) -> bool:
        """Tell whether ``other`` lies wholly inside."""
        return (
            self.y <= other.y and self.x <= other.x and self.y1 >= other.y1 and self.x1 >= other.x1
        )

    def without(self, other: Rect) -> list[Rect]:
        """Return what of this rectangle lies outside ``other``: at most four rectangles."""
        both = self.intersect(other)
        if not both.area:
            return [self]
        parts = (
            Rect(self.y, self.x, both.y - self.y, self.w),
            Rect(both.y, self.x, both.h, both.x - self.x),
            Rect(both.y, both.x1, both.h, self.x1 - both.x1),
            Rect(both.y1, self.x, self.y1 - both.y1, self.w),
        )
        return [part for part in parts if part.area]

    def relative_to(self, other: Rect) -> Rect:
        """Return the same rectangle in coordinates whose origin is ``other``'s corner."""
        return Rect(self.y - other.y, self.x - other.x, self.h, self.w)

    def grown(self, margin: int) -> Rect:
        """Return the rectangle with ``margin`` pixels more on every side."""
        return Rect(self.y - margin, self.x - margin, self.h + 2 * margin, self.w + 2 * margin)

    def scaled(self, factor: float) -> Rect:
        """Return the smallest whole-pixel rectangle covering this one times ``factor``."""
        y, x = math.floor(self.y * factor + 1e-6), math.floor(self.x * factor + 1e-6)
        y1, x1 = math.ceil(self.y1 * factor - 1e-6), math.ceil(self.x1 * factor - 1e-6)
        return Rect(y, x, max(0, y1 - y), max(0, x1 - x))

    def __str__(self) -> str:
        return f"{self.y},{self.x},{self.h},{self.w}"


def union_area(rects: Iterable[Rect]) -> int:
    """Return how many pixels lie in at least one of ``rects``."""
    apart: list[Rect] = []
    for rect in rects:
        left = [rect]
        for other in apart:
            left = [part for each in left for part in each.without(other)]
        apart += left
    return sum(each.area for each in apart)


def parse_rect(text: str) -> Rect:
    """Read ``Y,X,H,W`` (pixels at working spacing, as the command line takes it).

    Raises
    ------
    DataError
        If ``text`` is not four whole numbers below 2³¹ or has no area.
    """
    numbers = _whole_numbers(text)
    if len(numbers) != 4 or min(numbers[2:]) <= 0:
        raise DataError(
            f"A region needs four whole numbers Y,X,H,W below 2³¹ with a height and width above "
            f"0, found '{shortened(text)}'. Example: --region 0,0,1024,1024."
        )
    return Rect(*numbers)


def parse_point(text: str) -> tuple[int, int]:
    """Read ``Y,X`` (a pixel at working spacing, as the command line takes it).

    Raises
    ------
    DataError
        If ``text`` is not two whole numbers from 0 to 2³¹ − 1.
    """
    numbers = _whole_numbers(text)
    if len(numbers) != 2 or min(numbers) < 0:
        raise DataError(
            f"A focus needs two whole numbers Y,X of 0 or more, below 2³¹, found "
            f"'{shortened(text)}'. Example: --focus 2048,4096."
        )
    return numbers[0], numbers[1]


def _whole_numbers(text: str) -> list[int]:
    """Return the numbers in ``text``, separated by commas; none where one is no number."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:  # int() also refuses what has thousands of digits
        return []
    return numbers if all(abs(number) < _LIMIT for number in numbers) else []


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return window corners along one axis so that they cover ``length``; the last is flush.

    ``length`` must be at least ``window``. Corners are 0, stride, 2·stride, … and, where those
    leave a rest, ``length − window`` (methods.md A7).
    """
    if window > length or stride < 1:
        raise DataError(
            f"Windows need 1 ≤ stride and window ≤ length, "
            f"found window {window}, stride {stride}, length {length}."
        )
    last = length - window
    starts = list(range(0, last + 1, stride))
    if starts[-1] != last:
        starts.append(last)
    return starts


def canvas_shape(shape_yx: tuple[int, int], window: int) -> tuple[int, int]:
    """Return ``shape_yx`` rounded up to whole windows (methods.md A7)."""
    h, w = shape_yx
    return math.ceil(h / window) * window, math.ceil(w / window) * window


def iter_windows(
    shape_yx: tuple[int, int], window: int, stride: int, *, whole: bool = True
) -> Iterator[Rect]:
    """Yield square windows over ``shape_yx``, row by row.

    ``whole`` rounds the canvas up to whole windows (methods.md A7): they may then pass the right
    and bottom edge, and what is read there is padded. Without it the last window is flush with the
    edge, and only a side shorter than a window is padded.
    """
    if whole:
        canvas_h, canvas_w = canvas_shape(shape_yx, window)
    else:
        canvas_h, canvas_w = max(shape_yx[0], window), max(shape_yx[1], window)
    columns = window_starts(canvas_w, window, stride)
    for y in window_starts(canvas_h, window, stride):
        for x in columns:
            yield Rect(y, x, window, window)


def best_level(downsamples: Sequence[float], wanted: float) -> int:
    """Return the coarsest level that is still at least as fine as ``wanted`` (a downsample).

    ``downsamples`` are relative to level 0, ascending. A hair (1 %) of coarseness is forgiven,
    because file headers round.
    """
    level = 0
    for index, downsample in enumerate(downsamples):
        if downsample <= wanted * 1.01:
            level = index
    return level


def scaled_shape(shape_yx: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return the shape after a zoom by ``factor``, each side at least 1."""
    return max(1, round(shape_yx[0] * factor)), max(1, round(shape_yx[1] * factor))
