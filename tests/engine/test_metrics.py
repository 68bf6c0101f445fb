import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisemalign.errors import DataError
from unisemalign.metrics import OverlapScores


def test_pooled_over_images_not_a_mean_of_images():
    """methods.md G: one image without gland must not count as a Dice of its own."""
    scores = OverlapScores(2)
    truth = np.zeros((10, 10), np.uint8)
    truth[:5] = 1
    predicted = np.zeros((10, 10), np.uint8)
    predicted[:4] = 1
    scores.add(predicted, truth)
    empty = np.zeros((10, 10), np.uint8)
    wrong = empty.copy()
    wrong[0] = 1
    scores.add(wrong, empty)
    # gland: intersection 40, union 50 + 10; background: intersection 50 + 90, union 60 + 100.
    assert scores.jaccard == pytest.approx([140 / 160, 40 / 60])
    assert scores.dice == pytest.approx([280 / 300, 80 / 100])
    assert scores.summary()["mdice"] == pytest.approx((280 / 300 + 0.8) / 2)
    assert scores.summary()["foreground_dice"] == pytest.approx(0.8)


def test_an_image_without_gland_weighs_as_much_as_any_other():
    """methods.md A7: per image, the classes are averaged first, then the images."""
    scores = OverlapScores(2)
    # background: 2·1 / (2 + 1); gland: 2·2 / (2 + 3).
    scores.add(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]]))
    # All right, and no gland on either side: the background alone counts.
    scores.add(np.zeros((1, 4), int), np.zeros((1, 4), int))
    assert scores.image_mdice == pytest.approx([(2 / 3 + 4 / 5) / 2, 1.0])
    assert scores.summary()["per_image_mdice"] == pytest.approx((11 / 15 + 1) / 2)
    # Nothing to judge: not an image of its own Dice.
    scores.add(np.zeros((1, 4), int), np.full((1, 4), 255))
    assert scores.image_mdice[2] is None
    assert scores.summary()["per_image_mdice"] == pytest.approx((11 / 15 + 1) / 2)
    assert scores.summary()["images"] == 3


def test_ignored_pixels_do_not_count_and_unpredicted_ones_miss():
    scores = OverlapScores(2)
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    scores.add(np.array([[0, 255, 1, 0]], np.uint8), truth)
    assert scores.dice == pytest.approx([2 / 3, 1.0])


@given(st.integers(0, 2**32 - 1))
def test_jaccard_follows_dice(seed):
    rng = np.random.default_rng(seed)
    scores = OverlapScores(3)
    scores.add(rng.integers(0, 3, (9, 9)), rng.integers(0, 3, (9, 9)))
    dice, jaccard = scores.dice, scores.jaccard
    known = ~np.isnan(dice)
    assert jaccard[known] == pytest.approx(dice[known] / (2 - dice[known]))


def test_absent_class_is_undefined_not_perfect():
    scores = OverlapScores(3)
    scores.add(np.zeros((2, 2), int), np.zeros((2, 2), int))
    assert scores.summary()["dice_per_class"] == [1.0, None, None]
    assert scores.summary()["mdice"] == 1.0


def test_shapes_and_values_are_checked():
    scores = OverlapScores(2)
    with pytest.raises(DataError, match="same shape"):
        scores.add(np.zeros((2, 2), int), np.zeros((3, 2), int))
    with pytest.raises(DataError, match="found 7"):
        scores.add(np.zeros((1, 1), int), np.full((1, 1), 7))
