"""Folders as people have them: what is added, what is told, what a project keeps of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image, ImageCms
from typer.testing import CliRunner

from unisemalign.cli.adding import add_slides
from unisemalign.cli.app import app
from unisemalign.cli.importing import import_files
from unisemalign.errors import DataError, SettingsError, SlideError, SpacingError
from unisemalign.exchange import UnknownClassesError, export_labels
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, Split
from unisemalign.protocol import Event, Message
from unisemalign.runtime import SilentEvents
from unisemalign.slides import Opening

SHAPE = (60, 80)
PIXELS = np.full((*SHAPE, 3), (200, 120, 180), np.uint8)


class Told(SilentEvents):
    """Keeps the sentences of messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, Message):
            self.said.append(event.text)


@pytest.fixture
def project(tmp_path: Path) -> Any:
    with Project.create(tmp_path / "p", classes=["background", "gland"]) as made:
        yield made


def add(project: Project, *paths: Path, masks: Path | None = None, **more: Any) -> list[str]:
    """Add and return what was said."""
    events = Told()
    spacing_um = more.pop("spacing_um", 0.5)
    add_slides(project, list(paths), masks, Split.TRAIN, spacing_um, events, **more)
    return events.said


def save(path: Path, pixels: np.ndarray = PIXELS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG" if path.suffix.lower() == ".png" else None)
    return path


def save_zarr(path: Path) -> Path:
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("0", data=np.ascontiguousarray(PIXELS.transpose(2, 0, 1)))
    axes = [{"name": "c"}] + [{"name": axis, "unit": "micrometer"} for axis in "yx"]
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets}]
    return path


def test_a_folder_with_what_systems_leave_in_it(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    for name in ("a.png", "B.PNG", "c.Jpeg"):
        save(folder / name)
    for name in ("._a.png", ".hidden.tif", "Thumbs.db", "notes.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(400))
    (folder / "sub").mkdir()
    for name in ("d.zarr", "E.OME.ZARR", "without"):
        save_zarr(folder / name)
    add(project, folder)
    assert sorted(each.name for each in project.slides()) == ["B", "E", "a", "c", "d", "without"]


@pytest.mark.parametrize("name", ["UP.ZARR", "plain", "x.ome.zarr"])
def test_a_zarr_by_name(name: str, project: Project, tmp_path: Path) -> None:
    add(project, save_zarr(tmp_path / name))
    assert project.slides()[0].spacing_um == 0.5


def test_a_folder_without_slides_is_told(project: Project, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".a.png").touch()
    with pytest.raises(DataError, match="at least one slide"):
        add(project, tmp_path / "s")


def test_a_pipe_among_slides_adds_nothing(project: Project, tmp_path: Path) -> None:
    save(tmp_path / "s" / "a.png")
    for name in ("b.png", "c.dcm"):
        os.mkfifo(tmp_path / "s" / name)
    with pytest.raises(SlideError, match="a pipe"):
        add(project, tmp_path / "s")
    assert project.slides() == []


@pytest.mark.parametrize("fmt", ["png", "ome-tiff", "ome-zarr", "geojson", "imagescope", "asap"])
@pytest.mark.parametrize("name", ["case1.ome.tif", "CASE2.OME.TIFF", "a b.tif"])
def test_own_exports_are_found_again(name: str, fmt: Any, project: Project, tmp_path: Path) -> None:
    path = tmp_path / "s" / name
    path.parent.mkdir()
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(16, 16), metadata=None)
    add(project, path)
    (record,) = project.slides()
    labels = np.ones(SHAPE, np.uint8)
    labels[10:20, 10:30] = 2
    project.write_labels(record.name, Rect(0, 0, *SHAPE), labels, Origin.DRAWN, action="draw")
    export_labels(project, tmp_path / "o", fmt)
    with Project.create(tmp_path / "q", classes=["background", "gland"]) as other:
        add(other, path, masks=tmp_path / "o")
        assert np.array_equal(other.labels(record.name).read(Rect(0, 0, *SHAPE)), labels)


def test_masks_are_found_by_name_in_any_case_and_never_the_slide(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    mask = np.zeros(SHAPE, np.uint8)
    for name in ("a.jpg", "b.jpg", "c.png"):
        save(folder / name)
    for name in ("A.TIF", "b.PNG"):
        tifffile.imwrite(folder / name, mask) if "TIF" in name else save(folder / name, mask)
    add(project, folder / "a.jpg", folder / "b.jpg", folder / "c.png", masks=folder)
    labelled = [
        each.name for each in project.slides() if project.labels(each.name).labelled_rects()
    ]
    assert labelled == ["a", "b"]


def test_a_given_pixel_size_is_told_slide_by_slide(project: Project, tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    says = tmp_path / "s" / "says.ome.tif"
    silent = save(tmp_path / "s" / "silent.png")
    tifffile.imwrite(says, PIXELS, photometric="rgb", metadata={"axes": "YXS", **sizes})
    with pytest.raises(SpacingError, match=r"'silent\.png'"):
        add(project, says.parent, spacing_um=None)
    said = add(project, says.parent)
    assert [each.spacing_um for each in project.slides()] == [0.25, 0.5]
    assert any(text.startswith("'says.ome.tif': It states 0.25 µm a pixel") for text in said)
    assert any(text.startswith("'silent.png': It does not state its pixel size") for text in said)
    assert project.slide("silent").remarks[0].startswith("It does not state")
    with Project.create(tmp_path / "q", classes=["a", "b"]) as other:
        assert other.add_slide(says, spacing_um=0.5).spacing_um == 0.25
        assert other.add_slide(silent, spacing_um=0.5).spacing_um == 0.5


def test_a_chosen_image_and_a_left_out_profile_are_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for image in (PIXELS, np.tile(PIXELS // 2, (2, 2, 1))):
            file.write(image, photometric="rgb", metadata={"axes": "YXS"}, iccprofile=profile)
    with Project.create(tmp_path / "p", classes=["a", "b"]) as project:
        said = add(project, path, series=0, profile=False)
        assert "It holds 2 images" in said[0]
    with Project.open(tmp_path / "p") as project:
        record = project.slide("a")
        assert record.shape_yx == SHAPE
        assert record.opening == Opening(series=0, profile=False)
        assert "It holds 2 images" in record.remarks[0]
        spaced = project.open_slide("a")
        assert (spaced.read(Rect(0, 0, *SHAPE)) == PIXELS).all()
        spaced.slide.close()
        project.remove_slide("a")
        again = project.add_slide(path, spacing_um=0.5)
        assert again.shape_yx == (120, 160)
        assert again.opening == Opening()


def test_slides_added_before_openings_were_kept(project: Project, tmp_path: Path) -> None:
    add(project, save(tmp_path / "a.png"))
    with project._database.transaction() as connection:
        connection.execute("UPDATE slide_openings SET remarks = '{'")
    assert project.slide("a").remarks == ()
    with project._database.transaction() as connection:
        connection.execute("DROP TABLE slide_openings")
    assert project.slide("a").opening == Opening(profile=False)
    project.open_slide("a").slide.close()
    project.remove_slide("a")
    assert project.slides() == []


def test_masks_of_a_folder_are_read_alike(project: Project, tmp_path: Path) -> None:
    rim, only_rim = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    rim[50:], only_rim[50:], rim[10:20] = 255, 255, 1
    for name, mask in (("a", rim), ("b", only_rim)):
        save(tmp_path / "s" / f"{name}.png")
        save(tmp_path / "m" / f"{name}.png", mask)
    said = add(project, tmp_path / "s", masks=tmp_path / "m")
    assert any("255 is read as ignored in all of them" in text for text in said)
    assert set(np.unique(project.labels("b").read(Rect(0, 0, *SHAPE)))) == {0, 1}


def outlines(path: Path, name: str) -> Path:
    ring = [[0, 0], [40, 0], [40, 40], [0, 40]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    one = {"type": "Feature", "geometry": geometry, "properties": {"classification": name}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([one]))
    return path


def test_outlines_are_added_with_slides_and_mapped(project: Project, tmp_path: Path) -> None:
    slide = save(tmp_path / "s" / "a.png")
    outlines(tmp_path / "m" / "A.GEOJSON", "Tumor")
    with pytest.raises(UnknownClassesError, match='--map "Tumor=gland"'):
        add(project, slide, masks=tmp_path / "m")
    assert project.slides() == []
    add(project, slide, masks=tmp_path / "m", mapping={"Tumor": "gland"})
    assert np.count_nonzero(project.labels("a").read(Rect(0, 0, *SHAPE)) == 2) == 1600


def test_import_takes_labels_made_elsewhere(project: Project, tmp_path: Path) -> None:
    add(project, save(tmp_path / "s" / "a.png"), save(tmp_path / "s" / "b.png"))
    first = outlines(tmp_path / "a.geojson", "Tumor")
    second = save(tmp_path / "b.png", np.ones(SHAPE, np.uint8))
    events = Told()
    with pytest.raises(DataError, match="needs the name of one slide; 0 have it"):
        import_files(project, [first, outlines(tmp_path / "z.json", "gland")], None, [], events)
    with pytest.raises(UnknownClassesError):
        import_files(project, [second, first], None, [], events)
    assert project.journal() == []
    done = import_files(project, [first, second], None, ["Tumor=gland"], events)
    assert [(each.slide, each.regions) for each in done.files] == [("a", 1), ("b", 1)]
    named = outlines(tmp_path / "z.json", "gland")
    assert import_files(project, [named], "b", [], events).files[0].slide == "b"
    with pytest.raises(DataError, match="--slide goes with one file"):
        import_files(project, [first, second], "a", [], events)
    with pytest.raises(SettingsError, match="THEIRS=OURS"):
        import_files(project, [first], None, ["Tumor"], events)


def test_the_verbs_by_name(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", classes=["background", "gland"]):
        pass
    slide = save(tmp_path / "s" / "a.png")
    path = outlines(tmp_path / "a.geojson", "Tumor")
    run = CliRunner()
    added = run.invoke(
        app, ["add", str(tmp_path / "p"), str(slide), "--spacing-um", "0.5", "--json"]
    )
    assert added.exit_code == 0, added.output
    result = run.invoke(
        app, ["import", str(tmp_path / "p"), str(path), "--map", "Tumor=gland", "--json"]
    )
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout.splitlines()[-1])
    assert done["files"] == [{"slide": "a", "path": str(path), "regions": 1}]
