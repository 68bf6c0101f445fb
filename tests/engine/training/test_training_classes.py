"""A class that falls while a round trains is seen, told, and weighs in what is kept."""

import json

import numpy as np
import pytest

from tests.engine.conftest import QUICK
from unisemalign.metrics import OverlapScores
from unisemalign.runtime import CancelToken, SilentEvents, read_log
from unisemalign.settings import build_settings
from unisemalign.training import train_round, validation
from unisemalign.training.class_dice import ClassWatch, paired_noise, pooled_dice, suits_better


def counts(*dice, union=1000):
    """Images whose Dice are these: I = U·d/(2 − d)."""
    return np.array([[round(union * d / (2 - d)), union] for d in dice])


def test_counts_of_each_image_add_up_to_the_pooled_dice():
    scores = OverlapScores(2)
    rng = np.random.default_rng(0)
    for _ in range(3):
        scores.add(rng.integers(0, 2, (20, 20)), rng.integers(0, 2, (20, 20)))
    assert [pooled_dice(each) for each in scores.class_counts()] == pytest.approx(scores.dice)
    assert [len(each) for each in scores.class_counts()] == [3, 3]


def test_noise_is_that_of_the_difference_on_the_same_images():
    hard_and_easy = counts(0.1, 0.9, 0.5, 0.95, 0.2)
    assert paired_noise(hard_and_easy, hard_and_easy) == 0.01  # alike on every image: none
    steady = paired_noise(counts(*[0.8] * 8), counts(*[0.6] * 8))
    wild = paired_noise(counts(*[0.8] * 8), counts(*[0.9, 0.3] * 4))
    assert steady < 0.02 < 0.1 < wild
    assert paired_noise(counts(0.8, 0.7), counts(0.5, 0.1)) == 0.05
    # By hand: leaving out image k changes the difference of sums by its own share.
    one, two = np.array([[1, 3], [2, 4], [3, 5]]), np.array([[1, 4], [1, 4], [3, 5]])
    without = []
    for k in range(3):
        a, b = np.delete(one, k, 0).sum(0), np.delete(two, k, 0).sum(0)
        without.append(2 * a[0] / a.sum() - 2 * b[0] / b.sum())
    error = np.sqrt(2 / 3 * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert paired_noise(one, two) == pytest.approx(2 * error)


def test_a_fall_beyond_the_noise_is_named_and_one_within_is_not():
    watch = ClassWatch(["tumour", "normal"])
    assert watch.see([counts(*[0.8] * 6), counts(*[0.6] * 6)], 100) == []
    (fall,) = watch.see([counts(*[0.85] * 6), counts(*[0.4] * 6)], 200)
    assert (fall.name, fall.step) == ("normal", 100)
    assert (fall.best, fall.now) == pytest.approx((0.6, 0.4), abs=1e-3)
    assert "'normal' fell to 40.0, from 60.0 at step 100" in fall.sentence()
    wild = [0.05, 0.9] * 3
    assert watch.see([counts(*[0.85] * 6), counts(*wild)], 300) == []


def test_a_rise_of_one_class_does_not_buy_the_fall_of_another():
    kept = [counts(*[0.80] * 6), counts(*[0.60] * 6)]
    assert suits_better(kept, kept)
    # The mean rises from 70 to 72, and a class is lost.
    assert not suits_better([counts(*[0.99] * 6), counts(*[0.45] * 6)], kept)
    # Within the noise a fall is none; a rise of more than twice the fall is worth it.
    assert suits_better([counts(*[0.90] * 6), counts(*[0.59] * 6)], kept)
    assert suits_better([counts(*[0.99] * 6), counts(*[0.52] * 6)], kept)
    assert not suits_better([counts(*[0.79] * 6), counts(*[0.60] * 6)], kept)


OTHERS = ("mjaccard", "foreground_dice", "per_image_mdice", "object_dice", "object_f1")


class Scripted:
    """In place of scoring: one list of counts a validation, in order."""

    def __init__(self, rows):
        self._rows = iter(rows)
        self.overlap = self

    def __call__(self, *_arguments, **_options):
        self._now = next(self._rows)
        return self

    def class_counts(self):
        return self._now

    def summary(self):
        dice = [pooled_dice(each) for each in self._now]
        none = dict.fromkeys(OTHERS)
        return {
            **none,
            "jaccard_per_class": [],
            "mdice": float(np.mean(dice)),
            "dice_per_class": dice,
            "images": 6,
        }


EARLY = [counts(*[0.80] * 6), counts(*[0.60] * 6)]
LATE = [counts(*[0.99] * 6), counts(*[0.45] * 6)]
SETTINGS = {**QUICK, "training.steps": 6, "training.validate_every": 2}


@pytest.mark.parametrize("stops", [False, True])
def test_a_round_keeps_the_step_that_suits_all_classes_and_says_which_fell(
    study, monkeypatch, stops
):
    """Over a stop as well: what was known of each class is in the checkpoint."""
    monkeypatch.setattr(validation, "score_split", Scripted([EARLY, LATE, LATE]))
    chosen = build_settings(overrides=SETTINGS)
    if stops:
        token = CancelToken()

        class Stop(SilentEvents):
            def emit(self, event):
                if event.event == "validation" and event.step == 2:
                    token.request()

        with pytest.raises(Exception, match="can be resumed"):
            train_round(study, chosen, events=Stop(), cancel=token)
    done = train_round(study, chosen if not stops else None, resume=stops, events=SilentEvents())
    assert done.scores.best_val.step == 2
    assert done.scores.last_val.step == 6
    assert json.loads((done.folder / "scores.json").read_text())["best_val"]["mdice"] < 0.71
    log = read_log(done.folder / "log.jsonl")
    told = [e for e in log if e.event == "validation"]
    assert [[f.name for f in e.fallen] for e in told] == [[], ["dots"], ["dots"]]
    assert told[1].fallen[0].step == 2
    sentences = [e.text for e in log if e.event == "message" and "fell to" in e.text]
    assert len(sentences) == 1  # once, not at every validation
    assert "'dots'" in sentences[0]
