"""Lazy arrays the read-only layers show."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unisemalign.levels import DoubtLevel, LabelLevel, label_levels, two_or_more
from unisemalign.geometry import Rect
from unisemalign.project import Origin


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
