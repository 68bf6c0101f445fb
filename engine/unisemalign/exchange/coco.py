"""COCO: polygons, boxes and areas in level-0 pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import Polygon, box

from unisemalign.exchange.geojson import level_0_rings
from unisemalign.exchange.pixels import ExportPixels
from unisemalign.exchange.polygons import polygons_in, trace, without_holes
from unisemalign.project import ClassInfo


def write_coco(path: Path, slides: Sequence[ExportPixels], classes: tuple[ClassInfo, ...]) -> None:
    """Write every patch of a class on every slide as one annotation.

    COCO's polygons know no holes: a patch that has some is cut through them into parts, all of
    them in its ``segmentation``. ``area`` and ``bbox`` are those of the patch, inside the slide.
    """
    images = []
    annotations: list[dict[str, Any]] = []
    for image_id, pixels in enumerate(slides, start=1):
        height, width = pixels.level_0_yx
        images.append(
            {
                "id": image_id,
                "file_name": pixels.slide.path.name,
                "height": height,
                "width": width,
            }
        )
        # Working pixels are rounded up: the last ones may hang over the slide's edge.
        slide = box(0, 0, width / pixels.downsample, height / pixels.downsample)
        for value, whole in trace(pixels.read, pixels.shape_yx):
            inside = polygons_in(shapely.intersection(whole, slide))
            if inside:
                known = {"id": len(annotations) + 1, "image_id": image_id, "category_id": value}
                annotations.append(known | _measures(inside, pixels.downsample))
    categories = [
        {"id": index, "name": each.name, "supercategory": ""}
        for index, each in enumerate(classes, start=1)
    ]
    content = {
        "info": _info(),
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def _info() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "description": "Outlines in pixels of each slide's finest level",
        "version": version("napari-unisemalign"),
        "year": now.year,
        "contributor": "napari-unisemalign",
        "url": "",
        "date_created": now.isoformat(timespec="seconds"),
    }


def _measures(parts: list[Polygon], downsample: float) -> dict[str, Any]:
    left, top, right, bottom = (float(value) * downsample for value in shapely.total_bounds(parts))
    return {
        "segmentation": [
            # The last point repeats the first, which COCO leaves out.
            [number for point in level_0_rings(piece, downsample)[0][:-1] for number in point]
            for part in parts
            for piece in without_holes(part)
        ],
        "area": sum(part.area for part in parts) * downsample**2,
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }
