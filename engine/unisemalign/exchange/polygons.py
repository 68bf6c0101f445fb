"""Pixels to polygons and back. Coordinates are ``x, y`` in pixels; pixel i covers i…i+1."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import shapely
from contourpy import FillType, contour_generator
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from unisemalign.exchange.pixels import present
from unisemalign.geometry import Rect

BLOCK_PX = 2048
_MOST_CROSSED = 4_000_000

Ring = NDArray[np.float64]
"""A closed line, ``(n, 2)``, ``x, y``."""


def trace(
    read: Callable[[Rect], NDArray[np.uint8]],
    shape_yx: tuple[int, int],
    block_px: int = BLOCK_PX,
) -> Iterator[tuple[int, Polygon]]:
    """Yield ``(value, polygon)`` for every connected patch of equal values above 0.

    The line runs halfway between the centres of pixels inside and outside, so that filling by
    pixel centres (:func:`fill`) gives the pixels back exactly. Polygons are valid and have holes.

    Parameters
    ----------
    read
        Returns ``(h, w)`` uint8 under a rectangle, 0 outside ``shape_yx``.
    shape_yx
        ``(height, width)``.
    block_px
        Side of the squares that are traced one at a time; what crosses their seams is joined.
    """
    seams: defaultdict[int, list[Polygon]] = defaultdict(list)
    # Squares between pixel centres, from the rim of zeros above and left of the image to the one
    # below and right. Neighbouring blocks share a row of centres, so their pieces fit exactly.
    for y in range(-1, shape_yx[0], block_px):
        for x in range(-1, shape_yx[1], block_px):
            h, w = min(block_px, shape_yx[0] - y), min(block_px, shape_yx[1] - x)
            values = read(Rect(y, x, h + 1, w + 1))
            seam = box(x + 0.5, y + 0.5, x + w + 0.5, y + h + 0.5).bounds
            for value in present(values) - {0}:
                for polygon in _contours(values == value, x, y):
                    if _touches(polygon, seam):
                        seams[value].append(polygon)
                    else:
                        yield value, polygon
    for value, pieces in seams.items():
        for polygon in polygons_in(shapely.union_all(pieces)):
            yield value, polygon


def polygons_in(geometry: shapely.Geometry) -> list[Polygon]:
    """Return the polygons with an area in ``geometry``, made valid."""
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    parts = shapely.get_parts(geometry, return_index=False)
    found: list[Polygon] = []
    for part in parts:
        if part.geom_type == "Polygon":
            found.append(part)
        elif part.geom_type in {"MultiPolygon", "GeometryCollection"}:
            found.extend(polygons_in(part))
    return [polygon for polygon in found if polygon.area > 0]


def fill(rings: Sequence[Ring], rect: Rect) -> NDArray[np.bool_]:
    """Return which pixels of ``rect`` have their centre inside ``rings``, ``(h, w)``.

    Even–odd: an outer ring with its holes is one call. Rows that edges cross are noted in parts, so
    that memory is bounded however long the rings are.
    """
    turns = np.zeros((rect.h, rect.w + 1), np.uint8)
    ends = np.cumsum([len(ring) for ring in rings])
    start = np.concatenate(rings) - (rect.x + 0.5, rect.y + 0.5)
    after = np.arange(1, len(start) + 1)
    after[ends - 1] = [0, *ends[:-1]]
    (x0, y0), (x1, y1) = start.T, start[after].T
    # Rows whose centre lies in [low, high): shared corners count once.
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, rect.h).astype(np.int64)
    count = np.clip(np.ceil(np.maximum(y0, y1)), 0, rect.h).astype(np.int64) - first
    for part in _parts(count):
        edge = np.repeat(np.arange(part.start, part.stop), count[part])
        before = np.cumsum(count[part]) - count[part]
        row = np.arange(edge.size) - np.repeat(before, count[part]) + first[edge]
        cross = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        column = np.clip(np.ceil(cross), 0, rect.w).astype(np.int64)
        np.add.at(turns, (row, column), 1)
    return (np.cumsum(turns[:, :-1], axis=1, dtype=np.uint8) & 1).astype(bool)


def fill_many(
    polygons: Sequence[Sequence[Ring]], rects: Sequence[Rect]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of many small polygons at once: what :func:`fill` says of each.

    Parameters
    ----------
    polygons
        The rings of each.
    rects
        The pixels that are asked for, one rectangle a polygon.

    Returns
    -------
    tuple
        ``y``, ``x`` and the polygon's number of every pixel inside, polygon by polygon.
    """
    corners = np.array([(rect.y, rect.x, rect.h, rect.w) for rect in rects], np.int64)
    y, x, h, w = corners.T
    sizes = h * (w + 1)  # a column more than there are: where edges right of the rectangle count
    starts = np.cumsum(sizes) - sizes
    rings = [ring for polygon in polygons for ring in polygon]
    owner = np.repeat(
        [number for number, polygon in enumerate(polygons) for _ in polygon],
        [len(ring) for ring in rings],
    )
    ends = np.cumsum([len(ring) for ring in rings])
    points = np.concatenate(rings) - np.stack([x[owner], y[owner]], axis=1) - 0.5
    after = np.arange(1, len(points) + 1)
    after[ends - 1] = [0, *ends[:-1]]
    (x0, y0), (x1, y1) = points.T, points[after].T
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, h[owner]).astype(np.int64)
    count = np.clip(np.ceil(np.maximum(y0, y1)), 0, h[owner]).astype(np.int64) - first
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    cross = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    number = owner[edge]
    column = np.clip(np.ceil(cross), 0, w[number]).astype(np.int64)
    turns = np.bincount(starts[number] + row * (w[number] + 1) + column, minlength=sizes.sum())
    # Every row is crossed an even number of times, so that none runs on into the next.
    inside = np.flatnonzero(np.cumsum(turns & 1, dtype=np.int64) & 1)
    found = np.searchsorted(starts, inside, side="right") - 1
    rows, columns = np.divmod(inside - starts[found], w[found] + 1)
    return rows + y[found], columns + x[found], found


