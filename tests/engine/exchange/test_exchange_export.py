"""Results out, and back in."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil

import numpy as np
import pytest
import shapely
import tifffile
import zarr
from PIL import Image
from shapely.geometry import Polygon, shape
from typer.testing import CliRunner

from unisemalign.cli.app import app
from unisemalign.errors import DataError, ProjectError
from unisemalign.exchange import (
    area_by_class,
    export_labels,
    export_tissue,
    exporting,
    import_geojson,
    import_mask,
    plan_export,
    planned_sentence,
)
from unisemalign.geometry import Rect
from unisemalign.project import Cleaning, Origin, Project
from unisemalign.protocol import Message
from unisemalign.runtime.results import content_sha256

WHOLE = Rect(0, 0, 300, 620)


def _predict(project, value: int, rect: Rect = WHOLE) -> None:
    store = project.predictions(1, "a", create=True)
    pixels = np.full(rect.shape, value, np.uint8)
    store.write(rect, classes=pixels, confidence=pixels, disagreement=np.zeros_like(pixels))


def _clear(project) -> None:
    project.write_labels("a", WHOLE, np.zeros(WHOLE.shape, np.uint8), Origin.NONE, action="clear")


@pytest.mark.parametrize("fmt", ["png", "ome-tiff", "geojson"])
def test_what_is_exported_comes_back_exactly(labelled, tmp_path, fmt):
    project, labels = labelled
    (path,) = export_labels(project, tmp_path / "out", fmt, source="labels")
    _clear(project)
    if fmt == "geojson":
        import_geojson(project, "a", path)
    else:
        import_mask(project, "a", path)
    assert np.array_equal(project.labels("a").read(WHOLE), labels)


def test_a_png_is_plain_grey(labelled, tmp_path):
    project, labels = labelled
    (path,) = export_labels(project, tmp_path / "out", "png")
    with Image.open(path) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), labels - np.uint8(1))


def test_an_index_mask_of_0_and_255_is_not_taken_for_black_and_white(tmp_path):
    from unisemalign.project import Project

    with Project.create(tmp_path / "two", classes=["background", "gland"]) as project:
        Image.new("RGB", (40, 30)).save(tmp_path / "b.png")
        project.add_slide(tmp_path / "b.png", spacing_um=0.5)
        rect = Rect(5, 5, 10, 10)
        ones = np.ones(rect.shape, np.uint8)
        project.write_labels("b", rect, ones, Origin.DRAWN, action="draw")
        for fmt in ("png", "ome-tiff"):
            (path,) = export_labels(project, tmp_path / "out", fmt)
            assert import_mask(project, "b", path).rect == rect


def test_geojson_is_what_qupath_reads(labelled, tmp_path):
    project, labels = labelled
    (path,) = export_labels(project, tmp_path / "out", "geojson")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) > 100
    for feature in content["features"]:
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["classification"]["name"] in project.info.class_names
        color = feature["properties"]["classification"]["color"]
        assert all(isinstance(channel, int) for channel in color)
        polygon = shape(feature["geometry"])
        assert polygon.is_valid
        assert polygon.exterior.is_ccw
        left, top, right, bottom = polygon.bounds
        assert (left >= 0, top >= 0, right <= 1240, bottom <= 600) == (True,) * 4
    by_class = sum(shape(f["geometry"]).area for f in content["features"])
    assert by_class == pytest.approx(4 * (labels > 0).sum(), rel=0.05)


def test_ome_tiff_has_levels_and_a_pixel_size(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("unisemalign.exchange.ome_zarr.COARSEST_PX", 200)
    project, labels = labelled
    (path,) = export_labels(project, tmp_path / "out", "ome-tiff")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert [level.shape for level in tiff.series[0].levels] == [
            (300, 620),
            (150, 310),
            (75, 155),
        ]
        assert np.array_equal(tiff.series[0].asarray(), labels - np.uint8(1))
        assert tiff.pages.first.is_tiled
        assert 'PhysicalSizeX="0.5"' in tiff.ome_metadata
        assert 'PhysicalSizeYUnit="µm"' in tiff.ome_metadata
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "a.ome.tif",
        "a.ome.tif.run.json",
    ]


def test_ome_zarr_says_what_it_is(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("unisemalign.exchange.ome_zarr.COARSEST_PX", 200)
    project, labels = labelled
    for _ in range(2):  # the second replaces the first
        (path,) = export_labels(project, tmp_path / "out", "ome-zarr")
    group = zarr.open_group(path, mode="r")
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["y", "x"]
    assert [each["path"] for each in multiscale["datasets"]] == ["0", "1", "2"]
    scale, translation = multiscale["datasets"][1]["coordinateTransformations"]
    assert (scale["scale"], translation["translation"]) == ([1.0, 1.0], [0.25, 0.25])
    assert np.array_equal(group["0"][:], labels - np.uint8(1))
    assert set(np.unique(group["2"][:])) <= {0, 1, 2, 255}
    colors = {each["label-value"]: each["rgba"] for each in ome["image-label"]["colors"]}
    assert sorted(colors) == [0, 1, 2, 255]
    assert colors[255][3] == 0
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "a.ome.zarr",
        "a.ome.zarr.run.json",
    ]


def test_coco(labelled, tmp_path):
    project, labels = labelled
    (path,) = export_labels(project, tmp_path / "out", "coco")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["images"] == [{"id": 1, "file_name": "a.png", "height": 600, "width": 1240}]
    assert [each["name"] for each in content["categories"]] == list(project.info.class_names)
    ids = [each["id"] for each in content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    for each in content["annotations"]:
        parts = [Polygon(np.reshape(ring, (-1, 2))) for ring in each["segmentation"]]
        assert sum(part.area for part in parts) == pytest.approx(each["area"], rel=1e-3)
        left, top, right, bottom = shapely.union_all(parts).bounds
        assert each["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=1e-3)
    total = sum(each["area"] for each in content["annotations"])
    assert total == pytest.approx(4 * (labels > 0).sum(), rel=0.05)


def test_sources(labelled, tmp_path):
    project, labels = labelled
    project.new_round(method="m", preset="p")
    half = Rect(0, 0, 300, 310)
    _predict(project, 2, half)
    wanted = {
        "labels": labels,
        "prediction": np.where(np.arange(620) < 310, 2, 0) * np.ones((300, 1), np.uint8),
    }
    wanted["best"] = np.where(labels > 0, labels, wanted["prediction"])
    for source, values in wanted.items():
        (path,) = export_labels(project, tmp_path / source, "png", source=source)
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), values.astype(np.uint8) - np.uint8(1))


def test_the_newest_round_that_saw_the_slide_is_taken(project, tmp_path):
    first = project.new_round(method="m", preset="p")
    _predict(project, 2)
    project.new_round(method="m", preset="p")
    (path,) = export_labels(project, tmp_path / "out", "png")
    assert json.loads(path.with_name(f"{path.name}.run.json").read_text())["round"] == first.number
    with pytest.raises(DataError, match="found 1 slide"):
        export_labels(project, tmp_path / "out", "png", round=2)


def test_the_note_beside_a_result(project, tmp_path):
    made = project.new_round(method="unisemalign", preset="recommended")
    (made.folder / "best.safetensors").write_bytes(b"weights")
    (made.folder / "run.toml").write_text("[training]\nsteps = 3\n")
    _predict(project, 3)
    for fmt in ("png", "coco", "ome-zarr"):
        (path,) = export_labels(project, tmp_path / "out", fmt)
        note = json.loads(path.with_name(f"{path.name}.run.json").read_text(encoding="utf-8"))
        assert note["model_sha256"] == hashlib.sha256(b"weights").hexdigest()
        assert note["settings"] == {"training": {"steps": 3}}
        assert (note["round"], note["source"], note["spacing_um"]) == (1, "best", 0.5)
        assert note["version"]
        assert note["slides"][0]["name"] == "a"
        assert note["classes"][1] == {"value": 1, "name": "gland", "color": "#e69f00"}


def test_a_note_without_a_round(labelled, tmp_path):
    (path,) = export_labels(labelled[0], tmp_path / "out", "png")
    note = json.loads(path.with_name(f"{path.name}.run.json").read_text(encoding="utf-8"))
    assert (note["round"], note["model_sha256"], note["settings"]) == (None, None, None)


def test_nothing_to_export(project, tmp_path):
    with pytest.raises(DataError, match="found 1 slide"):
        export_labels(project, tmp_path / "out", "png")
    with pytest.raises(DataError, match="needs labels or a prediction, found none"):
        export_labels(project, tmp_path / "out", "png", slides=["a"])
    with pytest.raises(DataError, match="found 1 slide"):
        export_labels(project, tmp_path / "out", "png", source="prediction")
    with pytest.raises(ProjectError, match="no slide 'x'"):
        export_labels(project, tmp_path / "out", "png", slides=["x"])
    assert not (tmp_path / "out").exists()


def test_wrong_wishes(labelled, tmp_path):
    project, _ = labelled
    with pytest.raises(DataError, match="found 'svg'"):
        export_labels(project, tmp_path / "out", "svg")
    with pytest.raises(DataError, match="found 'guess'"):
        export_labels(project, tmp_path / "out", "png", source="guess")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="need a folder"):
        export_labels(project, tmp_path / "file", "png")


@pytest.mark.parametrize(("fmt", "writer"), [("png", "write_png"), ("ome-zarr", "write_ome_zarr")])
def test_a_full_disk_leaves_the_earlier_result(labelled, tmp_path, monkeypatch, fmt, writer):
    project, labels = labelled
    (path,) = export_labels(project, tmp_path / "out", fmt)
    before = sorted(each.name for each in path.parent.iterdir())

    def full(target, *_):
        target.write_bytes(b"half") if target.exists() else target.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, writer, full)
    with pytest.raises(ProjectError, match="is full"):
        export_labels(project, tmp_path / "out", fmt)
    assert sorted(each.name for each in path.parent.iterdir()) == before
    pixels = zarr.open_array(path / "0", mode="r")[:] if fmt == "ome-zarr" else Image.open(path)
    assert np.array_equal(np.asarray(pixels), labels - np.uint8(1))


def test_areas(project):
    project.new_round(method="m", preset="p")
    with pytest.raises(ProjectError, match="no prediction"):
        area_by_class(project, "a", 1)
    project.predictions(1, "a", create=True)
    assert area_by_class(project, "a", 1) == {"background": 0, "gland": 0, "stroma": 0}
    _predict(project, 2, Rect(0, 0, 300, 300))
    _predict(project, 1, Rect(0, 300, 300, 100))
    assert area_by_class(project, "a", 1) == {"background": 0.25, "gland": 0.75, "stroma": 0}


def test_progress_is_told(labelled, tmp_path):
    class Recorder:
        def __init__(self):
            self.events = []

        def emit(self, event):
            self.events.append(event)

    recorder = Recorder()
    export_labels(labelled[0], tmp_path / "out", "png", events=recorder)
    assert [event.event for event in recorder.events] == ["progress"]
    assert recorder.events[0].total == 1
    assert len(list((tmp_path / "out").glob("*.run.json"))) == 1


def _files(folder):
    """What lies there, but for what reading a project changes in it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        path: path.read_bytes()
        for path in found
        if "project.sqlite" not in path.name and "cache" not in path.parts
    }


