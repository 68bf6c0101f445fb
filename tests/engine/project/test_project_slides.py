"""Slides, regions and rounds."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from unisemalign.errors import DataError, ProjectError, SlideError, SpacingError
from unisemalign.geometry import Rect
from unisemalign.project import LabelStore, Origin, Project, RegionState, Split
from unisemalign.project.records import Region
from unisemalign.protocol import RoundScores, StepScores

AT_STEP = StepScores(
    step=3,
    images=1,
    mdice=0.9,
    mjaccard=0.8,
    foreground_dice=0.9,
    per_image_mdice=0.9,
    object_dice=None,
    object_f1=None,
    dice_per_class=(0.9, None),
    jaccard_per_class=(0.8, None),
)
SCORES = RoundScores(
    best_val=AT_STEP,
    last_val=None,
    seconds=2,
    seconds_per_step=1,
    wait_per_step=0,
    wait_share=0,
)


def test_a_slide_is_kept_at_working_spacing(project, draw_slide):
    record = project.add_slide(draw_slide("b.png", (600, 800)), spacing_um=0.25, split=Split.VAL)
    assert record.shape_yx == (300, 400)
    assert (record.name, record.spacing_um, record.split) == ("b", 0.25, Split.VAL)
    assert [each.name for each in project.slides()] == ["a", "b"]
    assert [each.name for each in project.slides(Split.TRAIN)] == ["a"]
    spaced = project.open_slide("b")
    assert spaced.read(Rect(0, 0, 10, 20)).shape == (10, 20, 3)
    spaced.slide.close()


def test_a_slide_without_a_pixel_size_is_refused(project, draw_slide):
    with pytest.raises(SpacingError, match="--spacing-um"):
        project.add_slide(draw_slide("b.png"))
    assert len(project.slides()) == 1
    assert [path.name for path in (project.root / "labels").iterdir()] == ["a.zarr"]


def test_a_slide_is_added_once(project, draw_slide, tmp_path):
    with pytest.raises(ProjectError, match=r"'a\.png' is in the project already, as slide 'a'"):
        project.add_slide(draw_slide(), spacing_um=0.5)
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "slides" / "a.png")
    with pytest.raises(ProjectError, match="already"):
        project.add_slide(link, spacing_um=0.5)


def test_a_single_pixel_is_no_slide(project, draw_slide):
    with pytest.raises(SlideError, match="more than one pixel, found 1 × 1"):
        project.add_slide(draw_slide("dot.png", (1, 1)), spacing_um=0.5)
    assert len(project.slides()) == 1


def test_two_slides_never_share_a_file(project, draw_slide):
    project.add_slide(draw_slide("b.png"), spacing_um=0.5)
    with pytest.raises(ProjectError, match="is slide 'b' of this project already"):
        project.relocate_slide("a", project.slide("b").path)


def test_an_unlabelled_slide_can_be_taken_out_and_a_labelled_one_stays(project, draw_slide):
    project.add_slide(draw_slide("b.png"), spacing_um=0.5)
    project.remove_slide("b")
    assert [each.name for each in project.slides()] == ["a"]
    assert project.add_slide(project.root.parent / "slides" / "b.png", spacing_um=0.5).name == "b"
    values = np.ones((4, 4), np.uint8)
    project.write_labels("b", Rect(0, 0, 4, 4), values, Origin.DRAWN, action="draw")
    with pytest.raises(ProjectError, match="needs it to be unlabelled"):
        project.remove_slide("b")


def test_slides_of_one_name_are_told_apart(project, draw_slide):
    assert project.add_slide(draw_slide("other/a.png"), spacing_um=0.5).name == "a-2"
    assert project.add_slide(draw_slide("other/A.png"), spacing_um=0.5).name == "A-3"
    assert project.add_slide(draw_slide("腺 1.png"), spacing_um=0.5).name == "腺 1"


def test_unknown_slides_regions_and_rounds(project):
    with pytest.raises(ProjectError, match=r"no slide 'x'\. Its slides: 'a'"):
        project.labels("x")
    with pytest.raises(ProjectError, match="no region 5"):
        project.region(5)
    with pytest.raises(ProjectError, match=r"no round 5\. Its rounds: none yet"):
        project.round(5)
    with pytest.raises(ProjectError, match="no round 5"):
        project.predictions(5, "a", create=True)


def test_a_moved_slide_is_told_and_relocated(project, tmp_path):
    old, new = tmp_path / "slides" / "a.png", tmp_path / "new" / "renamed.png"
    new.parent.mkdir()
    old.rename(new)
    with pytest.raises(SlideError, match=r"`unisemalign relocate study\.unisem a NEW_PATH`"):
        project.open_slide("a")
    assert project.relocate_slide("a", new).path == new
    project.open_slide("a").slide.close()
    with pytest.raises(SlideError):
        project.relocate_slide("a", tmp_path / "nowhere.png")
    assert project.slide("a").path == new


def test_another_file_in_its_place_is_told(project, tmp_path):
    Image.new("RGB", (50, 60)).save(tmp_path / "slides" / "a.png")
    with pytest.raises(SlideError, match=r"700 × 900 pixels at 0\.5 µm, found 60 × 50"):
        project.open_slide("a")
    Image.new("RGB", (51, 60)).save(tmp_path / "b.png")
    with pytest.raises(SlideError, match="do not fit"):
        project.relocate_slide("a", tmp_path / "b.png")


def test_regions_take_the_slides_split_and_follow_it(project):
    region = project.add_region("a", Rect(0, 0, 10, 10), state=RegionState.REVIEW, score=0.5)
    own = project.add_region("a", Rect(0, 0, 9, 9), state=RegionState.UNLABELLED, split=Split.TEST)
    assert (region.split, region.reason, region.round, region.score) == ("train", "", None, 0.5)
    project.set_slide_split("a", Split.VAL)
    assert project.region(region.id).split == Split.VAL
    assert project.region(own.id).split == Split.TEST
    assert project.slide("a").split == Split.VAL


def test_regions_change_and_are_found(project):
    one = project.add_region("a", Rect(0, 0, 10, 10), state=RegionState.REVIEW)
    project.add_region("a", Rect(10, 0, 10, 10), state=RegionState.UNLABELLED)
    changed = project.set_region(one.id, state=RegionState.ACCEPTED, split=Split.VAL)
    assert project.regions(state=RegionState.ACCEPTED) == [changed]
    assert project.regions(slide="a", split=Split.VAL) == [changed]
    assert project.regions(slide="b") == []
    assert len(project.regions()) == 2


@pytest.mark.parametrize("rect", [Rect(0, 0, 0, 5), Rect(-1, 0, 5, 5), Rect(699, 0, 2, 5)])
def test_regions_lie_on_the_slide(project, rect):
    with pytest.raises(DataError, match="inside the slide's 700 × 900 pixels"):
        project.add_region("a", rect, state=RegionState.REVIEW)


def test_a_new_queue_drops_the_old(project):
    def proposed(y: int) -> Region:
        rect = Rect(y, 0, 10, 10)
        return Region(0, "a", rect, RegionState.PREDICTED, Split.TRAIN, 0.5, "doubt", 1)

    accepted = project.add_region("a", Rect(0, 0, 10, 10), state=RegionState.ACCEPTED)
    first = project.replace_queue([proposed(20), proposed(40)])
    second = project.replace_queue([proposed(60)])
    assert project.regions() == [accepted, *second]
    assert second[0].id not in {each.id for each in first}
    with pytest.raises(DataError):
        project.replace_queue([proposed(0), proposed(5000)])
    assert project.regions(state=RegionState.PREDICTED) == second


def test_rounds(project):
    assert project.latest_round() is None
    one = project.new_round(method="unisemalign", preset="recommended")
    assert (one.number, one.state, one.parent) == (1, "running", None)
    assert one.folder == project.root / "rounds" / "1"
    assert one.folder.is_dir()
    (one.folder / "best.safetensors").write_bytes(b"x")
    two = project.new_round(method="unisemalign", preset="paper", parent=1)
    assert project.latest_round() == one
    assert project.set_round(2, state="failed").state == "failed"
    scored = project.set_round(1, state="done", scores=SCORES)
    assert project.rounds() == [scored, project.round(two.number)]
    assert project.round(1).scores == SCORES
    assert project.round(1).scores.dice == 0.9
    assert project.round(2).scores is None
    with pytest.raises(ProjectError, match="no round 7"):
        project.new_round(method="m", preset="p", parent=7)
    with pytest.raises(ProjectError, match="state needs one of"):
        project.set_round(1, state="finished")


def test_the_number_of_a_folder_left_by_a_kill_is_not_used_again(project):
    (project.root / "rounds" / "4").mkdir()
    assert project.new_round(method="m", preset="p").number == 5


def test_two_processes_see_each_others_rows(project):
    with Project.open(project.root) as other:
        project.add_region("a", Rect(0, 0, 10, 10), state=RegionState.REVIEW)
        assert len(other.regions()) == 1


def test_what_a_killed_add_left_is_taken_and_labels_without_a_slide_stay(project, draw_slide):
    (project.root / "labels" / "b.zarr" / "labels").mkdir(parents=True)  # killed half way
    assert project.add_slide(draw_slide("b.png"), spacing_um=0.5).name == "b"
    rect = Rect(0, 0, 4, 4)
    project.write_labels("b", rect, np.ones((4, 4), np.uint8), Origin.DRAWN, action="draw")
    (project.root / "labels" / "b.zarr").rename(project.root / "labels" / "c.zarr")
    assert project.add_slide(draw_slide("c.png"), spacing_um=0.5).name == "c-2"
    assert LabelStore(project.root / "labels" / "c.zarr").read(rect).all()


def test_a_slide_that_cannot_be_added_takes_nothing_of_anybody(project, draw_slide, monkeypatch):
    """Two processes, one name: the second must not clean up what the first has made."""
    other = Project.open(project.root)
    path = draw_slide("b.png")
    insert = type(project._slides).insert

    def beaten(table, *row, **more):
        monkeypatch.undo()
        rect = Rect(0, 0, 4, 4)
        insert(table, *row, **more)  # as if the other one had come first after all
        other.write_labels("b", rect, np.ones((4, 4), np.uint8), Origin.DRAWN, action="draw")
        insert(table, *row, **more)

    monkeypatch.setattr(type(project._slides), "insert", beaten)
    with pytest.raises(ProjectError, match="changed by another process meanwhile") as told:
        project.add_slide(path, spacing_um=0.5)
    assert "damaged" not in str(told.value)
    assert project.labels("b").read(Rect(0, 0, 4, 4)).all()
    other.close()


ADD = """
import sys
from pathlib import Path
from unisemalign.cli.adding import add_slides
from unisemalign.project import Project, Split
from unisemalign.runtime import SilentEvents
root, masks, *paths = map(Path, sys.argv[1:])
sys.stdin.readline()  # all begin at once
with Project.open(root) as project:
    add_slides(project, paths, masks, Split.TRAIN, 0.5, SilentEvents())
"""


def test_adds_at_once_lose_nothing(project, draw_slide, tmp_path):
    """Real processes: the same slides, one more each, and two files of one name."""
    masks = tmp_path / "masks"
    masks.mkdir()
    shared = [draw_slide(f"s{n}.png", (40, 50)) for n in range(3)]
    own = [[draw_slide(f"{n}/twin.png", (40, 50))] for n in range(2)]
    for path in (*shared, *own[0]):
        Image.fromarray(np.ones((40, 50), np.uint8)).save(masks / path.name)
    start = [sys.executable, "-c", ADD, str(project.root), str(masks)]
    running = [
        subprocess.Popen(
            [*start, *map(str, [*shared, *mine])],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for mine in own
    ]
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in running:
        assert (each.communicate()[1], each.returncode) == ("", 0)
    names = [record.name for record in project.slides()]
    assert sorted(names) == ["a", "s0", "s1", "s2", "twin", "twin-2"]
    for name in names[1:]:
        assert project.labels(name).read(Rect(0, 0, 40, 50)).all()
        assert [each.state for each in project.regions(slide=name)] == ["accepted"]
