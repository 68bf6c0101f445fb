import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisemalign.errors import DataError
from unisemalign.geometry import (
    Rect,
    best_level,
    canvas_shape,
    iter_windows,
    parse_rect,
    scaled_shape,
    union_area,
)

sides = st.integers(1, 900)
rects = st.builds(Rect, st.integers(-50, 50), st.integers(-50, 50), sides, sides)


def test_windows_of_a_glas_image():
    """methods.md G: 775 × 522 at window 256 and stride 170."""
    windows = list(iter_windows((522, 775), 256, 170))
    assert canvas_shape((522, 775), 256) == (768, 1024)
    assert sorted({w.x for w in windows}) == [0, 170, 340, 510, 680, 768]
    assert sorted({w.y for w in windows}) == [0, 170, 340, 510, 512]
    assert len(windows) == 30


@given(st.tuples(sides, sides), st.integers(16, 300), st.booleans(), st.data())
def test_windows_cover_every_pixel(shape, window, whole, data):
    stride = data.draw(st.integers(8, window))
    seen = np.zeros(canvas_shape(shape, window), int)
    for w in iter_windows(shape, window, stride, whole=whole):
        assert w.shape == (window, window)
        seen[w.slices] += 1
        if not whole:
            assert w.y1 <= max(shape[0], window)
            assert w.x1 <= max(shape[1], window)
    assert (seen[: shape[0], : shape[1]] >= 1).all()


@given(rects, rects)
def test_intersection_is_in_both(a, b):
    common = a.intersect(b)
    if common.area:
        assert a.contains(common)
        assert b.contains(common)
    assert common.area == b.intersect(a).area


@given(rects, rects)
def test_what_is_left_and_the_common_part_make_the_whole(a, b):
    left = a.without(b)
    assert sum(part.area for part in left) + a.intersect(b).area == a.area
    assert all(a.contains(part) and not part.intersect(b).area for part in left)
    assert not any(p.intersect(q).area for p in left for q in left if p is not q)


@given(rects, st.floats(0.05, 20))
def test_scaling_covers(rect, factor):
    there = rect.scaled(factor)
    assert there.y <= rect.y * factor + 1e-3
    assert there.y1 >= rect.y1 * factor - 1e-3


@given(rects)
def test_text_round_trip(rect):
    assert parse_rect(str(rect)) == rect


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "0,0,0,5", "0,0,-4,5"])
def test_bad_region_is_told(text):
    with pytest.raises(DataError, match="Y,X,H,W"):
        parse_rect(text)


def test_best_level_is_the_coarsest_fine_enough():
    assert best_level([1, 4, 16], 3.9) == 0
    assert best_level([1, 4, 16], 4.0) == 1
    assert best_level([1, 4.0008, 16], 4.0) == 1
    assert best_level([1, 4, 16], 100) == 2
    assert best_level([1, 4, 16], 0.5) == 0


def test_scaled_shape_never_vanishes():
    assert scaled_shape((1, 1000), 0.1) == (1, 100)


@given(st.lists(rects, max_size=6))
def test_the_union_counts_every_pixel_once(found):
    plane = np.zeros((1100, 1100), bool)
    for rect in found:
        plane[rect.y + 100 : rect.y1 + 100, rect.x + 100 : rect.x1 + 100] = True
    assert union_area(found) == plane.sum()
