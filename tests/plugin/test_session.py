"""The session without a window: what can be done, and that nothing drawn is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_unisemalign.session.change import Change
from napari_unisemalign.session.dock_state import resolve_state
from napari_unisemalign.session.progress import TrainingProgress
from napari_unisemalign.session.session import Session
from unisemalign.errors import BusyError, DataError, ProjectError, SlideError, SpacingError
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState, Split

RECT = Rect(100, 200, 128, 128)


def _paint(session: Session, value: int = 2) -> None:
    values = session.edit.values
    values[:64] = value
    session.strokes_made(values)


def test_opening_shows_the_first_slide(session: Session) -> None:
    assert session.slide == "a"


def test_a_folder_that_is_no_project_changes_nothing(session: Session, tmp_path: Path) -> None:
    before = session.project
    with pytest.raises(ProjectError, match="no project"):
        session.open(tmp_path)
    assert session.project is before


def test_a_project_opened_twice_says_who_has_it(session: Session) -> None:
    other = Session()
    with pytest.raises(BusyError, match="open for editing"):
        other.open(session.project.root)
    assert other.project is None


def test_closing_lets_another_viewer_in(session: Session) -> None:
    root = session.project.root
    session.close()
    other = Session()
    other.open(root)
    assert other.project is not None
    assert other.project.root == root
    other.close()


def test_accept_writes_labels_with_their_origin(session: Session) -> None:
    region = session.mark_region(RECT)
    _paint(session)
    session.accept()
    labels = session.project.labels("a")
    assert (labels.read(RECT)[:64] == 2).all()
    assert not labels.read(RECT)[64:].any()
    assert (labels.read_origin(RECT)[:64] == Origin.DRAWN).all()
    assert session.project.region(region.id).state is RegionState.ACCEPTED
    assert session.edit is None
    assert session.labelled_values() == {2}


def test_a_region_starts_from_the_prediction(session, with_model, with_prediction) -> None:
    with_prediction(session.project, with_model(session.project), "a")
    session.mark_region(RECT)
    assert (session.edit.values == 2).all()
    session.edit.values[:10] = 3
    session.strokes_made(session.edit.values)
    session.accept()
    origin = session.project.labels("a").read_origin(RECT)
    assert (origin[:10] == Origin.CORRECTED).all()
    assert (origin[10:] == Origin.ACCEPTED).all()


def test_earlier_labels_come_before_the_prediction(session, with_model, with_prediction) -> None:
    session.mark_region(RECT)
    _paint(session, 1)
    session.accept()
    with_prediction(session.project, with_model(session.project), "a")
    session.mark_region(RECT)
    assert (session.edit.values[:64] == 1).all()
    assert (session.edit.values[64:] == 2).all()
    session.accept()
    origin = session.project.labels("a").read_origin(RECT)
    assert (origin[:64] == Origin.DRAWN).all()
    assert (origin[64:] == Origin.ACCEPTED).all()


def test_an_empty_region_is_not_accepted(session: Session) -> None:
    session.mark_region(RECT)
    with pytest.raises(DataError, match="Nothing is painted"):
        session.accept()
    assert session.edit is not None


def test_a_label_without_a_class_is_not_accepted(session: Session) -> None:
    session.mark_region(RECT)
    _paint(session, 77)
    with pytest.raises(DataError, match="label 77"):
        session.accept()


def test_strokes_survive_a_crash(session: Session) -> None:
    region = session.mark_region(RECT)
    _paint(session)
    session.save_draft()
    root = session.project.root
    session._held.close()  # the process is gone: no goodbye
    again = Session()
    again.open(root)
    assert again.edit.region.id == region.id
    assert again.edit.restored
    assert (again.edit.values[:64] == 2).all()
    assert not again.project.labels("a").labelled_rects()
    again.close()
    session._project = session._records = session._edit = None


def test_switching_regions_keeps_the_strokes(session: Session) -> None:
    first = session.mark_region(RECT)
    _paint(session)
    session.mark_region(Rect(500, 500, 128, 128))
    session.open_region(first.id)
    assert (session.edit.values[:64] == 2).all()


def test_undo_brings_the_strokes_back_under_the_brush(session: Session) -> None:
    region = session.mark_region(RECT)
    _paint(session)
    session.accept()
    session.undo()
    assert not session.project.labels("a").read(RECT).any()
    assert session.project.region(region.id).state is RegionState.REVIEW
    assert (session.edit.values[:64] == 2).all()
    session.redo()
    assert (session.project.labels("a").read(RECT)[:64] == 2).all()
    assert session.project.region(region.id).state is RegionState.ACCEPTED
    assert session.edit is None
    assert not session.drafts.region_ids()


def test_undo_with_nothing_to_undo(session: Session) -> None:
    assert session.undo() is None
    assert session.redo() is None
    assert session.next_undo() is None
    assert session.next_redo() is None


def test_skip_and_hold_out(session: Session) -> None:
    region = session.mark_region(RECT)
    session.hold_out(True)
    assert session.project.region(region.id).split is Split.VAL
    session.hold_out(False)
    assert session.project.region(region.id).split is Split.TRAIN
    session.skip()
    assert session.project.region(region.id).state is RegionState.SKIPPED
    assert session.queue() == []
    session.undo()
    session.undo()
    assert session.project.region(region.id).split is Split.VAL
    assert session.edit.region.split is Split.VAL
    session.undo()
    assert session.edit.region.split is Split.TRAIN
    assert session.undo() is None
    for split in (Split.VAL, Split.TRAIN):
        session.redo()
        assert session.edit.region.split is split
    session.redo()
    assert session.edit is None
    assert session.project.region(region.id).state is RegionState.SKIPPED
    assert session.redo() is None


def test_skip_keeps_the_strokes(session: Session) -> None:
    region = session.mark_region(RECT)
    _paint(session)
    session.skip()
    assert session.drafts.region_ids() == [region.id]
    assert session.next_undo().verb == "skip"
    session.undo()
    assert session.edit.region.id == region.id
    assert session.edit.region.state is RegionState.REVIEW
    assert (session.edit.values[:64] == 2).all()


def test_accept_and_skip_are_taken_back_in_their_order(session: Session) -> None:
    first = session.mark_region(RECT)
    _paint(session)
    session.accept()
    second = session.mark_region(Rect(500, 500, 128, 128))
    session.skip()
    assert session.undo().verb == "skip"
    assert session.edit.region.id == second.id
    assert session.undo().verb == "accept"
    assert session.edit.region.id == first.id
    assert not session.project.labels("a").read(RECT).any()
    session.redo()
    session.redo()
    assert session.edit is None
    states = [each.state for each in session.project.regions()]
    assert states == [RegionState.ACCEPTED, RegionState.SKIPPED]


def test_an_import_is_taken_back_as_one(session: Session, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "mask.png"
    Image.fromarray(np.full((1024, 1024), 1, np.uint8)).save(path)
    session.import_labels(path)
    assert session.next_undo().verb == "import"
    session.undo()
    assert session.labelled_values() == set()
    session.redo()
    assert session.labelled_values() == {2}


@pytest.mark.parametrize("restart", [False, True])
def test_redo_never_takes_strokes_painted_since(session, drawn_path, tmp_path, restart) -> None:
    shutil.copy(drawn_path, tmp_path / "b.tif")
    session.add_slide(tmp_path / "b.tif")
    session.show_slide("a")
    region = session.mark_region(RECT)
    _paint(session)
    session.accept()
    session.undo()
    _paint(session, 3)
    session.show_slide("b")
    if restart:
        root = session.project.root
        session.close()
        session.open(root)
    assert session.next_redo() is None
    assert session.redo() is None
    session.open_region(region.id)
    assert (session.edit.values[:64] == 3).all()


@pytest.mark.parametrize("restart", [False, True])
def test_redo_after_nothing_was_painted(session: Session, restart: bool) -> None:
    region = session.mark_region(RECT)
    _paint(session)
    session.accept()
    session.undo()
    if restart:
        root = session.project.root
        session.close()
        session.open(root)
    assert session.redo().verb == "accept"
    assert session.project.region(region.id).state is RegionState.ACCEPTED
    assert (session.project.labels("a").read(RECT)[:64] == 2).all()


@pytest.mark.parametrize(
    ("rect", "words"),
    [(Rect(5000, 5000, 256, 256), "at least 16"), (Rect(1020, 0, 256, 256), "at least 16")],
)
def test_a_region_off_the_slide_is_refused(session: Session, rect: Rect, words: str) -> None:
    with pytest.raises(DataError, match=words):
        session.mark_region(rect)


def test_verbs_without_a_region_say_what_to_press(session: Session) -> None:
    for verb in (session.accept, session.skip, lambda: session.hold_out(True)):
        with pytest.raises(ProjectError, match="Press Next region or Mark region"):
            verb()


def test_verbs_without_a_project_say_what_to_press() -> None:
    session = Session()
    with pytest.raises(ProjectError, match="No project is open"):
        session.add_slide(Path("x.tif"))
    with pytest.raises(ProjectError, match="No slide is shown"):
        session.mark_region(RECT)
    assert session.queue() == []
    assert session.rounds() == []


def test_a_slide_without_pixel_size_is_asked_about(session: Session, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "plain.png"
    Image.fromarray(np.full((300, 400, 3), 180, np.uint8)).save(path)
    with pytest.raises(SpacingError):
        session.add_slide(path)
    assert session.add_slide(path, spacing_um=1.0).shape_yx == (600, 800)
    assert session.slide == "plain"


def test_a_slide_that_moved_is_found_again(session: Session, tmp_path: Path, drawn_path) -> None:
    here = tmp_path / "here.tif"
    shutil.copy(drawn_path, here)
    session.add_slide(here)
    session.show_slide("a")
    root = session.project.root
    session.close()
    there = tmp_path / "there"
    there.mkdir()
    here.rename(there / "here.tif")
    session.open(root)
    with pytest.raises(SlideError, match="Relocate"):
        session.show_slide("here")
    assert session.slide == "a"
    session.relocate_slide("here", there / "here.tif")
    assert session.slide == "here"


def test_the_queue_begins_with_what_was_begun(session: Session) -> None:
    project = session.project
    low = project.add_region("a", Rect(0, 0, 64, 64), state=RegionState.PREDICTED, score=0.1)
    high = project.add_region("a", Rect(0, 64, 64, 64), state=RegionState.PREDICTED, score=0.9)
    begun = session.mark_region(RECT)
    assert [each.id for each in session.queue()] == [begun.id, high.id, low.id]


def test_import_labels_from_a_mask(session: Session, tmp_path: Path) -> None:
    from PIL import Image

    mask = np.full((1024, 1024), 255, np.uint8)
    mask[:100, :100] = 1
    path = tmp_path / "mask.png"
    Image.fromarray(mask).save(path)
    session.import_labels(path)
    assert session.labelled_values() == {2}
    wrong = tmp_path / "small.png"
    Image.fromarray(mask[:50]).save(wrong)
    with pytest.raises(DataError):
        session.import_labels(wrong)


def test_a_full_disk_keeps_the_strokes(session: Session, monkeypatch) -> None:
    session.mark_region(RECT)
    _paint(session)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("napari_unisemalign.session.drafts.np.savez_compressed", full)
        with pytest.raises(ProjectError, match="full"):
            session.save_draft()
    assert session.edit.dirty
    assert not list(session.drafts.folder.glob("*"))
    session.save_draft()
    assert session.drafts.region_ids()


def test_a_full_disk_holds_the_project_open(session: Session, monkeypatch, tmp_path) -> None:
    session.mark_region(RECT)
    _paint(session)
    project = session.project

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("napari_unisemalign.session.drafts.np.savez_compressed", full)
        for close in (
            session.close,
            lambda: session.create(tmp_path / "other.unisem", classes=["x", "y"]),
            session.close_region,
            session.skip,
        ):
            with pytest.raises(ProjectError, match="full"):
                close()
            assert session.project is project
            assert (session.edit.values[:64] == 2).all()
    other = Session()
    other.open(tmp_path / "other.unisem")  # nobody holds it
    other.close()
    rescued = session.rescue_strokes()
    assert rescued.name == f"region-{session.edit.region.id}.npz"
    rescued.unlink()
    rescued.parent.rmdir()
    session.save_draft()
    assert session.rescue_strokes() is None


def test_a_damaged_draft_is_told_and_kept(session: Session) -> None:
    region = session.mark_region(RECT)
    _paint(session)
    session.close_region()
    session.drafts.path(region.id).write_bytes(b"torn")
    told = []
    session.warned.connect(told.append)
    session.open_region(region.id)
    assert "cannot be shown" in told[0]
    assert not session.edit.restored
    _paint(session)
    session.save_draft()
    [kept] = session.drafts.folder.glob("*damaged*")
    assert kept.read_bytes() == b"torn"


def test_nothing_is_read_twice(session: Session, with_model) -> None:
    with_model(session.project)
    session.mark_region(RECT)
    resolve_state(session)
    queries = []
    connection = session.project._database._connection
    connection.set_trace_callback(queries.append)
    state = resolve_state(session)
    assert not [each for each in queries if "PRAGMA" not in each]
    session.project.add_region("a", Rect(0, 0, 64, 64), state=RegionState.PREDICTED)
    assert len(resolve_state(session).queue) == len(state.queue) + 1
    connection.set_trace_callback(None)


def test_what_other_processes_write_is_seen(session: Session) -> None:
    assert not session.queue()
    with Project.open(session.project.root) as other:
        other.add_region("a", Rect(0, 0, 64, 64), state=RegionState.PREDICTED)
    assert len(session.queue()) == 1


def test_every_change_is_told(session: Session) -> None:
    told = []
    session.changed.connect(told.append)
    session.mark_region(RECT)
    assert Change.REGIONS in told[-1]
    _paint(session)
    assert told[-1] == Change.EDIT
    session.accept()
    assert any(Change.LABELS in each for each in told)
    session.set_live(True)
    assert told[-1] == Change.LIVE
    count = len(told)
    session.set_live(True)
    assert len(told) == count, "nothing changed"


def test_opening_the_open_project_again_changes_nothing(session: Session, root) -> None:
    session.mark_region(RECT)
    edit, project = session.edit, session.project
    session.open(root)
    assert session.project is project
    assert session.edit is edit


def test_a_project_moved_while_open_gets_no_half_of_its_labels(session: Session, root) -> None:
    session.mark_region(RECT)
    session.edit.values[:] = 1
    moved = root.with_name("moved")
    root.rename(moved)
    with pytest.raises(ProjectError, match="Move it back"):
        session.accept()
    assert not root.exists()
    moved.rename(root)
    session.accept()
    assert session.labelled_values() == {1}


def test_a_round_that_still_learns_is_not_settled(session, with_model) -> None:
    assert session.settled_round() is None
    first, second = (with_model(session.project) for _ in range(2))
    assert session.settled_round().number == second
    session.set_training(TrainingProgress(round=second))
    assert session.settled_round().number == first
    assert session.latest_round().number == second