def test_no_export_writes_over_a_slide_or_a_mask(labelled, tmp_path):
    project, _ = labelled
    (tmp_path / "masks").mkdir()
    Image.new("L", (1240, 600)).save(tmp_path / "masks" / "a.png")
    note = {"result": "a.png", "sha256": content_sha256(tmp_path / "a.png")}
    (tmp_path / "a.png.run.json").write_text(json.dumps(note))
    before = _files(tmp_path)
    with pytest.raises(DataError, match="is slide 'a'"):  # though a note covers it
        export_labels(project, tmp_path, "png")
    with pytest.raises(DataError, match="is slide 'a'"):
        export_tissue(project, "a", tmp_path / "a.png")
    with pytest.raises(DataError, match="did not make"):
        export_labels(project, tmp_path / "masks", "png")
    with pytest.raises(DataError, match="did not make"):
        export_tissue(project, "a", tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match="in which the project keeps its data"):
        export_labels(project, project.root / "labels", "png")
    assert _files(tmp_path) == before


def test_no_export_writes_over_a_zarr_slide(labelled, tmp_path):
    project, _ = labelled
    export_labels(project, tmp_path / "out", "ome-zarr")  # any folder of that name
    slide = tmp_path / "b.ome.zarr"
    group = zarr.open_group(slide, mode="w", zarr_format=3)
    group.create_array("0", shape=(40, 50, 3), dtype="uint8", dimension_names=("y", "x", "c"))
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": n, "type": "space"} for n in "yx"] + [{"name": "c"}],
                "datasets": [{"path": "0"}],
            }
        ],
    }
    project.add_slide(slide, spacing_um=0.5)
    rect = Rect(0, 0, 10, 10)
    project.write_labels("b", rect, np.ones(rect.shape, np.uint8), Origin.DRAWN, action="draw")
    before = _files(slide)
    with pytest.raises(DataError, match="is slide 'b'"):
        export_labels(project, tmp_path, "ome-zarr")
    with pytest.raises(DataError, match="inside slide 'b'"):
        export_labels(project, slide / "0", "png")
    assert _files(slide) == before
    assert not (tmp_path / "a.ome.zarr").exists()  # nothing is written before all may be


def test_a_tissue_mask_a_person_changed_is_not_written_over(project, tmp_path):
    path = tmp_path / "tissue.png"
    for _ in range(2):
        export_tissue(project, "a", path)
    assert json.loads((tmp_path / "tissue.png.run.json").read_text())["tissue_of"] == "a"
    Image.new("L", (4, 4)).save(path)
    with pytest.raises(DataError, match="changed since"):
        export_tissue(project, "a", path)


def test_a_slide_without_a_prediction_is_told_and_the_others_exported(labelled, tmp_path):
    project, _ = labelled
    Image.new("RGB", (1240, 600)).save(tmp_path / "b.png")
    project.add_slide(tmp_path / "b.png", spacing_um=0.25)
    number = project.new_round(method="unisemalign", preset="recommended").number
    rect = Rect(0, 0, 10, 10)
    ones = np.ones((10, 10), np.uint8)
    store = project.predictions(number, "a", create=True)
    store.write(rect, classes=ones, confidence=ones, disagreement=ones)
    events = Told()
    for more in ({}, {"round": number}):
        (path,) = export_labels(
            project, tmp_path / "o", "png", source="prediction", events=events, **more
        )
        assert path.name == "a.png"
    assert events.said == ["Slide 'b' has nothing to export yet."] * 2
    with pytest.raises(ProjectError, match="round 7"):
        export_labels(project, tmp_path / "o", "png", source="prediction", round=7)


