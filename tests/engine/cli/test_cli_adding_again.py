"""Adding slides with masks: all or nothing, and repeated after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unisemalign.cli.adding import add_slides
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, Split
from unisemalign.runtime import SilentEvents

WHOLE = Rect(0, 0, 40, 50)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three slides of 40 × 50 pixels and their masks."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (50, 40)).save(images / f"{name}.png")
        Image.fromarray(np.ones((40, 50), np.uint8)).save(masks / f"{name}.png")
    return images, masks


@pytest.fixture
def project(tmp_path: Path):
    with Project.create(tmp_path / "p", classes=["one", "two", "three"]) as made:
        yield made


def add(project: Project, folders: tuple[Path, Path]) -> list[str]:
    images, masks = folders
    done = add_slides(project, [images], masks, Split.TRAIN, 0.5, SilentEvents())
    return [row["name"] for row in done]


@pytest.mark.parametrize("bad", ["size", "value", "empty", "no image"])
def test_one_bad_mask_and_no_slide_is_added(project, folders, bad):
    path = folders[1] / "b.png"
    pixels = {
        "size": np.ones((40, 51)),
        "value": np.full((40, 50), 7),
        "empty": np.full((40, 50), 255),
    }
    if bad in pixels:
        Image.fromarray(pixels[bad].astype(np.uint8)).save(path)
    else:
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png"):
        add(project, folders)
    assert project.slides() == []
    Image.fromarray(np.ones((40, 50), np.uint8)).save(path)
    assert add(project, folders) == ["a", "b", "c"]
    assert add(project, folders) == []


def test_a_failure_on_the_way_says_what_was_done(project, folders, monkeypatch):
    accept, calls = Project.accept, []

    def full(*arguments, **more):
        calls.append(1)
        if len(calls) == 2:
            raise ProjectError("The disk is full.")
        return accept(*arguments, **more)

    monkeypatch.setattr(Project, "accept", full)
    with pytest.raises(
        ProjectError, match=r"'b\.png': The disk is full\. 1 of 3 slides were added"
    ):
        add(project, folders)
    assert add(project, folders) == ["b", "c"]
    assert [each.slide for each in project.regions()] == ["a", "b", "c"]


def test_labels_that_a_killed_import_left_without_a_region_are_finished(project, folders):
    images, _ = folders
    add_slides(project, [images], None, Split.TRAIN, 0.5, SilentEvents())
    ones = np.ones((4, 50), np.uint8)
    for name, action in (("a", "import"), ("b", "draw")):
        project.write_labels(name, Rect(0, 0, 4, 50), ones, Origin.DRAWN, action=action)
    assert add(project, folders) == ["a", "c"]  # what a person drew is left as it is
    assert (project.labels("a").read(WHOLE) == 2).all()
    assert [each.slide for each in project.regions()] == ["a", "c"]
