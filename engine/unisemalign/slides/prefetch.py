"""Reading ahead: blocks of a slide are decoded before they are needed, each of them once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.runtime.cores import usable_cores
from unisemalign.slides.blocks import (
    Block,
    BlockPixels,
    Blocks,
    read_block,
    read_seam,
)
from unisemalign.slides.opening import reopen_slide
from unisemalign.slides.padding import Readable
from unisemalign.slides.plain_slide import PlainSlide
from unisemalign.slides.slide import Opening
from unisemalign.slides.spaced import SpacedSlide

_AHEAD_PX = 2**23, 2**22
"""Working pixels fetched before they are wanted, and as many more for each reader: several rows of
windows."""
_KEPT_ABOVE_PX = 1024
"""Rows kept above what is read: an edge is mirrored from there."""
_KNOWN_EXTENTS = 4
_SMALL_PX = 8192 * 8192
"""Up to here a thread has read much before a process has begun."""
_MOST_READERS = 8
_FEW_CORES = 2

T = TypeVar("T")


class Prefetch:
    """Serves rectangles of a slide out of blocks that are read before they are wanted.

    Reads like the slide itself, and what a rectangle holds depends on neither the readers nor the
    order. Pixels that cannot be decoded are white.

    Parameters
    ----------
    slide
        What to read.
    readers
        Processes that each open the slide themselves; 0: one thread of this process.
    unreadable
        Told before; what is found is added.

    Attributes
    ----------
    waited_s
        Seconds spent waiting for blocks.
    decoded
        How many of the file's tiles were decoded for what was read, where the backend counts.
    unreadable
        Rectangles, in working pixels, that could not be decoded.

    Raises
    ------
    SlideError
        From :meth:`read`, when the slide is no longer there or a reader was killed.
    """

    def __init__(
        self, slide: Readable, readers: int = 0, unreadable: list[Rect] | None = None
    ) -> None:
        self.shape_yx = slide.shape_yx
        self.waited_s = 0.0
        self.decoded = 0
        self.unreadable = [] if unreadable is None else unreadable
        self._slide = slide
        self._extent = Rect(0, 0, *slide.shape_yx)
        self._cut = lru_cache(_KNOWN_EXTENTS)(partial(Blocks, slide))
        self._coming: dict[Block, Future[BlockPixels]] = {}
        self._held: dict[Block, BlockPixels] = {}
        self._seams: dict[Rect, NDArray[np.uint8]] = {}
        self._room_px = _AHEAD_PX[0] + readers * _AHEAD_PX[1]
        self._pool: Executor
        if readers and isinstance(slide, SpacedSlide):
            self._read = _read_here
            self._pool = ProcessPoolExecutor(
                readers,
                multiprocessing.get_context("spawn"),  # a fork would copy torch's locks
                _begin_here,
                (slide.slide.path, slide.slide.spacing_um, slide.slide.opening, slide.spacing_um),
            )
        else:
            self._read = self._read_inside
            self._pool = ThreadPoolExecutor(1, "reader")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def fetched(self, wanted: Iterable[tuple[T, list[Rect], Rect]]) -> Iterator[T]:
        """Yield each item while the blocks of the next ones are on their way.

        Parameters
        ----------
        wanted
            Of each item, in order: the item, the rectangles that will be read for it, and the
            extent its blocks are cut by, so that a view does not pay for what lies around it.
        """
        waiting: deque[tuple[T, list[Rect], Rect]] = deque()
        for item in wanted:
            waiting.append(item)
            for rect in item[1]:
                for block in self._cut(item[2]).needed(rect):
                    self._submit(block)
            while waiting and sum(b.inner.area for b in self._coming) > self._room_px:
                yield self._begun(*waiting.popleft())
        while waiting:
            yield self._begun(*waiting.popleft())

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` of ``rect``, which lies inside the slide."""
        out = np.empty((rect.h, rect.w, 3), np.uint8)
        extent = self._extent if self._extent.contains(rect) else Rect(0, 0, *self.shape_yx)
        blocks = self._cut(extent)
        for part in blocks.parts(rect):
            pixels, seen = self._part(blocks, part), part.intersect(rect)
            out[seen.relative_to(rect).slices] = pixels[seen.relative_to(part).slices]
        return out

    def _part(self, blocks: Blocks, part: Rect) -> NDArray[np.uint8]:
        """Return the inside of a block, or a seam between blocks."""
        if part in self._seams:
            return self._seams[part]
        needed = {block: self._taken(block) for block in blocks.needed(part)}
        for block, found in needed.items():
            if block.inner == part:
                return found.pixels
        rims = chain.from_iterable(found.rims for found in needed.values())
        self._seams[part] = read_seam(self._slide, part, rims)
        return self._seams[part]

    def _begun(self, item: T, rects: list[Rect], extent: Rect) -> T:
        """Forget the blocks of another extent, and those well above ``rects``."""
        self._extent = extent
        if rects:
            top = min(rect.y for rect in rects) - _KEPT_ABOVE_PX
            held, seams = self._held, self._seams
            for block in [b for b in held if b.inner.y1 <= top or not extent.contains(b.inner)]:
                del held[block]
            for seam in [s for s in seams if s.y1 <= top or not extent.contains(s)]:
                del seams[seam]
        return item

    def _submit(self, block: Block) -> None:
        if block not in self._coming and block not in self._held:
            with _killed_told():
                self._coming[block] = self._pool.submit(self._read, block)

    def _taken(self, block: Block) -> BlockPixels:
        if block not in self._held:
            self._submit(block)
            started = time.perf_counter()
            with _killed_told():
                found = self._coming[block].result()
            self.waited_s += time.perf_counter() - started
            del self._coming[block]
            self._held[block] = found
            self.decoded += found.decoded
            self.unreadable.extend(r for r in found.unreadable if r not in self.unreadable)
        return self._held[block]

    def _read_inside(self, block: Block) -> BlockPixels:
        return read_block(self._slide, block)


