"""Levels stored in tiles: each is decoded once, kept for its neighbours and set beside them."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.slides.slide import WHITE

KEPT_BYTES = 64 * 2**20
"""Decoded tiles kept in a process: 80 of 512² pixels."""


class UndecodableError(Exception):
    """The stored bytes of one tile make no pixels."""


class TiledLevel(Protocol):
    """One level of a pyramid in tiles of equal size; those at the right and bottom may hang over.

    ``key`` tells it from every other level of this process.
    """

    key: int
    shape_yx: tuple[int, int]
    tile_yx: tuple[int, int]

    def decode(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """Return a tile as ``(h, w, 3)``, at least as large as what lies inside the level.

        ``None`` where the file holds nothing: it is white.

        Raises
        ------
        UndecodableError
            If the tile's bytes are damaged.
        SlideError
            If the file is gone.
        """
        ...


_keys = itertools.count()


def next_key() -> int:
    """Return a number no other level of this process has."""
    return next(_keys)


class TileCache:
    """The tiles decoded last, ``limit`` bytes of them and at least one. Threads may share it.

    Attributes
    ----------
    decoded
        How many tiles were decoded so far: those that were not at hand.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.decoded = 0
        self._limit = limit
        self._held = 0
        self._tiles: OrderedDict[tuple[int, int, int], NDArray[np.uint8] | None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, level: TiledLevel, row: int, column: int) -> NDArray[np.uint8] | None:
        """Return a tile of ``level``, decoded now or before. Not to be written to."""
        key = level.key, row, column
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        tile = level.decode(row, column)
        with self._lock:
            self.decoded += 1
            if key not in self._tiles:
                self._tiles[key] = tile
                self._held += _size(tile)
            while self._held > self._limit and len(self._tiles) > 1:
                self._held -= _size(self._tiles.popitem(last=False)[1])
        return tile

    def forget(self, level: TiledLevel) -> None:
        """Let go of a level's tiles."""
        with self._lock:
            for key in [key for key in self._tiles if key[0] == level.key]:
                self._held -= _size(self._tiles.pop(key))


def _size(tile: NDArray[np.uint8] | None) -> int:
    return 0 if tile is None else tile.nbytes


TILES = TileCache()
"""One for all slides of the process: many may be open at a time."""


def read_tiles(
    level: TiledLevel, rect: Rect, on_bad: Callable[[Rect, UndecodableError], None]
) -> NDArray[np.uint8]:
    """Return ``rect``, which lies inside ``level``, as ``(h, w, 3)``.

    ``on_bad`` is told each tile that cannot be decoded, in pixels of the level; it may raise, else
    the tile is white.
    """
    out = np.full((rect.h, rect.w, 3), WHITE, np.uint8)
    for tile in tiles_touching(rect, level.tile_yx):
        row, column = tile.y // tile.h, tile.x // tile.w
        try:
            pixels = TILES.get(level, row, column)
        except UndecodableError as error:
            on_bad(tile.intersect(Rect(0, 0, *level.shape_yx)), error)
            continue
        if pixels is not None:
            part = tile.intersect(rect)
            out[part.relative_to(rect).slices] = pixels[part.relative_to(tile).slices]
    return out


def tiles_touching(rect: Rect, tile_yx: tuple[int, int]) -> Iterator[Rect]:
    """Yield the tiles of a grid from 0, 0 that touch ``rect``, row by row."""
    if rect.area == 0:
        return
    h, w = tile_yx
    for row in range(rect.y // h, -(-rect.y1 // h)):
        for column in range(rect.x // w, -(-rect.x1 // w)):
            yield Rect(row * h, column * w, h, w)
