"""A disk that is full, or may only be read: told as what it is, and nothing happens later."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unisemalign.errors import ProjectError, UnwritableError
from unisemalign.exchange import export_labels
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState, database
from unisemalign.project.labels import LabelStore
from unisemalign.project.tissue import TissueStore
from unisemalign.runtime.files import write_refusal

MOUNT = shutil.which("mount")
SIDE = 1200
WHOLE = Rect(0, 0, SIDE, SIDE)
RECT = Rect(100, 100, 300, 300)


def _noise(rect: Rect, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, rect.shape, np.uint8)


def _labels(project: Project) -> tuple[bytes, bytes]:
    store = project.labels("a")
    return store.read(WHOLE).tobytes(), store.read_origin(WHOLE).tobytes()


def _history(project: Project) -> list[tuple[int, str]]:
    return [(each.id, each.state) for each in project.journal(1000)]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A project whose slide lies elsewhere, closed; ``disk`` in it is where a small disk goes."""
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(tmp_path / "a.png")
    root = tmp_path / "disk" / "study.unisem"
    with Project.create(root, classes=["background", "gland"]) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        project.write_labels("a", RECT, _noise(RECT, 1), Origin.DRAWN, action="draw")
    return root


@contextlib.contextmanager
def small_disk(root: Path, size: str) -> Iterator[None]:
    """Put the project on a file system of its own."""
    disk, kept = root.parent, root.parent.with_name("kept")
    disk.rename(kept)
    disk.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or MOUNT is None:
        pytest.skip("a small disk needs the right to mount one")
    mount = [MOUNT, "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        shutil.copytree(kept, disk, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run([MOUNT.replace("mount", "umount"), "-l", str(disk)], check=True)


def _fill(disk: Path, leave: int) -> None:
    """Leave ``leave`` free bytes on ``disk``."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(max(0, shutil.disk_usage(disk).free - leave)))


def _act(project: Project, number: int, draw: random.Random) -> Any:
    kind = draw.choice(["draw", "draw", "undo", "redo", "region", "tissue", "round"])
    if kind == "draw":
        y, x = draw.randrange(SIDE - 600), draw.randrange(SIDE - 600)
        rect = Rect(y, x, 600, 600)
        return project.write_labels("a", rect, _noise(rect, number), Origin.DRAWN, action="draw")
    if kind in {"undo", "redo"}:
        return getattr(project, kind)()
    if kind == "region":
        return project.add_region("a", RECT, state=RegionState.REVIEW)
    if kind == "tissue":
        return TissueStore(project.root).correct("a", _noise(RECT, number), 8.0)
    return project.new_round(method="m", preset="p")


def _refused(project: Project, number: int, draw: random.Random) -> str | None:
    try:
        _act(project, number, draw)
    except ProjectError as error:
        return str(error)
    return None


def _seen(project: Project) -> tuple[Any, ...]:
    correction = project.root / "tissue" / "a.npz"
    return (
        *_labels(project),
        _history(project),
        project.regions(),
        [each.number for each in project.rounds()],
        correction.read_bytes() if correction.exists() else None,
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_acts_on_a_disk_that_fills_up_are_done_or_never(study, seed):
    draw = random.Random(seed)
    refused = 0
    with small_disk(study, "6m"):
        disk = study.parent
        with Project.open(study) as project:
            for number in range(40):
                before = _seen(project)
                _fill(disk, draw.choice([0, 4096, 16384, 65536, 200_000, 10_000_000]))
                said = _refused(project, number, draw)
                refused += said is not None
                (disk / "filler").unlink(missing_ok=True)
                with Project.open(study) as again:
                    after = _seen(again)
                if said is not None:
                    assert after == before
                    assert "is full" in said
                    assert "backup" not in said
                assert _seen(project) == after
    assert refused >= 5


def test_a_full_disk_hinders_neither_opening_nor_exporting(study, tmp_path):
    with small_disk(study, "3m"):
        with Project.open(study) as project:
            before = _labels(project)
        _fill(study.parent, 0)
        with Project.open(study) as project:
            assert _labels(project) == before
            with pytest.raises(ProjectError, match="is full"):
                project.write_labels("a", RECT, _noise(RECT, 2), Origin.DRAWN, action="draw")
            export_labels(project, tmp_path / "out", "png")
        (study.parent / "filler").unlink()
        with Project.open(study) as project:
            assert project.remarks == ()
            assert _labels(project) == before


def test_a_project_on_a_disk_that_may_only_be_read_is_read_and_exported(study, tmp_path):
    with small_disk(study, "6m"):
        subprocess.run([str(MOUNT), "-o", "remount,ro", str(study.parent)], check=True)
        _read_only(study, tmp_path)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root"
)
def test_a_project_in_a_folder_that_may_only_be_read_is_read_and_exported(study, tmp_path):
    folders = [study, *(path for path in study.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        _read_only(study, tmp_path)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def _read_only(study: Path, tmp_path: Path) -> None:
    with Project.open(study) as project:
        assert len(project.remarks) == 1
        assert "can be read and exported, not changed" in project.remarks[0]
        assert (project.labels("a").read(RECT) == _noise(RECT, 1)).all()
        assert project.training_pid() is None
        with project.lock_editing():
            pass
        assert export_labels(project, tmp_path / "out", "png")[0].is_file()
        for act in (
            lambda: project.write_labels("a", RECT, _noise(RECT, 2), Origin.DRAWN, action="d"),
            project.undo,
            lambda: project.add_region("a", RECT, state=RegionState.REVIEW),
            lambda: project.new_round(method="m", preset="p"),
            lambda: project.lock_training().__enter__(),
        ):
            with pytest.raises(UnwritableError):
                act()


def test_what_is_in_the_log_alone_is_read_where_nothing_can_be_written(study, tmp_path):
    # A copy made while the project was open: its newest changes are in the -wal alone.
    with Project.open(study) as project:
        project.add_region("a", RECT, state=RegionState.REVIEW)
        copy = tmp_path / "copy"
        shutil.copytree(study, copy)
        (copy / "project.sqlite-shm").unlink()
        wanted = project.regions()
    files = {path.name: path.read_bytes() for path in copy.glob("project.sqlite*")}
    assert len(files["project.sqlite-wal"]) > 0
    with database.Database(copy / "project.sqlite", read_only="not here") as tables:
        assert len(tables.rows("SELECT * FROM regions")) == len(wanted) == 1
        with pytest.raises(UnwritableError, match="not here"), tables.transaction():
            pass
    assert {path.name: path.read_bytes() for path in copy.glob("project.sqlite*")} == files


@pytest.mark.parametrize(
    ("code", "refusal", "kind", "sentence"),
    [
        (sqlite3.SQLITE_FULL, None, UnwritableError, "is full"),
        (sqlite3.SQLITE_IOERR_WRITE, errno.ENOSPC, UnwritableError, "is full"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, errno.ENOSPC, UnwritableError, "is full"),
        (sqlite3.SQLITE_IOERR_SHMMAP, errno.EDQUOT, UnwritableError, "is full"),
        (sqlite3.SQLITE_CANTOPEN, errno.ENOSPC, UnwritableError, "is full"),
        (sqlite3.SQLITE_READONLY, errno.EROFS, UnwritableError, "may only be read"),
        (sqlite3.SQLITE_CANTOPEN, errno.EACCES, UnwritableError, "may only be read"),
        (sqlite3.SQLITE_IOERR_READ, None, ProjectError, "Nothing says that the project is damaged"),
        (sqlite3.SQLITE_CORRUPT, None, ProjectError, "from a backup"),
        (sqlite3.SQLITE_NOTADB, None, ProjectError, "from a backup"),
    ],
)
def test_every_way_sqlite_fails_has_its_sentence(study, monkeypatch, code, refusal, kind, sentence):
    refused = None if refusal is None else OSError(refusal, os.strerror(refusal))
    monkeypatch.setattr(database, "write_refusal", lambda _: refused)
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    with database.Database.open(study / "project.sqlite") as tables:
        with pytest.raises(kind) as told, tables.transaction():
            raise error
        assert sentence in str(told.value)
        assert ("backup" in str(told.value)) == (sentence == "from a backup")
        assert tables.rows("SELECT 1")[0][0] == 1


def test_a_refusal_is_found_by_trying(tmp_path):
    assert write_refusal(tmp_path) is None
    assert isinstance(write_refusal(tmp_path / "none"), FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way_back", [True, False])
@pytest.mark.parametrize("verb", ["write", "undo", "redo"])
def test_what_failed_at_its_very_end_stays_failed(study, monkeypatch, verb, way_back):
    with Project.open(study) as project:
        project.write_labels("a", WHOLE, _noise(WHOLE, 2), Origin.DRAWN, action="second")
        project.undo()
        before = _labels(project), _history(project)
        journal = project._journal
        values = _noise(RECT, 3)
        acts = {
            "write": lambda: project.write_labels("a", RECT, values, Origin.DRAWN, action="x"),
            "undo": project.undo,
            "redo": project.redo,
        }

        def full(*_: object) -> None:
            raise UnwritableError("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr(journal, "finish", full)
            if not way_back:
                patch.setattr(journal, "take_back", full)
            with pytest.raises(UnwritableError, match=r"^The disk is full\.$"):
                acts[verb]()
        assert _labels(project) == before[0]
    with Project.open(study) as again:
        assert (_labels(again), _history(again)) == before
        assert again.redo().action == "second"  # what failed took nothing of redo


def test_an_edit_that_cannot_be_taken_back_does_not_close_the_project(study, monkeypatch):
    put, calls = LabelStore.put, []

    def full(store, rect, labels, origin):
        calls.append(rect)
        if len(calls) == 1:
            put(store, rect, labels, origin)
        raise OSError(errno.ENOSPC, "No space left on device")

    with Project.open(study) as project:
        before = _labels(project)
        with monkeypatch.context() as patch:
            patch.setattr(LabelStore, "put", full)
            with pytest.raises(ProjectError, match="is full.*was not made.*takes it back"):
                project.write_labels("a", RECT, _noise(RECT, 3), Origin.DRAWN, action="x")
            with Project.open(study) as again:
                assert "not taken back yet" in again.remarks[0]
                assert again.slides()
    with Project.open(study) as again:
        assert _labels(again) == before
        assert again.remarks == ()
