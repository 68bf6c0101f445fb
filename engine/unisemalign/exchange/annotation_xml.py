"""Outlines in the XML of Aperio ImageScope and of ASAP: level-0 pixels, ``X`` before ``Y``.

Both are read the way their own programs show them, and written so that these programs open them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

import numpy as np
import shapely
from shapely.geometry import Polygon

from unisemalign.errors import DataError
from unisemalign.exchange.geojson import level_0_rings
from unisemalign.exchange.json_stream import read_all
from unisemalign.exchange.outlines import Outline, Tally, checked_ring, import_outlines
from unisemalign.exchange.pixels import ExportPixels
from unisemalign.exchange.polygons import Ring, polygons_in, trace, without_holes
from unisemalign.project import ClassInfo, Project, Region, RegionState
from unisemalign.project.colors import rgb
from unisemalign.runtime import Events
from unisemalign.runtime.safe_xml import MOST_BYTES, UnsafeXmlError, parse_xml

_ELLIPSE_POINTS = 128
_NOT_AREAS = {"3": "arrows", "4": "rulers", "5": "points"}  # ImageScope's types of a region
_ASAP_AREAS = {"polygon", "rectangle", "spline"}
_ASAP_NO_GROUP = {"", "none"}


def import_xml(
    project: Project,
    slide_name: str,
    path: Path | str,
    *,
    state: RegionState = RegionState.ACCEPTED,
    mapping: Mapping[str, str] | None = None,
    events: Events | None = None,
) -> list[Region]:
    """Take ImageScope's or ASAP's outlines as labels of origin ``imported``.

    A class is the name of ImageScope's layer, or ASAP's group. Parameters, what is returned and
    what is raised: as :func:`import_geojson`.
    """
    path, tally = Path(path), Tally()
    return import_outlines(
        project,
        slide_name,
        path,
        read_xml(path, tally),
        tally,
        mapping=mapping,
        state=state,
        events=events,
    )


def read_xml(path: Path, tally: Tally) -> Iterator[Outline]:
    """Yield the areas of ImageScope's or ASAP's XML; what is left out is counted in ``tally``.

    Raises
    ------
    DataError
        If the file is neither.
    """
    try:
        root = parse_xml(read_all(path, MOST_BYTES))
    except UnsafeXmlError as error:
        raise DataError(
            f"'{path.name}' needs to be XML of ImageScope or ASAP: {error}. Export it again."
        ) from error
    if root.tag == "ASAP_Annotations":
        yield from _asap(root, tally)
    elif root.tag == "Annotations":
        for layer in root.iter("Annotation"):
            yield from _imagescope(layer, tally)
    else:
        raise DataError(
            f"'{path.name}' needs to be XML of ImageScope (Annotations) or ASAP "
            f"(ASAP_Annotations), found '{root.tag[:40]}'. Export it again."
        )


# ImageScope


def _imagescope(layer: Element, tally: Tally) -> Iterator[Outline]:
    """Yield a layer's regions; negative ones are cut out of the others."""
    name = _layer_name(layer)
    outer: list[tuple[str | None, Ring]] = []
    holes: list[Ring] = []
    for region in layer.iter("Region"):
        ring = _region_ring(region, tally)
        if ring is None:
            continue
        if region.get("NegativeROA") == "1":
            holes.append(ring)
        else:
            outer.append((name or (region.get("Text") or "").strip() or None, ring))
    areas = [shapely.make_valid(Polygon(hole)) for hole in holes]
    tree = shapely.STRtree(areas)
    for class_name, ring in outer:
        whole = shapely.make_valid(Polygon(ring))
        near = tree.query(whole, predicate="intersects").tolist() if areas else []
        if all(whole.contains(areas[index]) for index in near):
            yield Outline([ring, *(holes[index] for index in near)], class_name)
            continue
        rest = whole.difference(shapely.union_all([areas[index] for index in near]))
        for part in polygons_in(rest):
            rings = (part.exterior, *part.interiors)
            yield Outline([np.array(line.coords, np.float64)[:, :2] for line in rings], class_name)


def _layer_name(layer: Element) -> str | None:
    """Return what a layer is called: by its name, its description, or its colour."""
    said = [layer.get("Name") or ""]
    said += [attribute.get("Value") or "" for attribute in layer.findall("Attributes/Attribute")]
    return next((text.strip() for text in said if text.strip()), None)


def _region_ring(region: Element, tally: Tally) -> Ring | None:
    kind = region.get("Type", "0")
    if kind in _NOT_AREAS:
        tally.left_out[_NOT_AREAS[kind]] += 1
        return None
    points = _points(region.iter("Vertex"))
    if kind == "2" and len(points) == 2:
        return _ellipse(points)
    if kind == "1" and len(points) == 2:
        (x, y), (x1, y1) = points
        points = [(x, y), (x1, y), (x1, y1), (x, y1)]
    ring = checked_ring(points)
    if ring is None:
        tally.left_out["without a ring of at least three points of two numbers"] += 1
    return ring


