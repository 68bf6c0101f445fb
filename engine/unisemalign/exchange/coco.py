"""COCO: polygons, boxes and areas in level-0 pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shapely.geometry import Polygon

from unisemalign.exchange.geojson import level_0_rings
from unisemalign.exchange.pixels import ExportPixels
from unisemalign.exchange.polygons import trace, without_holes
from unisemalign.project import ClassInfo


def write_coco(path: Path, slides: Sequence[ExportPixels], classes: tuple[ClassInfo, ...]) -> None:
    """Write every patch of a class on every slide as one annotation.

    COCO's polygons know no holes: a patch that has some is cut through them into parts, all of
    them in its ``segmentation``. ``area`` and ``bbox`` are those of the patch.
    """
    images = []
    annotations: list[dict[str, Any]] = []
    for image_id, pixels in enumerate(slides, start=1):
        height, width = (max(1, round(side * pixels.downsample)) for side in pixels.shape_yx)
        images.append(
            {
                "id": image_id,
                "file_name": pixels.slide.path.name,
                "height": height,
                "width": width,
            }
        )
        for value, polygon in trace(pixels.read, pixels.shape_yx):
            known = {"id": len(annotations) + 1, "image_id": image_id, "category_id": value}
            annotations.append(known | _measures(polygon, pixels.downsample))
    categories = [{"id": index, "name": each.name} for index, each in enumerate(classes, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content), encoding="utf-8")


def _measures(polygon: Polygon, downsample: float) -> dict[str, Any]:
    left, top, right, bottom = (value * downsample for value in polygon.bounds)
    return {
        "segmentation": [
            # The last point repeats the first, which COCO leaves out.
            [number for point in level_0_rings(part, downsample)[0][:-1] for number in point]
            for part in without_holes(polygon)
        ],
        "area": polygon.area * downsample**2,
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }
