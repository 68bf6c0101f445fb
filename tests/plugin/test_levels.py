"""Lazy arrays the read-only layers show."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unisemalign.canvas.lazy_levels import (
    DoubtLevel,
    LabelLevel,
    label_levels,
    prediction_levels,
    two_or_more,
)
from unisemalign.geometry import Rect
from unisemalign.project import Origin, PredictionStore


@pytest.fixture
def labelled(session):
    values = np.zeros((1024, 1024), np.uint8)
    values[300:420, 500:700] = np.arange(200, dtype=np.uint8) % 5 + 1
    rect = Rect(300, 500, 120, 200)
    session.project.write_labels("a", rect, values[rect.slices], Origin.DRAWN, action="draw")
    return session.project.labels("a"), values


@pytest.mark.parametrize("step", [1, 2, 3, 8])
def test_a_level_is_every_nth_pixel(labelled, step: int) -> None:
    store, values = labelled
    level = LabelLevel(store, step, store.labelled_rects())
    assert np.array_equal(np.asarray(level), values[::step, ::step])
    part = (slice(20, 97), slice(33, 131))
    assert np.array_equal(level[part], values[::step, ::step][part])


def test_levels_shrink(labelled) -> None:
    levels = label_levels(labelled[0])
    assert levels[0].shape == (1024, 1024)
    assert len(two_or_more(levels)) >= 2
    with pytest.raises(IndexError):
        levels[0][::2]


def test_doubt_is_confidence_turned_around() -> None:
    confidence = np.array([[255, 200, 0, 0]], np.uint8)
    classes = np.array([[1, 1, 1, 0]], np.uint8)
    assert DoubtLevel(confidence, classes)[:, :].tolist() == [[1, 55, 255, 0]]


def _predict(store: PredictionStore, rect: Rect, value: int) -> None:
    classes = np.full(rect.shape, value, np.uint8)
    store.write(rect, classes=classes, confidence=10 * classes, disagreement=classes // 2)


def test_a_coarse_answer_shows_where_there_is_no_finer_one(tmp_path) -> None:
    store = PredictionStore.create(tmp_path / "a.zarr", (1301, 1100), 0.5)
    levels = prediction_levels(store, "class")
    assert len(levels) == 3
    assert not np.asarray(levels[1]).any()
    _predict(store.coarse(4), Rect(10, 20, 300, 200), 4)
    _predict(store.coarse(2), Rect(0, 0, 100, 100), 2)
    _predict(store, Rect(40, 80, 7, 9), 1)
    expected = np.zeros((1301, 1100), np.uint8)
    expected[40:1240, 80:880] = 4
    expected[:200, :200] = 2
    doubt = prediction_levels(store, "confidence")
    for level in levels:
        level.set_coarse(store.coarse_answers())
    shown = np.asarray(levels[0])
    assert (shown[40:47, 80:89] == 1).all()
    away = np.ones(shown.shape, bool)
    away[36:52, 76:96] = False
    assert np.array_equal(shown[away], expected[away])
    assert np.array_equal(np.asarray(doubt[0])[away], 10 * expected[away])
    part = (slice(101, 333), slice(77, 951))
    assert np.array_equal(levels[0][part], shown[part])
    for step, level in ((2, levels[1]), (4, levels[2])):
        assert level.shape == (-(-1301 // step), -(-1100 // step))
        inside = np.asarray(level)[60 : 1200 // step, 60 : 860 // step]
        assert np.array_equal(inside, expected[::step, ::step][60 : 1200 // step, 60 : 860 // step])


def test_a_small_prediction_has_coarse_answers_too(tmp_path) -> None:
    store = PredictionStore.create(tmp_path / "a.zarr", (41, 30), 0.5)
    _predict(store.coarse(4), Rect(0, 0, 11, 8), 3)
    shown = np.asarray(two_or_more(prediction_levels(store, "class"))[0])
    assert shown.shape == (41, 30)
    assert (shown == 3).all()
