"""GeoJSON as QuPath reads and writes it: level-0 pixels, origin at the top left."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon, box
from shapely.geometry.polygon import orient

from unisemalign.errors import DataError
from unisemalign.exchange.pixels import ExportPixels
from unisemalign.exchange.polygons import Ring, fill, trace
from unisemalign.geometry import Rect
from unisemalign.project import ClassInfo, LabelEdit, Origin, Project, Region, RegionState
from unisemalign.project.colors import rgb

_TILE_PX = 8192
_DECIMALS = 4


def import_geojson(
    project: Project,
    slide_name: str,
    path: Path | str,
    *,
    state: RegionState = RegionState.ACCEPTED,
) -> list[Region]:
    """Take polygons with classes as labels of origin ``imported``.

    Where polygons overlap the later one holds. Pixels outside keep the labels they had. Labels and
    regions are one act: whole, also after a kill, and one to undo.

    Parameters
    ----------
    project, slide_name
        Where the labels go.
    path
        A FeatureCollection (or a list of features) of Polygons and MultiPolygons, in level-0
        pixels, each with ``properties.classification.name``.
    state
        State of the regions.

    Returns
    -------
    list[Region]
        Rectangles around polygons that lie close together.

    Raises
    ------
    DataError
        If the file is no such GeoJSON, names an unknown class, or lies outside the slide.
        Nothing is then imported.
    """
    path = Path(path)
    slide = project.slide(slide_name)
    scale = slide.spacing_um / project.info.spacing_um
    shapes = list(_read_shapes(path, project.info.class_names, scale))
    whole = Rect(0, 0, *slide.shape_yx)
    bounds = [shape.bounds.intersect(whole) for shape in shapes]
    inside = [each for each in bounds if each.area]
    if not inside:
        raise DataError(
            f"'{path.name}' wants at least one polygon on slide '{slide_name}', found none among "
            f"{len(shapes)}. Coordinates are pixels of the slide's finest level; choose the file "
            f"of this slide."
        )
    edits = []
    for tile in _tiles(whole):
        here = [
            (shape, rect)
            for shape, each in zip(shapes, bounds, strict=True)
            if (rect := each.intersect(tile)).area
        ]
        if here:
            edits.append(partial(_edit, here))
    regions = tuple(_joined(inside))
    last = len(edits) - 1
    return project.accept(
        slide_name,
        (edit(regions if number == last else ()) for number, edit in enumerate(edits)),
        action="import",
        state=state,
        reason="imported",
    )


def write_geojson(path: Path, pixels: ExportPixels, classes: tuple[ClassInfo, ...]) -> None:
    """Write every patch of a class as one annotation."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for index, (value, polygon) in enumerate(trace(pixels.read, pixels.shape_yx)):
            file.write(",\n" if index else "\n")
            file.write(json.dumps(_feature(polygon, classes[value - 1], pixels.downsample)))
        file.write("\n]}\n")


def level_0_rings(polygon: Polygon, downsample: float) -> list[list[list[float]]]:
    """Return the closed rings of ``polygon`` in level-0 pixels: the outer one, then the holes."""
    turned = orient(polygon)
    return [
        np.round(shapely.get_coordinates(ring) * downsample, _DECIMALS).tolist()
        for ring in (turned.exterior, *turned.interiors)
    ]


def _feature(polygon: Polygon, info: ClassInfo, downsample: float) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": level_0_rings(polygon, downsample)},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": info.name, "color": list(rgb(info.color))},
        },
    }


@dataclass(frozen=True)
class _Shape:
    """One polygon at working spacing with the label value of its class."""

    rings: list[Ring]
    label: int

    @property
    def bounds(self) -> Rect:
        """The pixels it may cover."""
        outer = self.rings[0]
        x, y = (math.floor(side) for side in outer.min(axis=0))
        x1, y1 = (math.ceil(side) for side in outer.max(axis=0))
        return Rect(y, x, y1 - y, x1 - x)


