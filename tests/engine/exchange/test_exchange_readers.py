"""What other programs' readers ask of an export."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from unisemalign.errors import DataError
from unisemalign.exchange import export_labels
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project


def make(folder: Path, shape_yx: tuple[int, int], own_um: float, um: float) -> Project:
    """Make a project with one slide that is labelled from edge to edge, in two classes."""
    project = Project.create(folder / "p", classes=["background", "=gland"], spacing_um=um)
    Image.new("RGB", shape_yx[::-1]).save(folder / "x.png")
    record = project.add_slide(folder / "x.png", spacing_um=own_um)
    labels = np.full(record.shape_yx, 2, np.uint8)
    labels[: record.shape_yx[0] // 4] = 1
    labels[-1, :3] = 0
    rect = Rect(0, 0, *record.shape_yx)
    project.write_labels("x", rect, labels, Origin.DRAWN, action="draw")
    return project


@pytest.mark.parametrize(
    ("shape_yx", "own_um", "um"),
    [
        ((201, 303), 0.25, 0.5),
        ((199, 151), 0.2271, 4.0),
        ((61, 47), 0.5, 0.3),
        ((60, 40), 0.5, 0.5),
    ],
)
def test_coco_has_the_size_of_the_slide_and_nothing_outside(
    shape_yx: tuple[int, int], own_um: float, um: float, tmp_path: Path
) -> None:
    with make(tmp_path, shape_yx, own_um, um) as project:
        (path,) = export_labels(project, tmp_path / "o", "coco")
        content = json.loads(path.read_text())
        assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
        assert {"description", "version", "year", "date_created"} <= set(content["info"])
        (image,) = content["images"]
        assert (image["height"], image["width"]) == shape_yx
        for each in content["annotations"]:
            left, top, w, h = each["bbox"]
            assert min(left, top) >= 0
            assert left + w <= shape_yx[1] + 1e-6
            assert top + h <= shape_yx[0] + 1e-6
            for ring in each["segmentation"]:
                assert len(ring) >= 6
                assert max(ring[::2]) <= shape_yx[1] + 1e-3
                assert max(ring[1::2]) <= shape_yx[0] + 1e-3
            assert 0 < each["area"] <= w * h + 1e-6
        (tmp_path / "x.png").unlink()  # the size is then what it must be
        (path,) = export_labels(project, tmp_path / "o2", "coco")
        found = json.loads(path.read_text())["images"][0]
        assert abs(found["height"] - shape_yx[0]) <= um / own_um
        assert abs(found["width"] - shape_yx[1]) <= um / own_um


def test_a_table_of_areas(tmp_path: Path) -> None:
    with make(tmp_path, (40, 60), 0.5, 0.5) as project:
        (path,) = export_labels(project, tmp_path / "o", "csv")
    assert path.name == "x.areas.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["background", "'=gland", "(no class)"]
    assert [int(row["area_px"]) for row in rows] == [600, 1797, 3]
    assert [float(row["area_um2"]) for row in rows] == [150.0, 449.25, 0.75]
    assert float(rows[0]["percent"]) + float(rows[1]["percent"]) == pytest.approx(100, abs=1e-3)
    assert rows[2]["percent"] == ""


def test_label_values_of_an_ome_zarr_agree(tmp_path: Path) -> None:
    with make(tmp_path, (40, 60), 0.5, 0.5) as project:
        (path,) = export_labels(project, tmp_path / "o", "ome-zarr")
    label = zarr.open_group(path, mode="r").attrs["ome"]["image-label"]
    values = [[each["label-value"] for each in label[key]] for key in ("colors", "properties")]
    assert values == [[0, 1, 255]] * 2


def test_ome_zarr_models_accepts_an_ome_zarr(tmp_path: Path) -> None:
    import ome_zarr_models as models

    with make(tmp_path, (40, 60), 0.5, 0.5) as project:
        (path,) = export_labels(project, tmp_path / "o", "ome-zarr")
    assert type(models.open_ome_zarr(zarr.open_group(path, mode="r"))).__name__ == "ImageLabel"


@pytest.mark.parametrize("fmt", ["png", "ome-tiff", "ome-zarr"])
def test_confidence_and_origin_can_be_exported(fmt: Any, tmp_path: Path) -> None:
    with make(tmp_path, (40, 60), 0.5, 0.5) as project:
        number = project.new_round(method="unisemalign", preset="recommended").number
        rect = Rect(0, 0, 20, 60)
        confidence = np.arange(1200, dtype=np.uint16).reshape(20, 60).astype(np.uint8)
        ones = np.ones(rect.shape, np.uint8)
        store = project.predictions(number, "x", create=True)
        store.write(rect, classes=ones, confidence=confidence, disagreement=ones * 3)
        meant = {
            "confidence": np.vstack([confidence, np.zeros((20, 60), np.uint8)]),
            "disagreement": np.vstack([ones * 3, np.zeros((20, 60), np.uint8)]),
            "origin": project.labels("x").read_origin(Rect(0, 0, 40, 60)),
        }
        for what, values in meant.items():
            (path,) = export_labels(project, tmp_path / "o", fmt, what=what)  # type: ignore[arg-type]
            assert path.name.startswith(f"x.{what}.")
            if fmt == "png":
                found = np.asarray(Image.open(path))
            elif fmt == "ome-tiff":
                found = tifffile.imread(path)
            else:
                found = np.asarray(zarr.open_group(path, mode="r")["0"])
                assert "image-label" not in zarr.open_group(path, mode="r").attrs["ome"]
            assert np.array_equal(found, values)
            note = json.loads(path.with_name(f"{path.name}.run.json").read_text())
            assert note["what"] == what
        with pytest.raises(DataError, match="go with png, ome-tiff, ome-zarr"):
            export_labels(project, tmp_path / "o", "geojson", what="origin")
