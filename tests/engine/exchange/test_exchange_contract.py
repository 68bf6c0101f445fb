"""What every export format holds to: a result, its note, and the very labels again."""

import json
from typing import get_args

import numpy as np
import pytest
import zarr
from PIL import Image, ImageDraw

from unisemalign.exchange import Format, export_labels, import_geojson, import_mask, import_xml
from unisemalign.geometry import Rect
from unisemalign.project import Origin

WHOLE = Rect(0, 0, 300, 620)


def _image(project, path):
    import_mask(project, "a", path)
    return project.labels("a").read(WHOLE)


def _outlines(project, path):
    import_geojson(project, "a", path)
    return project.labels("a").read(WHOLE)


def _xml(project, path):
    import_xml(project, "a", path)
    return project.labels("a").read(WHOLE)


def _levels(project, path):
    values = np.asarray(zarr.open_group(path, mode="r")["0"])
    return values.reshape(values.shape[-2:]) + np.uint8(1)  # 255, ignore, becomes 0


def _coco(project, path):
    """Fill each polygon; blocks of whole pixels come back exactly."""
    about = json.loads(path.read_text(encoding="utf-8"))
    canvas = Image.new("L", (WHOLE.w, WHOLE.h))
    values = {each["id"]: index for index, each in enumerate(about["categories"], start=1)}
    (image,) = about["images"]
    scale = WHOLE.w / image["width"]
    for each in about["annotations"]:
        for ring in each["segmentation"]:
            xy = np.array(ring).reshape(-1, 2) * scale
            corners = [*map(tuple, (xy.min(0), xy.max(0) - 1))]
            ImageDraw.Draw(canvas).rectangle(corners, fill=values[each["category_id"]])
    return np.asarray(canvas)


READ = {
    "png": _image,
    "ome-tiff": _image,
    "geojson": _outlines,
    "ome-zarr": _levels,
    "coco": _coco,
    "imagescope": _xml,
    "asap": _xml,
}


LABELS_AGAIN = set(get_args(Format)) - {"csv"}
"""A table of areas holds no labels: its figures have tests of their own."""


def test_every_format_is_held_to_the_contract():
    assert set(READ) == LABELS_AGAIN


@pytest.mark.parametrize("fmt", sorted(LABELS_AGAIN))
def test_contract(project, tmp_path, fmt):
    labels = np.zeros(WHOLE.shape, np.uint8)
    for value, rect in enumerate([Rect(0, 0, 60, 90), Rect(100, 200, 50, 41), Rect(200, 8, 7, 7)]):
        labels[rect.slices] = value + 1
    project.write_labels("a", WHOLE, labels, Origin.DRAWN, action="draw")
    paths = export_labels(project, tmp_path / "out", fmt, source="labels")
    note = json.loads(paths[0].with_name(paths[0].name + ".run.json").read_text(encoding="utf-8"))
    assert len(paths) == 1
    assert note["version"]
    project.write_labels("a", WHOLE, np.zeros_like(labels), Origin.NONE, action="clear")
    found = READ[fmt](project, paths[0])
    assert np.array_equal(found, labels)