def _ellipse(corners: list[tuple[float, float]]) -> Ring | None:
    """Return the ellipse in the rectangle between two corners."""
    (x, y), (x1, y1) = corners
    turns = np.linspace(0, 2 * math.pi, _ELLIPSE_POINTS, endpoint=False)
    across, down = abs(x1 - x) / 2, abs(y1 - y) / 2
    points = np.stack(
        [(x + x1) / 2 + across * np.cos(turns), (y + y1) / 2 + down * np.sin(turns)], axis=1
    )
    return checked_ring(points)


def _points(vertices: Iterator[Element]) -> list[tuple[float, float]]:
    """Return ``x, y`` of each vertex; NaN where one says none, so that its ring is left out."""
    return [(_number(each.get("X")), _number(each.get("Y"))) for each in vertices]


def _number(said: str | None) -> float:
    try:
        return float((said or "").replace(",", "."))  # as systems with a decimal comma write it
    except ValueError:
        return math.nan


# ASAP


def _asap(root: Element, tally: Tally) -> Iterator[Outline]:
    for annotation in root.iter("Annotation"):
        kind = (annotation.get("Type") or "").lower()
        if kind not in _ASAP_AREAS:
            tally.left_out[f"without an area ({kind[:40] or 'no type'})"] += 1
            continue
        coordinates = sorted(annotation.iter("Coordinate"), key=_order)
        ring = checked_ring(_points(iter(coordinates)))
        if ring is None:
            tally.left_out["without a ring of at least three points of two numbers"] += 1
            continue
        if kind == "spline":
            tally.not_kept["curves between the points"] += 1
        group = (annotation.get("PartOfGroup") or "").strip()
        yield Outline([ring], None if group.lower() in _ASAP_NO_GROUP else group)


def _order(coordinate: Element) -> float:
    order = _number(coordinate.get("Order"))
    return order if math.isfinite(order) else 0.0


# Writing


def write_imagescope(path: Path, pixels: ExportPixels, classes: tuple[ClassInfo, ...]) -> None:
    """Write one layer a class for ImageScope; holes are negative regions."""
    patches = _patches(pixels, len(classes))
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f'<Annotations MicronsPerPixel="{pixels.slide.spacing_um:g}">\n')
        for number, info in enumerate(classes, start=1):
            red, green, blue = rgb(info.color)
            color = red | green << 8 | blue << 16
            name = quoteattr(info.name)
            file.write(
                f'<Annotation Id="{number}" Name={name} ReadOnly="0" Visible="1" Selected="0" '
                f'Type="4" LineColor="{color}" Incremental="0">\n'
                f'<Attributes><Attribute Id="0" Name="Description" Value={name}/></Attributes>\n'
                f"<Regions>\n"
            )
            region = 0
            for polygon in patches[number - 1]:
                for index, ring in enumerate(level_0_rings(polygon, pixels.downsample)):
                    region += 1
                    _write_region(file, region, ring, negative=index > 0)
            file.write("</Regions>\n</Annotation>\n")
        file.write("</Annotations>\n")


def _write_region(file: TextIO, number: int, ring: list[list[float]], *, negative: bool) -> None:
    file.write(
        f'<Region Id="{number}" Type="0" Text="" NegativeROA="{int(negative)}" Selected="0" '
        f'DisplayId="{number}"><Vertices>'
    )
    file.writelines(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ring[:-1])
    file.write("</Vertices></Region>\n")


def write_asap(path: Path, pixels: ExportPixels, classes: tuple[ClassInfo, ...]) -> None:
    """Write one group a class for ASAP, which knows no holes: patches are cut through them."""
    patches = _patches(pixels, len(classes))
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0"?>\n<ASAP_Annotations>\n<Annotations>\n')
        number = 0
        for info, polygons in zip(classes, patches, strict=True):
            group, color = quoteattr(info.name), quoteattr(info.color)
            head = f'Type="Polygon" PartOfGroup={group} Color={color}'
            for polygon in (part for whole in polygons for part in without_holes(whole)):
                file.write(f'<Annotation Name="Annotation {number}" {head}><Coordinates>')
                ring = level_0_rings(polygon, pixels.downsample)[0][:-1]
                file.writelines(
                    f'<Coordinate Order="{order}" X="{x}" Y="{y}"/>'
                    for order, (x, y) in enumerate(ring)
                )
                file.write("</Coordinates></Annotation>\n")
                number += 1
        file.write("</Annotations>\n<AnnotationGroups>\n")
        for info in classes:
            file.write(
                f'<Group Name={quoteattr(info.name)} PartOfGroup="None" '
                f"Color={quoteattr(info.color)}><Attributes/></Group>\n"
            )
        file.write("</AnnotationGroups>\n</ASAP_Annotations>\n")


def _patches(pixels: ExportPixels, n_classes: int) -> list[list[Polygon]]:
    found: list[list[Polygon]] = [[] for _ in range(n_classes)]
    for value, polygon in trace(pixels.read, pixels.shape_yx):
        found[value - 1].append(polygon)
    return found
