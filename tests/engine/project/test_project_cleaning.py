"""Specks dropped, holes filled, edges smoothed: the same however a map is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisemalign.errors import SettingsError
from unisemalign.geometry import Rect
from unisemalign.project import Cleaning
from unisemalign.project import cleaning as cleaning_module
from unisemalign.project.cleaning import CleanedMap


def test_specks_and_holes() -> None:
    labels = np.ones((40, 60), np.uint8)
    labels[5:25, 5:25] = 2
    labels[10:13, 10:13] = 1  # a hole of 9
    labels[30:33, 30:33] = 2  # a speck of 9
    labels[30:35, 40:45] = 3  # a patch of 25
    labels[36:, 50:] = 0
    dropped = Cleaning(min_object_px=10).apply(labels)
    assert (dropped[30:33, 30:33] == 1).all()
    assert (dropped[10:13, 10:13] == 1).all()
    assert (dropped[30:35, 40:45] == 3).all()
    filled = Cleaning(min_hole_px=10).apply(labels)
    assert (filled[10:13, 10:13] == 2).all()
    assert (filled[30:33, 30:33] == 2).all()
    both = Cleaning(min_object_px=26, min_hole_px=26).apply(labels)
    assert np.count_nonzero(both == 2) == 400
    assert not (both == 3).any()
    assert (both[36:, 50:] == 0).all()
    assert np.array_equal(Cleaning().apply(labels), labels)
    assert np.array_equal(Cleaning(min_object_px=9, min_hole_px=9).apply(labels), labels)


def test_a_patch_at_a_cut_is_kept() -> None:
    labels = np.ones((20, 20), np.uint8)
    labels[0:3, 5:8] = 2
    cleaning = Cleaning(min_object_px=50)
    assert (cleaning.apply(labels) == 1).all()
    assert np.array_equal(cleaning.apply(labels, frozenset({"top"})), labels)
    assert (cleaning.apply(labels, frozenset({"left", "bottom", "right"})) == 1).all()


def test_smoothing_takes_the_most_frequent() -> None:
    labels = np.ones((20, 20), np.uint8)
    labels[:, 10:] = 2
    labels[5, 5] = 2
    labels[12, 15] = 0
    smooth = Cleaning(smooth_px=2).apply(labels)
    assert smooth[5, 5] == 1
    assert smooth[12, 15] == 0
    assert (smooth[:, 12:] >= 2).sum() == 8 * 20 - 1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_part_is_the_crop_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 3, (12, 14), np.uint8)
    labels = np.kron(small, np.ones((7, 7), np.uint8))
    labels[rng.random(labels.shape) < 0.05] = 2
    h, w = labels.shape
    cleaning = Cleaning(min_object_px=40, min_hole_px=20, smooth_px=int(rng.integers(0, 2)))
    padded = np.pad(labels, 1)

    def read(rect: Rect) -> np.ndarray:
        return padded[rect.y + 1 : rect.y1 + 1, rect.x + 1 : rect.x1 + 1]

    patch = pytest.MonkeyPatch()
    patch.setattr(cleaning_module, "_TILE_PX", 32)
    try:
        cleaned = CleanedMap(read, (h, w), cleaning)
        whole = cleaned.read(Rect(0, 0, h, w))
        y, x = int(rng.integers(0, h - 1)), int(rng.integers(0, w - 1))
        part = Rect(y, x, int(rng.integers(1, h - y + 1)), int(rng.integers(1, w - x + 1)))
        assert np.array_equal(CleanedMap(read, (h, w), cleaning).read(part), whole[part.slices])
        assert not cleaned.read(Rect(-5, -5, 5, 5)).any()
        alone = cleaning.apply(labels)
        # Squares drop the same patches as the whole at once.
        assert ((whole != labels) == (alone != labels)).mean() > 0.99
    finally:
        patch.undo()


@pytest.mark.parametrize(
    "wrong", [{"min_object_px": -1}, {"min_hole_px": 10**9}, {"smooth_px": 99}]
)
def test_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="needs 0 to"):
        Cleaning(**wrong)
