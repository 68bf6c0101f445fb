"""What a kill or a lost file leaves: told, put back, or simply done again."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from unisemalign.errors import BusyError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project
from unisemalign.project.database import Database

WHOLE = Rect(0, 0, 700, 900)
ACROSS = Rect(400, 400, 250, 300)  # four chunks


def draw(project: Project, rect: Rect, value: int, origin: Origin = Origin.DRAWN) -> None:
    values = np.full(rect.shape, value, np.uint8)
    project.write_labels("a", rect, values, origin, action="draw")


def pixels(project: Project) -> tuple[bytes, bytes]:
    store = project.labels("a")
    return store.read(WHOLE).tobytes(), store.read_origin(WHOLE).tobytes()


# Lost labels


@pytest.mark.parametrize("lost", ["labels/c/0/0", "origin/c/1/1", "labels/c", "zarr.json", ""])
def test_labels_that_were_lost_are_told_and_put_back(project, lost):
    draw(project, ACROSS, 1)
    draw(project, Rect(450, 450, 20, 100), 2, Origin.CORRECTED)
    draw(project, Rect(0, 0, 30, 30), 2)
    project.undo()
    wanted = pixels(project)
    project.check_labels("a")
    path = project.layout.labels("a") / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with Project.open(project.root) as again:
        with pytest.raises(ProjectError, match=r"lost labels.*unisemalign recover study\.unisem"):
            again.check_labels("a")
        assert again.recover_labels("a")
        assert pixels(again) == wanted
        again.check_labels("a")
        assert again.recover_labels("a") == []
        assert again.undo() is not None  # and the journal goes on from there
        assert again.redo() is not None
        assert pixels(again) == wanted


def test_labels_that_were_taken_away_are_not_lost(project):
    draw(project, ACROSS, 1)
    draw(project, ACROSS, 0)
    project.check_labels("a")
    project.undo()
    project.undo()
    project.check_labels("a")
    assert project.recover_labels("a") == []
    assert project.labels("a").labelled_rects() == []


# A project that is being made


def made(root: Path) -> Project:
    return Project.create(root, classes=["background", "gland"])


def dies_making(root: Path, moment: int) -> bool:
    """Make a project in a child that dies around some change on the disk; tell whether it did."""
    child = os.fork()
    if child == 0:
        left = moment

        def passing() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)

        mkdir, replace, transaction = Path.mkdir, Path.replace, Database.transaction

        def watched_mkdir(*arguments, **more):
            mkdir(*arguments, **more)
            passing()

        def watched_replace(*arguments):
            passing()
            replace(*arguments)

        @contextmanager
        def watched(database):
            passing()
            with transaction(database) as connection:
                passing()
                yield connection
                passing()
            passing()

        Path.mkdir, Path.replace, Database.transaction = watched_mkdir, watched_replace, watched
        try:
            made(root)
        finally:
            os._exit(0 if left > 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_project_that_was_half_made_is_made_again(tmp_path):
    moment, died, repeated = 0, True, 0
    while died:
        moment += 1
        root = tmp_path / str(moment)
        died = dies_making(root, moment)
        repeated += not (root / "project.toml").exists()
        with made(root) as again:
            assert again.info.class_names == ("background", "gland")
            assert again.slides() == []
        assert not list(root.glob("*.part"))
    assert repeated > 8


def test_nothing_is_lost_by_making_a_project(project, draw_slide):
    draw(project, ACROSS, 1)
    project.close()
    project.layout.info.unlink()  # by mistake
    before = {path: path.stat().st_size for path in project.layout.label_folder.rglob("*")}
    with pytest.raises(ProjectError, match="needs an empty folder"):
        made(project.root)
    shutil.rmtree(project.layout.label_folder)  # the tables alone know of the slide now
    with pytest.raises(ProjectError, match="needs an empty folder"):
        made(project.root)
    assert before
    assert project.layout.database.exists()


def test_another_project_is_not_taken_for_the_one_to_be_made(tmp_path):
    made(tmp_path / "p").close()
    with pytest.raises(ProjectError, match="needs an empty folder"):
        Project.create(tmp_path / "p", classes=["background", "stroma"])


def test_two_do_not_make_one_project(tmp_path, monkeypatch):
    monkeypatch.setattr("unisemalign.project.project.PATIENCE_S", 0.05)
    make = Database.create
    told = []

    def beside(path):
        monkeypatch.setattr(Database, "create", make)
        with pytest.raises(BusyError, match="is making a project") as error:
            made(tmp_path / "p")
        told.append(error)
        return make(path)

    monkeypatch.setattr(Database, "create", beside)
    made(tmp_path / "p").close()
    assert told


# One segmenter a prediction


def test_one_process_writes_a_prediction(project):
    first = project.new_round(method="m", preset="p").number
    second = project.new_round(method="m", preset="p").number
    with Project.open(project.root) as other, project.lock_prediction(first, "a"):
        said = rf"Slide 'a' is being segmented for round {first} by process {os.getpid()}"
        with pytest.raises(BusyError, match=said), other.lock_prediction(first, "a"):
            raise AssertionError
        with other.lock_prediction(second, "a"), other.lock_prediction(None, "a"):
            pass
