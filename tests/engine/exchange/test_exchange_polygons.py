"""Pixels to polygons and back."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import Polygon

from unisemalign.exchange.polygons import fill, fill_many, polygons_in, trace, without_holes
from unisemalign.geometry import Rect

MASKS = arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 2)
)


def _reader(values: np.ndarray):
    def read(rect: Rect) -> np.ndarray:
        padded = np.pad(values, 1)
        return padded[rect.y + 1 : rect.y1 + 1, rect.x + 1 : rect.x1 + 1]

    return read


def _rings(polygon: Polygon, scale: float = 1.0) -> list[np.ndarray]:
    return [shapely.get_coordinates(r) * scale for r in (polygon.exterior, *polygon.interiors)]


def _filled(polygons, shape_yx, scale=1.0) -> np.ndarray:
    values = np.zeros(shape_yx, np.uint8)
    for value, polygon in polygons:
        values[fill([ring * scale for ring in _rings(polygon)], Rect(0, 0, *shape_yx))] = value
    return values


@settings(max_examples=300, deadline=None)
@given(values=MASKS, block_px=st.integers(1, 20), scale=st.floats(0.01, 100))
def test_pixels_survive_any_blocks_and_scales(values, block_px, scale):
    polygons = list(trace(_reader(values), values.shape, block_px))
    assert all(polygon.is_valid for _, polygon in polygons)
    there = [
        (value, Polygon(rings[0] * scale, [hole * scale for hole in rings[1:]]))
        for value, polygon in polygons
        for rings in [_rings(polygon)]
    ]
    assert np.array_equal(_filled(there, values.shape, 1 / scale), values)


@settings(max_examples=150, deadline=None)
@given(values=MASKS, block_px=st.integers(1, 20))
def test_blocks_leave_no_seams(values, block_px):
    whole = list(trace(_reader(values), values.shape, 100))
    parts = list(trace(_reader(values), values.shape, block_px))
    for value in (1, 2):
        one = shapely.union_all([polygon for v, polygon in whole if v == value])
        other = shapely.union_all([polygon for v, polygon in parts if v == value])
        assert one.symmetric_difference(other).area == pytest.approx(0)
    assert len(whole) == len(parts)


def test_a_square_ends_at_the_slides_edge():
    ((value, polygon),) = trace(_reader(np.ones((4, 6), np.uint8)), (4, 6))
    assert value == 1
    assert polygon.bounds == (0, 0, 6, 4)
    # Corners are cut by half a pixel.
    assert polygon.area == 24 - 4 / 8


@settings(max_examples=100, deadline=None)
@given(values=MASKS)
def test_cutting_holes_keeps_the_area(values):
    for _, polygon in trace(_reader(values), values.shape):
        parts = without_holes(polygon)
        assert not any(part.interiors for part in parts)
        assert sum(part.area for part in parts) == pytest.approx(polygon.area)
        assert shapely.union_all(parts).symmetric_difference(polygon).area == pytest.approx(0)


def test_filling_clips_and_counts_even_and_odd():
    square = np.array([[-5.0, -5.0], [5.0, -5.0], [5.0, 5.0], [-5.0, 5.0]])
    hole = square / 5 + 2
    filled = fill([square, hole], Rect(0, 0, 8, 8))
    expected = np.zeros((8, 8), bool)
    expected[:5, :5] = True
    expected[1:3, 1:3] = False
    assert np.array_equal(filled, expected)
    assert not fill([square + 100], Rect(0, 0, 8, 8)).any()
    assert fill([square * 100], Rect(3, 4, 8, 8)).all()


def test_a_bow_tie_becomes_two_triangles():
    bow = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    assert sum(part.area for part in polygons_in(bow)) == pytest.approx(2)
    assert all(part.is_valid for part in polygons_in(bow))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_many_at_once_are_what_each_is_alone(seed):
    rng = np.random.default_rng(seed)
    polygons, rects = [], []
    for _ in range(rng.integers(1, 8)):
        y, x = rng.integers(-5, 30, 2)
        rects.append(Rect(int(y), int(x), int(rng.integers(0, 20)), int(rng.integers(0, 20))))
        middle = rng.uniform(0, 40, 2)
        rings = [
            np.round(middle + rng.normal(0, 9, (rng.integers(3, 9), 2)), int(rng.integers(0, 3)))
            for _ in range(rng.integers(1, 3))
        ]
        polygons.append(rings)
    y, x, number = fill_many(polygons, rects)
    for index, (rings, rect) in enumerate(zip(polygons, rects, strict=True)):
        found = np.zeros(rect.shape, bool)
        mine = number == index
        found[y[mine] - rect.y, x[mine] - rect.x] = True
        assert np.array_equal(found, fill(rings, rect))
