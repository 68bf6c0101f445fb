"""Drafts: strokes come back, damaged files are kept, late writes bring nothing back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_unisemalign.session.drafts import Draft, Drafts
from napari_unisemalign.session.region_edit import RegionEdit
from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Region, RegionState, Split


def _open_edit() -> RegionEdit:
    region = Region(7, "a", Rect(10, 20, 4, 5), RegionState.REVIEW, Split.TRAIN)
    zeros = np.zeros((4, 5), np.uint8)
    return RegionEdit(region, zeros + 2, zeros, zeros, zeros + 1)


@pytest.fixture
def drafts(tmp_path: Path):
    drafts = Drafts(tmp_path / "drafts")
    yield drafts
    drafts.close()


def test_a_draft_comes_back(drafts: Drafts) -> None:
    edit = _open_edit()
    edit.strokes = 1
    assert edit.dirty
    drafts.save(edit)
    assert not edit.dirty
    assert drafts.region_ids() == [7]
    draft = drafts.load(edit.region)
    assert (draft.values == 2).all()
    assert (draft.predicted == 1).all()
    assert draft.undone is None
    drafts.save(edit, undone=12)
    assert drafts.load(edit.region).undone == 12
    drafts.drop(7)
    assert drafts.load(edit.region) is None


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _empty])
def test_a_damaged_draft_is_kept_aside(drafts: Drafts, damage) -> None:
    edit = _open_edit()
    drafts.save(edit)
    damage(drafts.path(7))
    left = drafts.path(7).read_bytes()
    with pytest.raises(ProjectError, match="it cannot be read"):
        drafts.load(edit.region)
    assert drafts.load(edit.region) is None
    drafts.save(edit)
    [kept] = drafts.folder.glob("*damaged*")
    assert kept.read_bytes() == left
    assert drafts.region_ids() == [7]


def test_a_draft_of_another_place_is_kept_aside(drafts: Drafts) -> None:
    drafts.save(_open_edit())
    moved = Region(7, "a", Rect(0, 0, 4, 5), RegionState.REVIEW, Split.TRAIN)
    with pytest.raises(ProjectError, match="another place"):
        drafts.load(moved)
    assert list(drafts.folder.glob("*damaged*"))


def test_a_write_in_a_thread_keeps_the_moment_it_was_asked_for(drafts: Drafts) -> None:
    edit = _open_edit()
    edit.strokes = 1
    written = drafts.save_soon(edit)
    edit.values[:] = 9
    edit.strokes = 2
    written.result()
    assert (drafts.load(edit.region).values == 2).all()
    assert edit.kept == 1
    assert edit.dirty


def test_a_late_write_brings_no_dropped_draft_back(drafts: Drafts) -> None:
    edit = _open_edit()
    asked_first = drafts._next()
    drafts.drop(7)
    drafts._write(asked_first, edit.region, Draft(edit.values, edit.predicted, edit.touched))
    assert drafts.load(edit.region) is None


def test_an_early_write_replaces_no_later_one(drafts: Drafts) -> None:
    edit = _open_edit()
    early = edit.values.copy()
    first = drafts._next()
    edit.values[:] = 4
    drafts.save(edit)
    drafts._write(first, edit.region, Draft(early, edit.predicted, edit.touched))
    assert (drafts.load(edit.region).values == 4).all()
