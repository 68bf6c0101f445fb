"""GeoJSON as QuPath reads and writes it: level-0 pixels, origin at the top left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon
from shapely.geometry.polygon import orient

from unisemalign.errors import DataError
from unisemalign.exchange.json_stream import NoJsonError, iter_features
from unisemalign.exchange.outlines import Outline, Tally, checked_ring, import_outlines
from unisemalign.exchange.pixels import ExportPixels
from unisemalign.exchange.polygons import Ring, trace
from unisemalign.project import ClassInfo, Project, Region, RegionState
from unisemalign.project.colors import rgb
from unisemalign.runtime import Events

_DECIMALS = 4
_DERIVED = ": "
"""Between the parts of a class that QuPath derives from another: ``Tumor: Positive``."""
_DEEPEST_COLLECTION = 4


def import_geojson(
    project: Project,
    slide_name: str,
    path: Path | str,
    *,
    state: RegionState = RegionState.ACCEPTED,
    mapping: Mapping[str, str] | None = None,
    events: Events | None = None,
) -> list[Region]:
    """Take polygons with classes as labels of origin ``imported``.

    Where polygons overlap the later one holds. Pixels outside keep the labels they had. Labels and
    regions are one act: whole, also after a kill, and one to undo. What is no area, or has no
    class, is left out and counted.

    Parameters
    ----------
    project, slide_name
        Where the labels go.
    path
        A FeatureCollection, a list of features or one feature, plain, in a gzip or in a zip.
        Polygons and MultiPolygons are in level-0 pixels; a class is ``properties.classification``:
        a text, an object with ``name``, or one with the ``names`` of a derived class.
    state
        State of the regions.
    mapping
        Class of the file → class of the project, or an empty text where it is not wanted.
    events
        Takes what is to be told as ``message``; without it that is a warning.

    Returns
    -------
    list[Region]
        Rectangles around polygons that lie close together.

    Raises
    ------
    UnknownClassesError
        If the file names classes that are neither the project's nor mapped.
    DataError
        If the file is no such GeoJSON or lies outside the slide. Nothing is then imported.
    """
    path, tally = Path(path), Tally()
    return import_outlines(
        project,
        slide_name,
        path,
        read_geojson(path, tally),
        tally,
        mapping=mapping,
        state=state,
        events=events,
    )


def geojson_classes(path: Path | str) -> Counter[str]:
    """Return the classes a GeoJSON names, and how many areas each has: for a choice of a mapping.

    Raises
    ------
    DataError
        If the file is no GeoJSON.
    """
    outlines = read_geojson(Path(path), Tally())
    return Counter(outline.name for outline in outlines if outline.name is not None)


def read_geojson(path: Path, tally: Tally) -> Iterator[Outline]:
    """Yield the areas of a GeoJSON; what is left out is counted in ``tally``."""
    empty = True
    try:
        for feature in iter_features(path):
            empty = False
            if not isinstance(feature, dict):
                tally.left_out["that is no feature"] += 1
                continue
            yield from _outlines(feature, tally)
    except NoJsonError as error:
        raise DataError(
            f"'{path.name}' needs to be GeoJSON, found text that is none: {error}. Export it again."
        ) from error
    if empty:
        raise DataError(
            f"'{path.name}' needs a FeatureCollection with at least one feature, found none. "
            f"In QuPath: File, Export objects as GeoJSON, as FeatureCollection."
        )


def _outlines(feature: dict[str, Any], tally: Tally) -> Iterator[Outline]:
    name = _class_name(feature)
    areas = list(_areas(feature.get("geometry"), tally, _DEEPEST_COLLECTION))
    if areas and name is not None:
        _count_not_kept(feature, tally)
    for rings in areas:
        yield Outline(rings, name)


def _class_name(feature: dict[str, Any]) -> str | None:
    """Return a feature's class; the parts of a derived one are joined as QuPath shows them."""
    properties = feature.get("properties")
    places = (properties, feature) if isinstance(properties, dict) else (feature,)
    for place in places:
        said = place.get("classification")
        if isinstance(said, dict):
            names = said.get("names")
            if isinstance(names, list) and names and all(isinstance(n, str) for n in names):
                said = _DERIVED.join(names)
            else:
                said = said.get("name")
        if isinstance(said, str) and said.strip():
            return said
    return None


def _count_not_kept(feature: dict[str, Any], tally: Tally) -> None:
    properties = feature.get("properties")
    said = properties if isinstance(properties, dict) else {}
    for key, what in (("measurements", "measurements"), ("name", "names"), ("metadata", "notes")):
        if said.get(key):
            tally.not_kept[what] += 1
    if feature.get("nucleusGeometry"):
        tally.not_kept["nuclei inside"] += 1


def _areas(geometry: Any, tally: Tally, depth: int) -> Iterator[list[Ring]]:
    """Yield the rings of each polygon of a geometry."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection" and depth:
        parts = geometry.get("geometries")
        for part in parts if isinstance(parts, list) else []:
            yield from _areas(part, tally, depth - 1)
        return
    coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
    if kind not in {"Polygon", "MultiPolygon"}:
        known = kind if isinstance(kind, str) else "no geometry"
        tally.left_out[f"without an area ({known[:40]})"] += 1
        return
    polygons = [coordinates] if kind == "Polygon" else coordinates
    for rings in polygons if isinstance(polygons, list) else [None]:
        found = [checked_ring(ring) for ring in rings] if isinstance(rings, list) else []
        sound = [ring for ring in found if ring is not None]
        if not sound or found[0] is None:
            tally.left_out["without a ring of at least three points of two numbers"] += 1
            continue
        if len(sound) < len(found):
            tally.left_out["that are holes of less than three points"] += len(found) - len(sound)
        yield sound


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
    parts = [part.strip() for part in info.name.split(_DERIVED.strip())]
    derived = {"names": parts} if len(parts) > 1 and all(parts) else {}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": level_0_rings(polygon, downsample)},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": info.name, **derived, "color": list(rgb(info.color))},
        },
    }