def test_specks_of_the_prediction_are_dropped_and_a_persons_are_not(project, tmp_path):
    number = project.new_round(method="unisemalign", preset="recommended").number
    classes = np.ones(WHOLE.shape, np.uint8)
    classes[50:100, 60:160] = 2
    classes[60:64, 70:74] = 1
    classes[200:204, 300:304] = 3
    same = np.ones(WHOLE.shape, np.uint8)
    store = project.predictions(number, "a", create=True)
    store.write(WHOLE, classes=classes, confidence=same, disagreement=same)
    drawn = Rect(10, 10, 3, 3)
    project.write_labels("a", drawn, np.full((3, 3), 3, np.uint8), Origin.DRAWN, action="draw")
    cleaning = Cleaning(min_object_px=50, min_hole_px=50)
    (path,) = export_labels(project, tmp_path / "o", "png", cleaning=cleaning)
    with Image.open(path) as image:
        found = np.asarray(image) + np.uint8(1)
    meant = classes.copy()
    meant[60:64, 70:74], meant[200:204, 300:304], meant[drawn.slices] = 2, 1, 3
    assert np.array_equal(found, meant)
    note = json.loads(path.with_name("a.png.run.json").read_text())
    assert note["cleaning"] == {"min_object_px": 50, "min_hole_px": 50, "smooth_px": 0}


