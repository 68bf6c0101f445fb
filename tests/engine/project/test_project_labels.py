"""Edits of labels: whole, journalled, undoable."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState, chunks

RECT = Rect(500, 100, 100, 500)  # over several chunks
WHOLE = Rect(0, 0, 700, 900)


def _full(rect: Rect, value: int) -> np.ndarray:
    return np.full(rect.shape, value, np.uint8)


def _state(project: Project) -> tuple[np.ndarray, np.ndarray]:
    store = project.labels("a")
    return store.read(WHOLE), store.read_origin(WHOLE)


def _same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_nothing_is_labelled_at_first(project):
    store = project.labels("a")
    assert store.shape_yx == (700, 900)
    assert store.labelled_rects() == []
    assert not store.read(Rect(-10, 890, 20, 20)).any()


def test_labels_and_origins_are_read_back(project):
    values = _full(RECT, 2)
    values[:, :10] = 0
    entry = project.write_labels("a", RECT, values, Origin.DRAWN, action="draw", round=None)
    store = project.labels("a")
    assert np.array_equal(store.read(RECT), values)
    assert np.array_equal(store.read_origin(RECT), np.where(values > 0, Origin.DRAWN, 0))
    assert store.labelled_rects() == [
        Rect(0, 0, 512, 512),
        Rect(0, 512, 512, 388),
        Rect(512, 0, 188, 512),
        Rect(512, 512, 188, 388),
    ]
    assert (entry.slide, entry.rect, entry.action, entry.state) == ("a", RECT, "draw", "done")
    assert project.journal() == [entry]
    over = store.read(Rect(690, 0, 20, 20))
    assert over.shape == (20, 20)
    assert store.read(Rect(595, 100, 10, 100))[:5, 10:].all()


def test_origins_may_differ_by_pixel(project):
    origin = _full(RECT, Origin.ACCEPTED)
    origin[0] = Origin.CORRECTED
    project.write_labels("a", RECT, _full(RECT, 1), origin, action="accept")
    assert np.array_equal(project.labels("a").read_origin(RECT), origin)


def test_erased_chunks_leave_the_disk(project):
    project.write_labels("a", RECT, _full(RECT, 1), Origin.DRAWN, action="draw")
    project.write_labels("a", RECT, _full(RECT, 0), Origin.DRAWN, action="erase")
    assert project.labels("a").labelled_rects() == []


@pytest.mark.parametrize(
    ("rect", "values", "origin", "sentence"),
    [
        (Rect(600, 0, 200, 10), _full(Rect(0, 0, 200, 10), 1), Origin.DRAWN, "inside the slide"),
        (RECT, _full(Rect(0, 0, 5, 5), 1), Origin.DRAWN, "shape (100, 500)"),
        (RECT, _full(RECT, 1).astype(np.int64), Origin.DRAWN, "found int64"),
        (RECT, _full(RECT, 3), Origin.DRAWN, "values 0…2, found 3"),
        (RECT, _full(RECT, 1), _full(RECT, 9), "values 0…4, found 9"),
        (RECT, _full(RECT, 1), _full(Rect(0, 0, 1, 1), 1), "origins needs"),
    ],
)
def test_what_does_not_fit_is_refused(project, rect, values, origin, sentence):
    with pytest.raises(DataError) as told:
        project.write_labels("a", rect, values, origin, action="draw")
    assert sentence in str(told.value)
    assert project.journal() == []


def test_undo_and_redo_across_reopening(project):
    states = [_state(project)]
    for value in (1, 2):
        rect = Rect(100 * value, 0, 300, 300)
        project.write_labels("a", rect, _full(rect, value), Origin.DRAWN, action="draw")
        states.append(_state(project))
    project.close()
    for wanted in (1, 0, None):
        with Project.open(project.root) as again:
            entry = again.undo()
            assert (entry is None) == (wanted is None)
            assert _same(_state(again), states[wanted or 0])
    for wanted in (1, 2, None):
        with Project.open(project.root) as again:
            entry = again.redo()
            assert (entry is None) == (wanted is None)
            assert _same(_state(again), states[2 if wanted is None else wanted])


def test_drawing_after_undo_ends_redo(project):
    project.write_labels("a", RECT, _full(RECT, 1), Origin.DRAWN, action="one")
    project.undo()
    project.write_labels("a", RECT, _full(RECT, 2), Origin.DRAWN, action="two")
    assert project.redo() is None
    assert [(each.action, each.state) for each in project.journal()] == [
        ("two", "done"),
        ("one", "superseded"),
    ]
    project.undo()
    assert project.undo() is None
    assert not project.labels("a").read(RECT).any()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moves=st.lists(
        st.one_of(
            st.sampled_from(["undo", "redo"]),
            st.tuples(st.integers(0, 600), st.integers(0, 800), st.integers(0, 2)),
        ),
        max_size=12,
    )
)
def test_undo_and_redo_follow_a_plain_history(project, moves):
    while project.undo():
        pass
    history = [_state(project)]
    # What an earlier example left to redo ends with the first edit.
    project.write_labels("a", RECT, _full(RECT, 1), Origin.DRAWN, action="draw")
    history.append(_state(project))
    place = 1
    for move in moves:
        if move == "undo":
            assert (project.undo() is not None) == (place > 0)
            place = max(0, place - 1)
        elif move == "redo":
            assert (project.redo() is not None) == (place < len(history) - 1)
            place = min(len(history) - 1, place + 1)
        else:
            rect = Rect(move[0], move[1], 100, 100)
            project.write_labels("a", rect, _full(rect, move[2]), Origin.DRAWN, action="draw")
            history = [*history[: place + 1], _state(project)]
            place += 1
        assert _same(_state(project), history[place])


def test_undoing_an_accepted_region_gives_it_back_its_state(project):
    region = project.add_region("a", RECT, state=RegionState.REVIEW)
    project.write_labels(
        "a", RECT, _full(RECT, 1), Origin.ACCEPTED, action="accept", region_id=region.id
    )
    project.set_region(region.id, state=RegionState.ACCEPTED)
    assert project.undo().region_id == region.id
    assert project.region(region.id).state == RegionState.REVIEW
    project.redo()
    assert project.region(region.id).state == RegionState.ACCEPTED


def test_a_region_of_another_slide_is_refused(project, draw_slide):
    project.add_slide(draw_slide("b.png"), spacing_um=0.5)
    region = project.add_region("b", RECT, state=RegionState.REVIEW)
    with pytest.raises(DataError, match="a region of that slide"):
        project.write_labels(
            "a", RECT, _full(RECT, 1), Origin.DRAWN, action="draw", region_id=region.id
        )


_KILLED = """
    import os, signal, sys
    import numpy as np
    from unisemalign.geometry import Rect
    from unisemalign.project import Origin, Project, chunks

    left = int(sys.argv[2])
    whole = chunks.write_whole

    def dying(path, content, durable):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        whole(path, content, durable)

    project = Project.open(sys.argv[1])
    rect = Rect(500, 100, 100, 500)
    chunks.write_whole = dying
    if sys.argv[3] == "write":
        project.write_labels("a", rect, np.full(rect.shape, 2, np.uint8), Origin.DRAWN, action="d")
    else:
        getattr(project, sys.argv[3])()
