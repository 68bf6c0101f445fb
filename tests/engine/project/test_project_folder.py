"""Making, opening and editing the folder by hand."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import zstd

from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import ClassInfo, Origin, Project, RegionState
from unisemalign.project.colors import default_colors
from unisemalign.project.info import read_info, write_info
from unisemalign.project.names import check_name, safe_name


def _edit(root: Path, old: str, new: str) -> None:
    path = root / "project.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_what_was_made_is_read_back(tmp_path):
    classes = ["background", ClassInfo(name="Drüse", color="#123456", words=("gland", "腺"))]
    with Project.create(tmp_path / "p", classes=classes, spacing_um=1, encoder="e") as made:
        info = made.info
    with Project.open(tmp_path / "p") as again:
        assert again.info == info
        assert again.info.classes[1] == classes[1]
        assert again.info.classes[0].words == ("background",)
        assert (again.info.spacing_um, again.info.encoder, again.info.text) == (1, "e", "free")


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        min_size=1,
        max_size=8,
        unique_by=lambda name: name.strip().casefold(),
    )
)
def test_any_class_names_survive_the_file(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("toml")
    with Project.create(folder / "p", classes=names) as made:
        write_info(folder / "again.toml", made.info)
        assert read_info(folder / "again.toml") == made.info


@pytest.mark.parametrize(
    "classes", [[], [""], ["a", " "], ["a", "A"], [f"c{i}" for i in range(255)]]
)
def test_impossible_classes_are_refused(tmp_path, classes):
    with pytest.raises(ProjectError, match=r"A new project: .*(classes|name).* needs"):
        Project.create(tmp_path / "p", classes=classes)
    assert not (tmp_path / "p").exists()


def test_the_most_classes_have_colours_that_differ(tmp_path):
    names = [f"c{i}" for i in range(254)]
    assert len(set(default_colors(names))) == 254
    with Project.create(tmp_path / "p", classes=names) as made:
        assert len(made.info.classes) == 254


def test_background_is_grey():
    assert default_colors(["Background", "gland"])[0] == "#999999"


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ProjectError, match="needs an empty folder"):
        Project.create(tmp_path, classes=["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_an_empty_folder_is_taken(tmp_path):
    Project.create(tmp_path, classes=["a"]).close()
    with Project.open(tmp_path) as opened:
        assert [each.name for each in opened.info.classes] == ["a"]


def test_a_missing_folder_and_one_that_is_no_project(tmp_path):
    with pytest.raises(ProjectError, match="There is no project folder"):
        Project.open(tmp_path / "none")
    with pytest.raises(ProjectError, match=r"is no project: it has no project\.toml"):
        Project.open(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("= 0.5", "= 'abc'", "'spacing_um' needs a number above 0, found 'abc'"),
        ("= 0.5", "= '0.5'", "'spacing_um' needs a number above 0, found '0.5'"),
        ("= 0.5", "= -1", "'spacing_um' needs a number above 0, found '-1'"),
        ("= 0.5", "= inf", "'spacing_um' needs a number above 0, found 'inf'"),
        ("spacing_um = 0.5", "", "'spacing_um' is missing; it needs a number above 0"),
        ("spacing_um = 0.5", "spacing = 0.5", "Unknown key 'spacing'. Known keys: format, classes"),
        (
            '"#999999"',
            '"grey"',
            r"'classes[1].color' needs a colour such as '#e69f00', found 'grey'",
        ),
        ('"gland"', '"Background"', "'classes' needs names that differ, found 'Background' twice"),
        ("color =", "colour =", "Unknown key 'classes[1].colour'. Known keys: name, color, words"),
        ("= 0.5", "= ", "needs to be TOML"),
        ("format = 1", "format = 2", "A newer release made the project"),
        ("format = 1", "format = true", "'format' needs a whole number above 0, found 'True'"),
        ("= 0.5", "= 0.25", "at which the labels were drawn"),
    ],
)
def test_mistakes_of_a_person_become_sentences(project, old, new, sentence):
    _edit(project.root, old, new)
    with pytest.raises(ProjectError) as told:
        Project.open(project.root)
    assert sentence in str(told.value)
    assert "project.toml" in str(told.value)


def test_a_class_may_be_added_but_not_taken_away(project):
    path = project.root / "project.toml"
    before = path.read_text(encoding="utf-8")
    document = tomlkit.parse(before)
    document["classes"].append({"name": "stroma", "color": "#000000", "words": []})
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    with Project.open(project.root) as again:
        assert again.info.class_names == ("background", "gland", "stroma")
    path.write_text(before, encoding="utf-8")
    with pytest.raises(ProjectError, match="needs the 3 classes that labels may use, found 2"):
        Project.open(project.root)


def test_a_missing_database_is_told(project):
    project.close()
    (project.root / "project.sqlite").unlink()
    with pytest.raises(ProjectError, match=r"project\.sqlite' is missing"):
        Project.open(project.root)


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough" * 200])
def test_a_damaged_database_is_told(project, content):
    project.close()
    for path in project.root.glob("project.sqlite*"):
        path.unlink()
    (project.root / "project.sqlite").write_bytes(content)
    with pytest.raises(ProjectError, match="is damaged"):
        Project.open(project.root)


def test_a_newer_database_is_told(project):
    project.close()
    with sqlite3.connect(project.root / "project.sqlite") as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ProjectError, match="found version 9"):
        Project.open(project.root)


def test_a_closed_project_says_so(project):
    project.close()
    project.close()
    with pytest.raises(ProjectError, match="has been closed"):
        project.slides()


def test_names_from_a_doctored_database_do_not_lead_outside(project):
    project.close()
    with sqlite3.connect(project.root / "project.sqlite") as connection:
        connection.execute("UPDATE slides SET name = '../../escape'")
    connection.close()
    with Project.open(project.root) as again, pytest.raises(ProjectError, match="plain file name"):
        again.labels("../../escape")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_safe_names_are_single_file_names(text):
    name = safe_name(text)
    assert name == safe_name(name) == check_name(name)
    assert Path("x", name).name == name
    assert name not in {".", ".."}
    assert len(f"{name}-99.progress.json".encode()) < 255
    assert check_name(f"{name}-2")


@pytest.mark.parametrize("name", ["../a", "a/b", "a\\b", ".", "", "..", "a\0", "/a", "a/-2", "con"])
def test_unsafe_names_are_refused(name):
    with pytest.raises(ProjectError, match="plain file name"):
        check_name(name)


def test_scripts_of_the_world_are_kept():
    assert safe_name("Präparat 腺 Ж") == "Präparat 腺 Ж"


def test_a_project_moves_together_with_its_slides(project, tmp_path):
    project.close()
    new = tmp_path / "elsewhere"
    new.mkdir()
    shutil.move(project.root, new / "study.unisem")
    shutil.move(tmp_path / "slides", new / "slides")
    with Project.open(new / "study.unisem") as again:
        assert again.slide("a").path == new / "slides" / "a.png"
        again.open_slide("a").slide.close()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE slides SET height = 'high' WHERE name = 'b'", "the slide's 'height'"),
        ("UPDATE slides SET spacing_um = 9e999 WHERE name = 'b'", "the slide's 'spacing_um'"),
        ("UPDATE slides SET split = x'00' WHERE name = 'b'", "the slide's 'split'"),
        ("UPDATE regions SET w = -5 WHERE id = 2", "the region's 'w'"),
        ("UPDATE regions SET state = 'gone' WHERE id = 2", "the region's 'state'"),
        ("UPDATE rounds SET scores = '[' WHERE number = 2", "scores of round 2"),
        ("UPDATE rounds SET state = 3 WHERE number = 2", "the round's 'state'"),
    ],
)
def test_a_damaged_row_is_told_and_the_others_are_there(project, draw_slide, change, what):
    project.add_slide(draw_slide("b.png"), spacing_um=0.5)
    for _ in range(2):
        project.add_region("a", Rect(0, 0, 9, 9), state=RegionState.ACCEPTED)
        project.new_round(method="m", preset="p")
    with project._database.transaction() as connection:
        connection.execute(change)
    with Project.open(project.root) as again:
        (remark,) = again.remarks
        assert what in remark
        assert "from a backup" in remark
        found = [len(again.slides()), len(again.regions()), len(again.rounds())]
        assert sorted(found) == [1, 2, 2]
        assert again.labels("a").shape_yx == (700, 900)
        # A region that cannot be read may be one that must not be trained on.
        with pytest.raises(ProjectError, match="Training needs tables that are whole"):
            again.lock_training()


@pytest.mark.parametrize(
    ("path", "change", "what"),
    [
        ("labels/zarr.json", {"codecs": [{"name": "pickle"}]}, "codecs"),
        ("labels/zarr.json", {"shape": [2**40, 2]}, "shape"),
        ("labels/zarr.json", {"shape": [700, 901]}, "pixels, found 700 × 901"),
        ("labels/zarr.json", {"data_type": "float64"}, "data_type"),
        ("origin/zarr.json", {"storage_transformers": [{"name": "x"}]}, "storage_transformers"),
        ("origin/zarr.json", {"fill_value": 3}, "fill_value"),
        ("zarr.json", {"node_type": "array"}, "a mistake in"),
    ],
)
def test_arrays_that_are_not_ours_are_refused(project, path, change, what):
    note = project.root / "labels" / "a.zarr" / path
    note.write_text(json.dumps(json.loads(note.read_text()) | change))
    with Project.open(project.root) as again, pytest.raises(ProjectError) as told:
        again.labels("a")
    assert what in str(told.value)
    assert "from a backup" in str(told.value)


def test_a_chunk_that_would_fill_the_memory_is_refused(project):
    rect = Rect(0, 0, 512, 512)
    project.write_labels("a", rect, np.ones(rect.shape, np.uint8), Origin.DRAWN, action="draw")
    chunk = project.root / "labels" / "a.zarr" / "labels" / "c" / "0" / "0"
    chunk.write_bytes(zstd.compress(bytes(2**27)))
    assert chunk.stat().st_size < 100_000
    with pytest.raises(ProjectError, match=r"The chunk '.*' is damaged.*from a backup"):
        project.labels("a").read(rect)
