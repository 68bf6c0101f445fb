"""Writes by the rules of Windows, played on any system, and how long they are patient."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project
from unisemalign.project.tissue import TissueStore
from unisemalign.protocol import FinishedNote
from unisemalign.runtime import files
from unisemalign.runtime.files import (
    make_folder,
    remove_file,
    remove_folder,
    write_atomically,
    write_json,
)

RECT = Rect(0, 0, 100, 100)


class Windows:
    """What Windows refuses: flushing what may not write or is a folder, touching an open file."""

    def __init__(self) -> None:
        self.held: set[Path] = set()
        self.refused = 0

    def hold(self, path: Path) -> None:
        self.held.add(path)

    def check(self, path: Path) -> None:
        if any(each == path or path in each.parents for each in self.held):
            self.refused += 1
            raise PermissionError(13, "The process cannot access the file", str(path))


@pytest.fixture
def windows(monkeypatch) -> Windows:
    fcntl = pytest.importorskip("fcntl", reason="Windows itself needs no play")
    system = Windows()
    real = {name: getattr(os, name) for name in ("open", "replace", "rename", "unlink")}

    def fsync(handle: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")

    def opened(path, *given, **named):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return real["open"](path, *given, **named)

    def moved(name):
        def move(source, target):
            system.check(Path(source))
            system.check(Path(target))
            return real[name](source, target)

        return move

    def unlink(path, **named):
        system.check(Path(path))
        return real["unlink"](path, **named)

    monkeypatch.setattr(files, "ON_WINDOWS", True)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "replace", moved("replace"))
    monkeypatch.setattr(os, "rename", moved("rename"))
    monkeypatch.setattr(os, "unlink", unlink)
    return system


def test_every_write_of_a_project_keeps_the_rules_of_windows(windows, tmp_path):
    Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(tmp_path / "a.png")
    with Project.create(tmp_path / "new" / "s.unisem", classes=["a", "b"]) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        values = np.ones(RECT.shape, np.uint8)
        project.write_labels("a", RECT, values, Origin.DRAWN, action="draw")
        project.undo()
        project.redo()
        TissueStore(project.root).correct("a", values, 8.0)
        TissueStore(project.root).correct("a", 0 * values, 8.0)
        project.new_round(method="m", preset="p")
        store = project.predictions(1, "a", create=True)
        store.write(RECT, classes=values, confidence=values, disagreement=values)
        store.write_finished(FinishedNote())
        project.remove_prediction(1, "a")
        assert (project.labels("a").read(RECT) == 1).all()
        assert not project.has_prediction(1, "a")


def test_a_chunk_that_is_shown_is_replaced_once_it_is_let_go(windows, tmp_path):
    Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(tmp_path / "a.png")
    with Project.create(tmp_path / "s.unisem", classes=["a", "b"]) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        for value in (1, 2, 0):
            windows.held.clear()
            for chunk in project.root.glob("labels/a.zarr/*/c/0/0"):
                windows.hold(chunk)
            letting_go = threading.Timer(0.2, windows.held.clear)
            letting_go.start()
            values = np.full(RECT.shape, value, np.uint8)
            project.write_labels("a", RECT, values, Origin.DRAWN, action="draw")
            letting_go.join()
            assert (project.labels("a").read(RECT) == value).all()
        assert windows.refused


@pytest.mark.parametrize(
    "act", [lambda path: write_json(path, 2), remove_file], ids=["replace", "remove"]
)
def test_a_file_that_is_never_let_go_is_told_and_stays(windows, tmp_path, monkeypatch, act):
    monkeypatch.setattr(files, "PATIENCE_S", 0.1)
    path = tmp_path / "a.json"
    path.write_text("1")
    windows.hold(path)
    with pytest.raises(ProjectError, match=r"another program has kept it open.*Close what shows"):
        act(path)
    assert path.read_text() == "1"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_waits_where_a_refusal_is_final(tmp_path, monkeypatch):
    def refused(_self, _target):
        raise PermissionError(13, "Permission denied")

    waits = []
    monkeypatch.setattr(files, "ON_WINDOWS", False)
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(PermissionError), write_atomically(tmp_path / "a.txt"):
        pass
    assert waits == []


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot flush a folder")
def test_a_new_folder_is_flushed_where_it_hangs(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(files, "flush_folder", flushed.append)
    make_folder(tmp_path / "a" / "b")
    assert flushed == [tmp_path, tmp_path / "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(flushed) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot flush a folder")
def test_a_file_system_that_cannot_flush_folders_is_no_obstacle(tmp_path, monkeypatch):
    def fsync(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir() or Path(f"/dev/fd/{handle}").is_dir():
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").read_text() == "1\n"


def test_removing_what_is_not_there_is_quiet(tmp_path):
    remove_file(tmp_path / "none")
    remove_folder(tmp_path / "none")
    (tmp_path / "some" / "deep").mkdir(parents=True)
    remove_folder(tmp_path / "some")
    assert list(tmp_path.iterdir()) == []