"""


def _killed(root: Path, writes: int, verb: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), str(root), str(writes), verb], check=False
    )
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a thing of POSIX")
@pytest.mark.parametrize("verb", ["write", "undo", "redo"])
@pytest.mark.parametrize("writes", [0, 3])
def test_a_kill_in_the_middle_leaves_whole_edits(project, verb, writes):
    project.write_labels("a", RECT, _full(RECT, 1), Origin.DRAWN, action="first")
    # A second layer, so that taking the edit back rewrites chunks rather than deletes them.
    project.write_labels("a", WHOLE, np.maximum(_state(project)[0], 1), Origin.DRAWN, action="base")
    project.undo()
    if verb == "undo":
        project.redo()
    before = _state(project)
    states = [each.state for each in project.journal()]
    assert states == ["done" if verb == "undo" else "undone", "done"]
    project.close()
    _killed(project.root, writes, verb)
    with Project.open(project.root) as again:
        # Nobody was told that it is done: it is not.
        assert _same(_state(again), before)
        assert [each.state for each in again.journal()] == states
        assert again.remarks == ()
        # And the journal goes on from there, redo included.
        if verb != "undo":
            assert again.redo().action == "base"
        assert (_state(again)[0] == 1).all()
        again.undo()
        assert _state(again)[0].sum() == RECT.area


def test_an_open_project_takes_back_what_another_left(project):
    _killed(project.root, 3, "write")
    rect = Rect(0, 0, 5, 5)
    project.write_labels("a", rect, _full(rect, 1), Origin.DRAWN, action="next")
    assert not project.labels("a").read(RECT).any()
    assert [(each.action, each.state) for each in project.journal()] == [("next", "done")]


@pytest.mark.parametrize("fails", [lambda n: n == 2, lambda n: n >= 2])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_what_was_there(project, monkeypatch, fails, code):
    project.write_labels("a", RECT, _full(RECT, 1), Origin.DRAWN, action="first")
    before = _state(project)
    whole, calls = chunks.write_whole, []

    def full(path, content, durable):
        calls.append(path)
        if fails(len(calls)):
            raise OSError(code, "No space left on device")
        whole(path, content, durable)

    monkeypatch.setattr(chunks, "write_whole", full)
    with pytest.raises(ProjectError, match=r"is full.*saved before is intact"):
        project.write_labels("a", RECT, _full(RECT, 2), Origin.DRAWN, action="second")
    monkeypatch.undo()
    if fails(99):
        # Not even the way back had room: the next opening goes it, and the edit stays undone.
        assert not _same(_state(project), before)
        with Project.open(project.root) as again:
            assert _same(_state(again), before)
            assert [each.action for each in again.journal()] == ["first"]
    assert _same(_state(project), before)
    assert not list(project.root.rglob("*.part"))
    project.write_labels("a", RECT, _full(RECT, 2), Origin.DRAWN, action="second")
    assert (project.labels("a").read(RECT) == 2).all()


def test_no_write_is_on_its_way_when_another_fails(project, monkeypatch):
    project.write_labels("a", RECT, _full(RECT, 1), Origin.DRAWN, action="first")
    before = _state(project)
    whole, calls = chunks.write_whole, []

    def full(path, content, durable):
        calls.append(path)
        if len(calls) == 1:
            time.sleep(0.5)  # a slow chunk: its content must not come after what is put back
        elif len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, content, durable)

    monkeypatch.setattr(chunks, "write_whole", full)
    with pytest.raises(ProjectError, match="is full"):
        project.write_labels("a", RECT, _full(RECT, 2), Origin.DRAWN, action="second")
    time.sleep(0.7)
    assert _same(_state(project), before)


def test_a_full_disk_under_the_database(project):
    limit = project._database.rows("PRAGMA page_count")[0][0]
    project._database.rows(f"PRAGMA max_page_count = {limit}")
    noise = np.random.default_rng(0).integers(0, 3, WHOLE.shape, np.uint8)
    with pytest.raises(ProjectError, match=r"Cannot write 'project\.sqlite'.*is full"):
        project.write_labels("a", WHOLE, noise, Origin.DRAWN, action="draw")
    assert project.journal() == []
    assert not project.labels("a").read(WHOLE).any()


def test_missing_labels_are_told(project):
    project.close()
    (project.root / "labels" / "a.zarr" / "zarr.json").unlink()
    with Project.open(project.root) as again, pytest.raises(ProjectError, match="from a backup"):
        again.labels("a")


_READER = """
    import sys
    from unisemalign.geometry import Rect
    from unisemalign.project import Project

    project = Project.open(sys.argv[1])
    store = project.labels("a")
    print("ready", flush=True)
    seen = set()
    while True:
        values = store.read(Rect(0, 0, 512, 512))
        assert values.min() == values.max(), "a torn chunk"
        seen.add(int(values[0, 0]))
        if any(each.action == "last" for each in project.journal(1)):
            break
    print(sorted(seen), flush=True)
"""


def test_a_second_process_reads_while_one_writes(project):
    rect = Rect(0, 0, 512, 512)
    project.write_labels("a", rect, _full(rect, 1), Origin.DRAWN, action="draw")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_READER), str(project.root)],
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout.readline() == "ready\n"
        for turn in range(60):
            project.write_labels("a", rect, _full(rect, 1 + turn % 2), Origin.DRAWN, action="draw")
        project.write_labels("a", rect, _full(rect, 1), Origin.DRAWN, action="last")
        assert reader.stdout.readline() == "[1, 2]\n"
    assert reader.returncode == 0
