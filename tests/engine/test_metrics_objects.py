"""Object scores by hand: every case small enough to count on a sheet of squared paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisemalign.errors import DataError
from unisemalign.metrics import ObjectScores, Scores


def canvas(*rects, shape=(12, 24), value=1):
    """Return a mask with ``value`` in each (y0, y1, x0, x1)."""
    mask = np.zeros(shape, np.uint8)
    for y0, y1, x0, x1 in rects:
        mask[y0:y1, x0:x1] = value
    return mask


def scored(predicted, truth, n_classes=2):
    scores = ObjectScores(n_classes)
    scores.add(predicted, truth)
    return scores


LEFT, RIGHT = (0, 10, 0, 4), (0, 10, 10, 20)  # 40 and 100 pixels


def test_perfect():
    mask = canvas(LEFT, RIGHT)
    assert scored(mask, mask).summary() == {"object_dice": 1.0, "object_f1": 1.0}


def test_one_missed_weighs_its_area():
    scores = scored(canvas(RIGHT), canvas(LEFT, RIGHT))
    # TP 1, FN 1. Segmented side: 1. True side: 100 of 140 pixels at 1, the rest at 0.
    assert scores.f1 == pytest.approx([2 / 3])
    assert scores.dice == pytest.approx([(1 + 100 / 140) / 2])


def test_one_invented_weighs_its_area():
    scores = scored(canvas(LEFT, RIGHT), canvas(RIGHT))
    assert scores.f1 == pytest.approx([2 / 3])
    assert scores.dice == pytest.approx([(1 + 100 / 140) / 2])


def test_one_split_is_found_by_its_larger_part():
    # 100 true pixels; segmented as 60 and 30, with a gap of one column.
    scores = scored(canvas((0, 10, 10, 16), (0, 10, 17, 20)), canvas(RIGHT))
    assert scores.f1 == pytest.approx([2 * 1 / (2 * 1 + 1 + 0)])
    parts = (60 / 90) * (120 / 160) + (30 / 90) * (60 / 130)
    assert scores.dice == pytest.approx([(parts + 120 / 160) / 2])


def test_half_is_enough():
    truth = canvas((0, 2, 0, 21))  # 42 pixels
    almost = canvas((0, 2, 0, 10))  # 20
    half = almost.copy()
    half[0, 10] = 1  # 21
    assert scored(almost, truth).f1 == pytest.approx([0])
    assert scored(half, truth).f1 == pytest.approx([1])


def test_one_merged_finds_the_larger_only():
    merged = canvas(LEFT, RIGHT, (0, 1, 4, 10))  # 40 + 100 + a bridge of 6
    scores = scored(merged, canvas(LEFT, RIGHT))
    assert scores.f1 == pytest.approx([2 / (2 + 0 + 1)])
    segmented = 2 * 100 / (146 + 100)
    true = (40 / 140) * (80 / 186) + (100 / 140) * (200 / 246)
    assert scores.dice == pytest.approx([(segmented + true) / 2])


def test_corners_join():
    mask = np.eye(4, dtype=np.uint8)
    apart = mask.copy()
    apart[1, 1] = 0  # 1 and 2 pixels: a false positive, and one that covers half of four
    assert scored(apart, mask).f1 == pytest.approx([2 / 3])


@pytest.mark.parametrize("empty_side", ["truth", "prediction"])
def test_nothing_on_one_side_is_zero(empty_side):
    mask, empty = canvas(LEFT, RIGHT), canvas()
    pair = (mask, empty) if empty_side == "truth" else (empty, mask)
    assert scored(*pair).summary() == {"object_dice": 0.0, "object_f1": 0.0}


def test_nothing_on_both_sides_is_undefined():
    assert scored(canvas(), canvas()).summary() == {"object_dice": None, "object_f1": None}
    assert ObjectScores(2).summary() == {"object_dice": None, "object_f1": None}


def test_ignored_pixels_belong_to_no_object():
    truth = canvas(LEFT, RIGHT)
    truth[:, 4:10] = 255
    merged = canvas(LEFT, RIGHT, (0, 1, 4, 10))  # its bridge is not judged
    assert scored(merged, truth).summary() == {"object_dice": 1.0, "object_f1": 1.0}


def test_unpredicted_pixels_belong_to_no_object():
    predicted = canvas(LEFT, RIGHT)
    predicted[predicted == 0] = 255
    assert scored(predicted, canvas(LEFT, RIGHT)).summary()["object_f1"] == 1.0


def test_mean_over_foreground_classes_that_occur():
    truth = canvas(LEFT) + canvas(RIGHT, value=2)
    scores = scored(canvas(LEFT), truth, n_classes=4)
    assert scores.f1 == pytest.approx([1, 0, np.nan], nan_ok=True)
    assert scores.dice == pytest.approx([1, 0, np.nan], nan_ok=True)
    assert scores.summary() == {"object_dice": 0.5, "object_f1": 0.5}
    # A class that is only confused with another is wrong in both.
    assert scored(2 * canvas(LEFT), canvas(LEFT), 3).f1 == pytest.approx([0, 0])


def test_pooled_over_images_as_the_challenge_pools():
    scores = ObjectScores(2)
    scores.add(canvas(LEFT), canvas(LEFT))
    scores.add(canvas(LEFT), canvas(RIGHT))
    # TP 1, FP 1, FN 1; 40 of 80 segmented and 40 of 140 true pixels at Dice 1.
    assert scores.f1 == pytest.approx([0.5])
    assert scores.dice == pytest.approx([(40 / 80 + 40 / 140) / 2])


def by_the_book(predicted, truth):
    """Return object Dice and F1 of one class in one image, object by object."""
    from skimage.measure import label

    sides = [label(mask == 1, connectivity=2) for mask in (predicted, truth)]
    objects = [[side == n for n in range(1, side.max() + 1)] for side in sides]

    def direction(mine, others):
        total = sum(m.sum() for m in mine)
        value = 0.0
        for m in mine:
            best = max(others, key=lambda o: (m & o).sum(), default=None)
            if best is not None and (m & best).any():
                value += m.sum() / total * 2 * (m & best).sum() / (m.sum() + best.sum())
        return value

    found = set()
    for m in objects[0]:
        shared = [(m & o).sum() for o in objects[1]]
        if shared and max(shared) > 0:
            which = int(np.argmax(shared))
            if 2 * shared[which] >= objects[1][which].sum():
                found.add(which)
    counted = len(objects[0]) + len(objects[1])
    dice = (direction(*objects) + direction(*objects[::-1])) / 2
    return (dice, 2 * len(found) / counted) if counted else (np.nan, np.nan)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.6))
def test_as_object_by_object(seed, share):
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.random((4, 4)) < share, np.ones((3, 3))).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.2, 1 - truth, truth)
    dice, f1 = by_the_book(predicted, truth)
    scores = scored(predicted, truth)
    assert scores.f1 == pytest.approx([f1], nan_ok=True)
    assert scores.dice == pytest.approx([dice], nan_ok=True)


def test_a_summary_holds_pixels_and_objects():
    scores = Scores(2)
    scores.add(canvas(RIGHT), canvas(LEFT, RIGHT))
    summary = scores.summary()
    assert summary["images"] == 1
    assert summary["foreground_dice"] == pytest.approx(200 / 240)
    assert summary["object_f1"] == pytest.approx(2 / 3)


def test_shapes_and_values_are_checked():
    scores = ObjectScores(2)
    with pytest.raises(DataError, match="same shape"):
        scores.add(np.zeros((2, 2), int), np.zeros((3, 2), int))
    with pytest.raises(DataError, match="found 7"):
        scores.add(np.zeros((1, 1), int), np.full((1, 1), 7))
