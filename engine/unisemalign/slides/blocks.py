"""A slide cut into blocks along its file's own tiles, so that each tile is decoded once.

Where a slide is resampled, a working pixel near the end of a tile needs pixels of the next one too.
Such seams, a few pixels wide, belong to no block: they are made of the rims of the blocks beside
them, which travel with what a block gave.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.slides.padding import Readable
from unisemalign.slides.slide import UnreadableTileError
from unisemalign.slides.spaced import SOURCE_LIMIT_PX, SpacedSlide
from unisemalign.slides.tiles import TILES

BLOCK_YX = (512, 512)
"""About a block, in working pixels, where the file's tiles allow it: what is decoded beside what is
wanted, around tissue, is little."""
_LONGEST_TILE = 8
"""A tile so many times as high as a block is cut all the same: memory is bounded."""


@dataclass(frozen=True)
class Block:
    """What is read in one go.

    Attributes
    ----------
    source
        Pixels of the level: whole tiles, less where the extent ends.
    inner
        The working pixels that need no others; may be empty.
    """

    source: Rect
    inner: Rect


@dataclass(frozen=True)
class BlockPixels:
    """What reading a block gave.

    Attributes
    ----------
    pixels
        ``(h, w, 3)`` of ``inner``.
    rims
        The outermost pixels of ``source``, as parts of it with their ``(h, w, 3)``.
    unreadable
        Working pixels that could not be decoded.
    decoded
        How many of the file's tiles were decoded, where the backend counts.
    """

    pixels: NDArray[np.uint8]
    rims: list[tuple[Rect, NDArray[np.uint8]]]
    unreadable: list[Rect]
    decoded: int


class Blocks:
    """The blocks under a part of a slide, and the seams between them.

    Where they lie depends on the slide alone, but that ``extent`` cuts them.

    Parameters
    ----------
    slide
        What is read.
    extent
        Working pixels, inside the slide: nothing is read but for these.
    """

    def __init__(self, slide: Readable, extent: Rect) -> None:
        self._slide = slide
        if isinstance(slide, SpacedSlide):
            source, steps = slide.source(extent), _steps(slide)
            factor, reach = slide.factor, slide.reach
        else:
            source, steps, factor, reach = extent, BLOCK_YX, 1.0, 0
        ends = (
            (extent.y, extent.y1, source.y, source.y1),
            (extent.x, extent.x1, source.x, source.x1),
        )
        self._rows, self._columns = (
            list(_spans(*ends[axis], steps[axis], factor, reach)) for axis in (0, 1)
        )

    def needed(self, rect: Rect) -> Iterator[Block]:
        """Yield the blocks that ``rect`` is made of, in reading order."""
        source = self._slide.source(rect) if isinstance(self._slide, SpacedSlide) else rect
        for row in self._rows:
            if row.low < source.y1 and row.high > source.y:
                for column in self._columns:
                    if column.low < source.x1 and column.high > source.x:
                        yield _block(row, column)

    def parts(self, rect: Rect) -> Iterator[Rect]:
        """Yield what ``rect`` touches of the blocks' insides and of the seams between them."""
        columns = list(_between(self._columns, rect.x, rect.x1))
        for y, y1 in _between(self._rows, rect.y, rect.y1):
            for x, x1 in columns:
                yield Rect(y, x, y1 - y, x1 - x)


@dataclass(frozen=True)
class _Span:
    """A block along one axis: pixels of the level, and the working pixels that need no others."""

    low: int
    high: int
    start: int
    stop: int


def _block(row: _Span, column: _Span) -> Block:
    return Block(
        Rect(row.low, column.low, row.high - row.low, column.high - column.low),
        Rect(row.start, column.start, row.stop - row.start, column.stop - column.start),
    )


def _spans(
    start: int, stop: int, low: int, high: int, step: int, factor: float, reach: int
) -> Iterator[_Span]:
    """Cut ``[low, high)`` of the level, which ``[start, stop)`` is made of, at each ``step``."""
    cuts = range(low // step * step + step, high, step)
    first = start
    for begin, end in pairwise([low, *cuts, high]):
        last = math.floor((end - reach) / factor) if end < high else stop
        last = min(max(last, first), stop)
        yield _Span(begin, end, first, last)
        first = min(max(math.ceil((end + reach) / factor), last), stop)


def _between(spans: Iterable[_Span], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield what ``[start, stop)`` touches of the insides of ``spans`` and of the seams."""
    ends = (end for span in spans for end in (span.start, span.stop))
    for first, last in pairwise(ends):
        if max(first, start) < min(last, stop):
            yield first, last


def _steps(slide: SpacedSlide) -> tuple[int, int]:
    """Return the height and width of a block in pixels of the level, whole tiles near BLOCK_YX."""
    h, w = (side * slide.factor for side in BLOCK_YX)
    shrunk = min(1.0, math.sqrt(SOURCE_LIMIT_PX / (h * w)))
    tile_h, tile_w = slide.tile_yx
    wide = max(1, round(w * shrunk / tile_w)) * tile_w
    # Strips as wide as the slide: the extent cuts them.
    high = h * w * shrunk**2 / min(wide, 4 * w * shrunk)
    if tile_h > _LONGEST_TILE * high:
        return math.ceil(high), wide
    return max(1, round(high / tile_h)) * tile_h, wide


def read_block(slide: Readable, block: Block) -> BlockPixels:
    """Read whatever can be read of ``block``: the rest is white.

    Raises
    ------
    SlideError
        If the slide itself is gone.
    """
    if not isinstance(slide, SpacedSlide):
        return BlockPixels(slide.read(block.inner), [], [], 0)
    damaged: list[UnreadableTileError] = []
    before = TILES.decoded
    source = slide.read_source(block.source, damaged)
    pixels = np.empty((*block.inner.shape, 3), np.uint8)
    if block.inner.area:
        pixels = np.ascontiguousarray(slide.resample(block.inner, block.source, source))
    return BlockPixels(
        pixels,
        [(rim, source[rim.relative_to(block.source).slices].copy()) for rim in _rims(slide, block)],
        list(dict.fromkeys(error.rect for error in damaged)),
        TILES.decoded - before,
    )


def _rims(slide: SpacedSlide, block: Block) -> list[Rect]:
    if not slide.reach:
        return []
    wide = 2 * slide.reach + math.ceil(slide.factor) + 1
    y, x, h, w = block.source.y, block.source.x, block.source.h, block.source.w
    sides = (
        Rect(y, x, wide, w),
        Rect(block.source.y1 - wide, x, wide, w),
        Rect(y, x, h, wide),
        Rect(y, block.source.x1 - wide, h, wide),
    )
    return [side.intersect(block.source) for side in sides]


def read_seam(
    slide: Readable, seam: Rect, rims: Iterable[tuple[Rect, NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """Return ``(h, w, 3)`` of ``seam`` (working pixels) out of the rims of the blocks beside it."""
    if not isinstance(slide, SpacedSlide):
        raise TypeError("only what is resampled has seams")
    source = slide.source(seam)
    pixels = np.empty((*source.shape, 3), np.uint8)
    for rim, found in rims:
        part = rim.intersect(source)
        pixels[part.relative_to(source).slices] = found[part.relative_to(rim).slices]
    return np.ascontiguousarray(slide.resample(seam, source, pixels))
