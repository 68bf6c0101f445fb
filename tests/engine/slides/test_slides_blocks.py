"""Blocks follow the file's tiles: each is decoded once, and no pixel is another for it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from unisemalign.geometry import Rect
from unisemalign.slides import SpacedSlide, blocks, prefetch
from unisemalign.slides.prefetch import Prefetch
from unisemalign.slides.slide import on_white
from unisemalign.slides.tiles import tiles_touching

SHAPE = 203, 331


class Tiled:
    """A slide in memory that counts how often each tile would be decoded, without any cache."""

    path = Path("tiled.tif")
    shape_yx = SHAPE
    spacing_um = 0.5
    level_shapes = (SHAPE,)
    level_downsamples = (1.0,)
    remarks = ()

    def __init__(self, tile_yx):
        self.level_tiles = (tile_yx,)
        self.decodes = Counter()
        self._pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)

    def read_level(self, level, rect, unreadable=None):
        self.decodes.update(tiles_touching(rect, self.level_tiles[level]))
        return on_white(rect, SHAPE, lambda inside: self._pixels[inside.slices])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_YX", (32, 48))
    monkeypatch.setattr(prefetch, "_KEPT_ABOVE_PX", 40)
    monkeypatch.setattr(prefetch, "_AHEAD_PX", (10_000, 0))


def windows(extent, side=40, stride=30):
    for y in range(extent.y, extent.y1, stride):
        row = [Rect(y, x, side, side) for x in range(extent.x, extent.x1, stride)]
        yield [window.intersect(extent) for window in row]


def assert_alike(found, there):
    """Parts of a resampled slide agree up to rounding (SpacedSlide.read)."""
    off = np.abs(found.astype(int) - there)
    assert off.max(initial=0) <= 1
    assert off.mean() < 0.01


@pytest.mark.parametrize("tile_yx", [(16, 16), (24, 20), (7, 331), (50, 80)])
@pytest.mark.parametrize("spacing_um", [0.5, 0.501, 0.9897, 1.0, 1.7, 0.31])
def test_each_tile_is_decoded_once_and_no_pixel_is_another(tile_yx, spacing_um):
    tiled = Tiled(tile_yx)
    slide = SpacedSlide(tiled, spacing_um)
    whole = Rect(0, 0, *slide.shape_yx)
    there = slide.read(whole)
    tiled.decodes.clear()
    with Prefetch(slide) as source:
        for row in source.fetched((row, row, whole) for row in windows(whole)):
            for rect in row:
                assert_alike(source.read(rect), there[rect.slices])
    assert set(tiled.decodes) == set(tiles_touching(Rect(0, 0, *SHAPE), tile_yx))
    assert set(tiled.decodes.values()) == {1}


@pytest.mark.parametrize("spacing_um", [0.5, 0.9897, 0.31])
@pytest.mark.parametrize(
    "extent", [Rect(16, 30, 50, 1), Rect(31, 47, 70, 100), Rect(97, 40, 5, 60)]
)
def test_a_view_pays_for_what_it_needs_alone(extent, spacing_um):
    tiled = Tiled((16, 16))
    slide = SpacedSlide(tiled, spacing_um)
    extent = extent.intersect(Rect(0, 0, *slide.shape_yx))
    there = slide.read(extent)
    needed = set(tiled.decodes)
    tiled.decodes.clear()
    with Prefetch(slide) as source:
        for row in source.fetched((row, row, extent) for row in windows(extent)):
            for rect in row:
                assert_alike(source.read(rect), there[rect.relative_to(extent).slices])
    assert set(tiled.decodes) == needed
    assert set(tiled.decodes.values()) == {1}


def test_a_file_in_one_piece_is_read_in_bounded_blocks():
    tiled = Tiled(SHAPE)
    slide = SpacedSlide(tiled, 0.5)
    (first, *others) = blocks.Blocks(slide, Rect(0, 0, *SHAPE)).needed(Rect(0, 0, *SHAPE))
    assert first.source.area <= 4 * 32 * 48
    assert sum(block.inner.area for block in (first, *others)) == SHAPE[0] * SHAPE[1]