def _parts(count: NDArray[np.int64]) -> Iterator[slice]:
    """Yield runs of edges that cross at most :data:`_MOST_CROSSED` rows together, or one edge."""
    total = np.cumsum(count)
    start = 0
    while start < len(count):
        done = total[start - 1] if start else 0
        stop = int(np.searchsorted(total, done + _MOST_CROSSED, side="right"))
        stop = max(start + 1, stop)
        yield slice(start, stop)
        start = stop


def without_holes(polygon: Polygon) -> list[Polygon]:
    """Return ``polygon`` cut into parts that have no hole, for formats that know none."""
    done: list[Polygon] = []
    todo = [polygon]
    while todo:
        part = todo.pop()
        if not part.interiors:
            done.append(part)
            continue
        left, low, right, high = part.bounds
        # Through the middle one of the holes: half of them fall on either side.
        middles = sorted((ring.bounds[0] + ring.bounds[2]) / 2 for ring in part.interiors)
        cut = middles[len(middles) // 2]
        for half in (box(left, low, cut, high), box(cut, low, right, high)):
            todo.extend(polygons_in(part.intersection(half)))
    return done


def _contours(mask: NDArray[np.bool_], x: int, y: int) -> Iterator[Polygon]:
    generator = contour_generator(z=mask.astype(np.float64), fill_type=FillType.OuterOffset)
    found = cast("tuple[list[Ring], list[NDArray[np.uint32]]]", generator.filled(0.5, 1.5))
    for line, cuts in zip(*found, strict=True):
        corners = np.split(line + np.array([x + 0.5, y + 0.5]), cuts[1:-1].astype(np.int64))
        rings = [_without_straight_points(ring) for ring in corners]
        yield Polygon(rings[0], rings[1:])


def _without_straight_points(ring: Ring) -> Ring:
    """Return a closed ring without the points on which it runs straight on."""
    points = ring[:-1]
    back, on = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    # Halves of pixels: the product is exact.
    turns = back[:, 0] * on[:, 1] != back[:, 1] * on[:, 0]
    corners: Ring = points[turns]
    return corners


def _touches(polygon: Polygon, seam: tuple[float, float, float, float]) -> bool:
    left, low, right, high = polygon.bounds
    return bool(left <= seam[0] or low <= seam[1] or right >= seam[2] or high >= seam[3])