def choose_readers(wanted: int | Literal["auto"], slide: Readable, area_px: int) -> int:
    """Return how many processes read ``area_px`` working pixels; ``auto``: as suits the machine.

    Half of the cores, for the other half feeds the network. Small areas, images that lie in memory
    and two cores, which the network fills, are not worth a process.
    """
    if wanted != "auto":
        return wanted
    if area_px <= _SMALL_PX or not isinstance(slide, SpacedSlide):
        return 0
    if isinstance(slide.slide, PlainSlide):
        return 0
    cores = usable_cores()
    return min(_MOST_READERS, cores // 2) if cores > _FEW_CORES else 0


@contextmanager
def _killed_told() -> Iterator[None]:
    try:
        yield
    except BrokenExecutor as error:
        raise SlideError(
            "A process that reads the slide was killed, perhaps for lack of memory. What was "
            "finished before is kept: start again, or with --set inference.readers=0."
        ) from error


# In a reader process.


@dataclass
class _Here:
    path: Path
    own_spacing_um: float | None
    opening: Opening
    spacing_um: float
    slide: SpacedSlide | None = None


_here: _Here | None = None


def _begin_here(
    path: Path, own_spacing_um: float | None, opening: Opening, spacing_um: float
) -> None:
    global _here
    _here = _Here(path, own_spacing_um, opening, spacing_um)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that feeds us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # a parent that was killed closes no queue


def _read_here(block: Block) -> BlockPixels:
    if _here is None:  # the pool runs its initializer first
        raise RuntimeError("a reader reads before it was begun")
    if _here.slide is None:
        opened = reopen_slide(_here.path, _here.own_spacing_um, _here.opening)
        _here.slide = SpacedSlide(opened, _here.spacing_um)
    return read_block(_here.slide, block)