def _read_shapes(path: Path, names: tuple[str, ...], scale: float) -> Iterator[_Shape]:
    labels = {name.strip().casefold(): index + 1 for index, name in enumerate(names)}
    for number, feature in enumerate(_read_features(path), start=1):
        where = f"'{path.name}', feature {number}"
        name = _class_name(feature)
        label = labels.get(name.strip().casefold()) if name is not None else None
        if label is None:
            found = "none" if name is None else f"'{name}'"
            raise DataError(
                f"{where}: wants one of the project's classes {', '.join(names)}; found {found}. "
                f"Rename it in the file, or add the class to project.toml."
            )
        for rings in _polygons(feature, where):
            yield _Shape([ring * scale for ring in rings], label)


def _read_features(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"Cannot read '{path}': {error.strerror}. Choose a GeoJSON file."
        ) from error
    except ValueError as error:
        raise DataError(
            f"'{path.name}' wants to be GeoJSON, found text that is none: {error}. Export it again."
        ) from error
    if isinstance(content, dict):
        content = content.get("features", [content] if content.get("type") == "Feature" else None)
    if not isinstance(content, list) or not content:
        raise DataError(
            f"'{path.name}' wants a FeatureCollection with at least one feature, found none. "
            f"In QuPath: File, Export objects as GeoJSON, as FeatureCollection."
        )
    return content


def _class_name(feature: Any) -> str | None:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    classification = properties.get("classification") if isinstance(properties, dict) else None
    name = classification.get("name") if isinstance(classification, dict) else None
    return name if isinstance(name, str) else None


def _polygons(feature: dict[str, Any], where: str) -> Iterator[list[Ring]]:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
    if kind not in {"Polygon", "MultiPolygon"} or not isinstance(coordinates, list):
        raise DataError(
            f"{where}: wants a Polygon or MultiPolygon, found {kind or 'no geometry'}. "
            f"Export areas only."
        )
    for rings in [coordinates] if kind == "Polygon" else coordinates:
        try:
            found = [np.array(ring, np.float64)[:, :2] for ring in rings]
        except (ValueError, TypeError, IndexError) as error:
            raise _bad_ring(where) from error
        if not found or any(
            len(ring) < 3 or ring.shape[1] != 2 or not (np.abs(ring) < 1e9).all() for ring in found
        ):
            raise _bad_ring(where)
        yield found


def _bad_ring(where: str) -> DataError:
    return DataError(
        f"{where}: wants rings of at least three points with two numbers each, found something "
        f"else. Export it again."
    )


def _tiles(whole: Rect) -> Iterator[Rect]:
    for y in range(0, whole.h, _TILE_PX):
        for x in range(0, whole.w, _TILE_PX):
            yield Rect(y, x, _TILE_PX, _TILE_PX).intersect(whole)


def _edit(here: list[tuple[_Shape, Rect]], regions: tuple[Rect, ...]) -> LabelEdit:
    rect = _around([rect for _, rect in here])
    labels, covered = np.zeros(rect.shape, np.uint8), np.zeros(rect.shape, bool)
    for shape, part in here:
        inside = fill(shape.rings, part)
        where = part.relative_to(rect).slices
        labels[where][inside] = shape.label
        covered[where] |= inside
    return LabelEdit(rect, labels, Origin.IMPORTED, covered, regions)


def _around(rects: list[Rect]) -> Rect:
    y, x = min(each.y for each in rects), min(each.x for each in rects)
    return Rect(y, x, max(each.y1 for each in rects) - y, max(each.x1 for each in rects) - x)


def _joined(rects: list[Rect]) -> list[Rect]:
    """Return rectangles that cover ``rects`` and do not overlap."""
    while True:
        union = shapely.union_all([box(each.x, each.y, each.x1, each.y1) for each in rects])
        bounds = [part.bounds for part in shapely.get_parts(union)]
        joined = sorted(Rect(int(y), int(x), int(y1 - y), int(x1 - x)) for x, y, x1, y1 in bounds)
        if len(joined) == len(rects):
            return joined
        rects = joined
