"""Predictions: pyramids, progress, other processes."""

from __future__ import annotations

import errno
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Project, chunks
from unisemalign.project.predictions import KINDS, PredictionStore
from unisemalign.project.pyramid import halve_majority, halve_mean
from unisemalign.protocol import FinishedNote

WHOLE = Rect(0, 0, 700, 900)


@pytest.fixture
def store(project):
    project.new_round(method="m", preset="p")
    return project.predictions(1, "a", create=True)


def _pixels(rect: Rect, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "classes": rng.integers(1, 3, rect.shape, np.uint8),
        "confidence": rng.integers(0, 256, rect.shape, np.uint8),
        "disagreement": rng.integers(0, 4, rect.shape, np.uint8),
    }


def test_a_prediction_is_read_back_by_another_process(project, store):
    rect = Rect(100, 200, 300, 400)
    given_pixels = _pixels(rect)
    store.write(rect, **given_pixels)
    with Project.open(project.root) as other:
        again = other.predictions(1, "a")
        for what, values in zip(KINDS, given_pixels.values(), strict=True):
            assert np.array_equal(again.read(rect, what), values)
        assert again.predicted_rects() == [Rect(0, 0, 512, 512), Rect(0, 512, 512, 388)]
        assert (again.n_levels, again.spacing_um, again.shape_yx) == (2, 0.5, (700, 900))
    assert not store.read(Rect(0, 0, 100, 900)).any()
    assert store.read(Rect(-5, -5, 10, 10)).shape == (10, 10)


def test_an_absent_prediction_is_told(project, store):
    project.new_round(method="m", preset="p")
    assert project.has_prediction(1, "a")
    assert not project.has_prediction(2, "a")
    with pytest.raises(ProjectError, match=r"Round 2 has no prediction of slide 'a'\. Segment"):
        project.predictions(2, "a")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(1, 698), max_size=3, unique=True))
def test_any_order_of_parts_gives_one_pyramid(tmp_path_factory, seed, cuts):
    pixels = _pixels(WHOLE, seed)
    folder = tmp_path_factory.mktemp("p")
    whole = PredictionStore.create(folder / "whole.zarr", (700, 900), 0.5)
    whole.write(WHOLE, **pixels)
    parts = PredictionStore.create(folder / "parts.zarr", (700, 900), 0.5)
    edges = [0, *sorted(cuts), 700]
    rects = [Rect(y, 0, y1 - y, 900) for y, y1 in itertools.pairwise(edges)]
    np.random.default_rng(seed).shuffle(rects)
    for rect in rects:
        parts.write(rect, **{key: values[rect.slices] for key, values in pixels.items()})
    for what in KINDS:
        for a, b in zip(whole.levels(what), parts.levels(what), strict=True):
            assert np.array_equal(a[:], b[:])


@settings(deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 4))
)
def test_majority_by_counting(values):
    padded = np.pad(values, ((0, values.shape[0] % 2), (0, values.shape[1] % 2)), mode="edge")
    halved = halve_majority(values)
    for (y, x), value in np.ndenumerate(halved):
        counts = np.bincount(padded[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel())
        assert value == np.flatnonzero(counts == counts.max()).max()


def test_the_mean_counts_predicted_pixels_only():
    values = np.array([[100, 200], [255, 255]], np.uint8)
    weights = np.array([[True, True], [False, False]])
    assert halve_mean(values, weights).tolist() == [[150]]
    assert halve_mean(values, weights & False).tolist() == [[0]]
    assert halve_mean(np.full((3, 3), 255, np.uint8), np.ones((3, 3), bool)).min() == 255


def test_what_does_not_fit_is_refused(store):
    pixels = _pixels(Rect(0, 0, 10, 10))
    with pytest.raises(DataError, match="inside the slide"):
        store.write(Rect(695, 0, 10, 10), **pixels)
    with pytest.raises(DataError, match="confidence needs uint8"):
        store.write(Rect(0, 0, 10, 10), **{**pixels, "confidence": np.zeros((10, 10))})
    assert store.predicted_rects() == []


def test_nothing_is_written_for_glass_but_what_was_predicted_can_be_taken_back(store, monkeypatch):
    rect = Rect(0, 512, 512, 388)
    glass = {key: np.zeros_like(values) for key, values in _pixels(rect).items()}
    written = []
    write_whole = chunks.write_whole
    monkeypatch.setattr(chunks, "write_whole", lambda *a: (written.append(a[0]), write_whole(*a)))
    store.write(rect, **glass)
    assert written == []
    store.write(rect, **_pixels(rect))
    store.write(rect, **glass)
    for what in KINDS:
        assert all(not level[:].any() for level in store.levels(what))
    assert store.predicted_rects() == []


def test_a_coarse_answer_lies_apart_and_goes_where_it_is_labelled(project, store):
    assert store.coarse_answers() == {}
    coarse = store.coarse(4)
    assert (coarse.shape_yx, coarse.spacing_um) == ((175, 225), 2.0)
    everything = Rect(0, 0, 175, 225)
    coarse.write(everything, **_pixels(everything))
    assert store.predicted_rects() == []
    assert all(not level[:].any() for what in KINDS for level in store.levels(what))
    seen = project.predictions(1, "a").coarse_answers()[4]
    rect = Rect(201, 0, 299, 900)
    store.write(rect, **_pixels(rect))
    left = seen.read(everything)
    assert not left[50:125].any()
    assert left[:50].all()
    assert left[125:].all()
    glass = {key: np.zeros_like(values) for key, values in _pixels(WHOLE).items()}
    store.write(WHOLE, **glass)
    for each in (store, seen):
        assert all(not level[:].any() for what in KINDS for level in each.levels(what))


def test_what_a_killed_writer_left_is_removed(project, store):
    store.write(WHOLE, **_pixels(WHOLE))
    store.write_finished(FinishedNote(model="a"))
    folder = project.root / "predictions" / "1"
    kept = sorted(folder.rglob("*"))
    for name in (".a.progress.json.1.part", "a.zarr/class/0/c/0/.1.2.part"):
        (folder / name).write_bytes(b"torn")
    (folder / ".a.zarr.3.part" / "class").mkdir(parents=True)
    store.remove_torn()
    assert sorted(folder.rglob("*")) == kept


def test_progress_is_kept(project, store):
    assert store.read_finished() is None
    note = FinishedNote(model="a", finished=(Rect(0, 0, 1, 2),))
    store.write_finished(note)
    assert project.predictions(1, "a", create=True).read_finished() == note


def test_a_full_disk_is_told(project, store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(chunks, "write_whole", full)
    with pytest.raises(ProjectError, match="is full"):
        store.write(WHOLE, **_pixels(WHOLE))
    project.new_round(method="m", preset="p")
    with pytest.raises(ProjectError, match="is full"):
        project.predictions(2, "a", create=True)
    assert not list((project.root / "predictions" / "2").iterdir())


def test_a_damaged_prediction_is_told(project, store):
    (project.root / "predictions" / "1" / "a.zarr" / "class" / "1" / "zarr.json").unlink()
    with pytest.raises(ProjectError, match="segment the slide again"):
        project.predictions(1, "a")