class Told:
    """Keeps the sentences of messages."""

    def __init__(self):
        self.said = []

    def emit(self, event):
        self.said += [event.text] if isinstance(event, Message) else []


def test_what_has_nothing_to_export_is_left_out_and_told(project, tmp_path):
    Image.new("RGB", (90, 60)).save(tmp_path / "b.png")
    project.add_slide(tmp_path / "b.png", spacing_um=0.5)
    project.new_round(method="m", preset="p")
    _predict(project, 2)
    plan = plan_export(project, "png", source="prediction")
    assert [each.slide for each in plan.slides] == ["a"]
    assert [each.slide for each in plan.left_out] == ["b"]
    assert plan.left_out[0].why == "Slide 'b' has nothing to export yet."
    (path,) = export_labels(project, tmp_path / "out", "png", source="prediction", plan=plan)
    assert path.name == "a.png"
    with pytest.raises(DataError, match="slide 'b' needs a prediction"):
        plan_export(project, "png", source="prediction", slides=["a", "b"])


def test_a_plan_says_how_much_is_covered(project, tmp_path):
    assert project.info.spacing_um == 0.5
    project.new_round(method="m", preset="p")
    _predict(project, 2, Rect(0, 0, 300, 310))
    rect = Rect(0, 0, 300, 155)
    project.write_labels("a", rect, np.ones(rect.shape, np.uint8), Origin.DRAWN, action="draw")
    (tmp_path / "a.png").rename(tmp_path / "away.png")  # and it needs no slide
    (planned,) = plan_export(project, "coco").slides
    assert (planned.result, planned.round, planned.of) == ("annotations.coco.json", 1, "slide")
    assert planned.labelled == pytest.approx(0.25, abs=0.03)
    assert planned.covered == pytest.approx(0.5, abs=0.03)
    assert "round 1" in planned_sentence(planned)
    (alone,) = plan_export(project, "png", source="labels").slides
    assert (alone.round, alone.covered) == (None, planned.labelled)
    assert not (tmp_path / "out").exists()


def test_labels_that_were_lost_are_not_left_out(labelled, tmp_path):
    project, labels = labelled
    shutil.rmtree(project.layout.labels("a") / "labels" / "c")
    for source in ("labels", "best"):
        with pytest.raises(ProjectError, match="lost labels"):
            export_labels(project, tmp_path / "out", "png", source=source)
    project.recover_labels("a")
    (path,) = export_labels(project, tmp_path / "out", "png")
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), labels - np.uint8(1))


def test_the_command_leaves_specks_out_unless_it_is_told_otherwise(tmp_path):
    with Project.create(tmp_path / "p", classes=["a", "b"], spacing_um=0.5) as project:
        Image.new("RGB", (128, 96)).save(tmp_path / "x.png")
        project.add_slide(tmp_path / "x.png", spacing_um=0.5)
        number = project.new_round(method="m", preset="p").number
        classes = np.ones((96, 128), np.uint8)
        classes[10:19, 10:20] = 2  # 90 px, 22.5 µm²
        classes[50:61, 50:60] = 2  # 110 px, 27.5 µm²
        planes = {name: np.zeros((96, 128), np.uint8) for name in ("confidence", "disagreement")}
        store = project.predictions(number, "x", create=True)
        store.write(Rect(0, 0, 96, 128), classes=classes, **planes)
        project.set_round(number, state="done")

    def written(name, *flags):
        told = CliRunner().invoke(
            app, ["export", str(tmp_path / "p"), "--out", str(tmp_path / name), *flags]
        )
        assert told.exit_code == 0, told.output
        return np.asarray(Image.open(next((tmp_path / name).glob("*.png"))))

    assert (written("usual") == 1).sum() == 110
    assert (written("all", "--min-object-px", "0") == 1).sum() == 200
    assert (written("none", "--min-object-px", "111") == 1).sum() == 0
