"""Acts: labels and the regions they stand for are written together, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unisemalign.errors import DataError, ProjectError
from unisemalign.exchange import import_geojson, import_mask, masks, outlines
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project, RegionState, chunks
from unisemalign.project.database import Database

WHOLE = Rect(0, 0, 700, 900)
ONE, TWO = Rect(0, 0, 20, 30), Rect(600, 800, 20, 30)


def edit(rect: Rect, value: int = 1, *regions: Rect, only=None) -> LabelEdit:
    return LabelEdit(rect, np.full(rect.shape, value, np.uint8), Origin.IMPORTED, only, regions)


def state(project: Project) -> tuple:
    """Return all that an act may change: labels, origins, regions."""
    store = project.labels("a")
    regions = [(each.rect, each.state.value) for each in project.regions()]
    return store.read(WHOLE).tobytes(), store.read_origin(WHOLE).tobytes(), regions


def test_labels_and_regions_are_one_act_to_undo_and_redo(project):
    mine = project.add_region("a", ONE, state=RegionState.REVIEW)
    before = state(project)
    made = project.accept(
        "a", [edit(ONE, 1, ONE), edit(TWO, 2, TWO, WHOLE)], action="import", reason="imported"
    )
    assert [each.rect for each in made] == [ONE, TWO, WHOLE]
    assert made[0].id == mine.id
    assert {each.state for each in made} == {RegionState.ACCEPTED}
    assert [each.reason for each in made] == ["", "imported", "imported"]
    done = state(project)
    project.undo()
    labels, origins, regions = state(project)
    assert (labels, origins) == before[:2]
    assert [each for _, each in regions] == ["in review", "unlabelled", "unlabelled"]
    assert project.undo() is None
    project.redo()
    assert state(project) == done
    assert project.redo() is None
    assert [each.id for each in project.accept("a", [edit(ONE, 2, ONE)], action="x")] == [mine.id]


def test_pixels_elsewhere_keep_their_labels(project):
    project.write_labels("a", ONE, np.full(ONE.shape, 2, np.uint8), Origin.DRAWN, action="draw")
    only = np.zeros(ONE.shape, bool)
    only[3:5] = True
    project.accept("a", [edit(ONE, 1, only=only)], action="import")
    store = project.labels("a")
    assert np.array_equal(store.read(ONE), np.where(only, 1, 2))
    assert np.array_equal(store.read_origin(ONE), np.where(only, Origin.IMPORTED, Origin.DRAWN))


def test_an_act_that_does_not_fit_writes_nothing_and_keeps_redo(project):
    project.write_labels("a", ONE, np.ones(ONE.shape, np.uint8), Origin.DRAWN, action="draw")
    project.undo()
    before = state(project)
    for wrong in (edit(TWO, 9), edit(Rect(0, 0, 9999, 2)), edit(TWO, 1, Rect(-1, 0, 5, 5))):
        with pytest.raises(DataError):
            project.accept("a", [edit(ONE, 2, ONE), wrong], action="import")
    assert state(project) == before
    assert [each.state for each in project.journal()] == ["undone"]
    assert project.redo() is not None


def test_a_full_disk_in_the_middle_takes_all_of_it_back(project, monkeypatch):
    before, whole = state(project), chunks.write_whole

    def full(path, *rest):
        if path.match("c/1/1"):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, *rest)

    monkeypatch.setattr(chunks, "write_whole", full)
    with pytest.raises(ProjectError, match="is full"):
        project.accept("a", [edit(ONE, 1, ONE), edit(TWO, 1, TWO)], action="import")
    assert state(project) == before
    assert project.journal() == []


def mask(tmp_path: Path) -> Callable[[Project], object]:
    pixels = np.full((700, 900), 255, np.uint8)
    pixels[100:650, 200:800] = np.arange(600) % 2
    Image.fromarray(pixels).save(tmp_path / "m.png")
    return lambda project: import_mask(project, "a", tmp_path / "m.png")


def polygons(tmp_path: Path) -> Callable[[Project], object]:
    def square(y: int, x: int) -> dict:
        ring = [[x, y], [x + 40, y], [x + 40, y + 40], [x, y + 40], [x, y]]
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": "gland"}},
        }

    features = [square(10, 10), square(10, 600), square(600, 500)]
    (tmp_path / "a.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    return lambda project: import_geojson(project, "a", tmp_path / "a.geojson")


def dies(root: Path, act: Callable[[Project], object], moment: int) -> bool:
    """Do ``act`` in a child that dies around some change on the disk; tell whether it did."""
    child = os.fork()
    if child == 0:
        left = moment

        def passing() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)

        whole, transaction = chunks.write_whole, Database.transaction

        def write_whole(*arguments):
            passing()
            whole(*arguments)

        @contextmanager
        def watched(database):
            passing()
            with transaction(database) as connection:
                yield connection
                passing()
            passing()

        chunks.write_whole = write_whole
        Database.transaction = watched
        try:
            with Project.open(root) as project:
                act(project)
        finally:
            os._exit(0 if left > 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("arrange", [mask, polygons])
def test_a_kill_at_any_moment_leaves_all_or_nothing_and_a_repeat(
    project, tmp_path, monkeypatch, arrange
):
    monkeypatch.setattr(masks, "_BAND_AREA_PX", 150_000)
    monkeypatch.setattr(outlines, "_TILE_PX", 512)
    act = arrange(tmp_path)
    nothing = state(project)
    project.close()
    shutil.copytree(project.root, tmp_path / "wanted")
    with Project.open(tmp_path / "wanted") as wanted:
        act(wanted)
        whole = state(wanted)
        edits = len(wanted.journal())
    assert edits > 2
    moment, died, seen = 0, True, set()
    while died:
        moment += 1
        root = tmp_path / f"killed-{moment}"
        shutil.copytree(project.root, root)
        died = dies(root, act, moment)
        with Project.open(root) as again:
            found = state(again)
            assert found in (nothing, whole), moment
            seen.add(found == whole)
            act(again)
            assert state(again) == whole
            while again.undo():
                pass
            assert state(again)[:2] == nothing[:2]
        shutil.rmtree(root)
    assert seen == {True, False}
    assert moment > 3 * edits


@pytest.mark.parametrize(
    "spoilt",
    ["before = x'00ff'", "before = 'text'", "h = 'high'", "y = 100000", "before = 1, after = 2.5"],
)
def test_an_edit_that_cannot_be_read_is_set_aside(project, spoilt):
    project.write_labels("a", ONE, np.ones(ONE.shape, np.uint8), Origin.DRAWN, action="draw")
    project.write_labels("a", TWO, np.ones(TWO.shape, np.uint8), Origin.DRAWN, action="next")
    with project._database.transaction() as connection:
        connection.execute(f"UPDATE journal SET state = 'pending', {spoilt} WHERE id = 2")  # noqa: S608
    with Project.open(project.root) as again:
        (remark,) = again.remarks
        assert "slide 'a' (next" in remark
        assert "set aside" in remark
        assert again.labels("a").read(ONE).all()
        again.write_labels("a", ONE, np.full(ONE.shape, 2, np.uint8), Origin.DRAWN, action="draw")
        assert again.undo().action == "draw"
    with Project.open(project.root) as again:
        assert not again.remarks  # told once


def test_an_edit_of_labels_that_are_gone_waits_for_them(project, draw_slide, tmp_path):
    project.add_slide(draw_slide("b.png"), spacing_um=0.5)
    project.write_labels("a", ONE, np.ones(ONE.shape, np.uint8), Origin.DRAWN, action="draw")
    with project._database.transaction() as connection:
        connection.execute("UPDATE journal SET state = 'pending'")
    labels = project.root / "labels" / "a.zarr"
    project.close()
    labels.rename(tmp_path / "away")
    with Project.open(project.root) as again:
        assert "An edit of slide 'a' waits" in again.remarks[0]
        again.write_labels("b", ONE, np.ones(ONE.shape, np.uint8), Origin.DRAWN, action="draw")
    (tmp_path / "away").rename(labels)
    with Project.open(project.root) as again:
        assert not again.remarks
        assert {each.state for each in again.journal()} == {"done"}
