"""Rounds whose crops come back: a fixed set of batches, and the frozen encoder's tokens kept."""

import shutil

import pytest
import torch

from tests.engine.conftest import QUICK
from unisemalign.errors import CancelledError, SettingsError
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import train_round
from unisemalign.training.batches import Batches
from unisemalign.training.tissue import open_tissue

KEPT = {
    **QUICK,
    "model.train_encoder": "no",
    "training.distinct_batches": 2,
    "training.cache_gb": 0.1,
    "training.start_from": "scratch",
}


def settings(**more):
    return build_settings(overrides={**KEPT, **more})


def tokens_of(study):
    return sorted((study.root / "cache").rglob("*.safetensors"))


def weights_of(done):
    return torch.load(done.folder / "last.pt", weights_only=True)["method"]


def equal(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


class AtStep:
    """Does something once a step is done."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def emit(self, event):
        if event.event == "step" and event.step == self.step:
            self.action()


def test_batches_come_back_each_once_a_turn(study):
    chosen = settings(**{"training.distinct_batches": 5})
    method = build_method(build_network(["a", "b"], chosen.model), chosen)
    batches = Batches(open_tissue(study), chosen, method.needs)
    turns = [[batches.place(5 * turn + k) for k in range(5)] for turn in range(4)]
    assert all(sorted(turn) == [0, 1, 2, 3, 4] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    drawn = list(batches.iterate(3, 7))
    for step, batch in enumerate(drawn, start=3):
        assert torch.equal(batch.images, batches.draw(batches.place(step)).images)


def test_a_wiped_cache_changes_nothing(study):
    whole = train_round(study, settings(), events=SilentEvents())
    kept = tokens_of(study)
    # Two batches of 2 labelled, 2 weak and 2 strong crops, and the windows of the val region.
    assert len(kept) == 12 + 6
    wipe = AtStep(3, lambda: shutil.rmtree(study.root / "cache"))
    shutil.rmtree(study.root / "cache")
    wiped = train_round(study, settings(), events=wipe)
    assert equal(weights_of(whole), weights_of(wiped))
    assert whole.scores.best_val == wiped.scores.best_val
    assert {path.name for path in tokens_of(study)} == {path.name for path in kept}


def test_a_resumed_round_with_a_cache_is_bit_identical(study):
    whole = train_round(study, settings(), events=SilentEvents())
    token = CancelToken()
    stopped = AtStep(3, token.request)
    with pytest.raises(CancelledError):
        train_round(study, settings(), events=stopped, cancel=token)
    tokens_of(study)[0].unlink()
    again = train_round(study, None, resume=True, events=SilentEvents())
    assert equal(weights_of(whole), weights_of(again))


def test_a_second_round_finds_what_the_first_one_kept(study):
    train_round(study, settings(), events=SilentEvents())
    before = {path: path.stat().st_ino for path in tokens_of(study)}
    second = train_round(study, settings(), events=SilentEvents())
    # Six steps of six crops, two validations of six windows.
    assert (second.scores.token_hits, second.scores.token_misses) == (48, 0)
    assert {path: path.stat().st_ino for path in tokens_of(study)} == before


def test_nothing_is_kept_unless_asked(study):
    train_round(study, settings(**{"training.cache_gb": 0.0}), events=SilentEvents())
    assert not tokens_of(study)
    assert not (study.root / "cache" / "tokens").exists()


def test_a_cache_without_crops_that_come_back_is_refused():
    with pytest.raises(SettingsError, match="distinct_batches above 0"):
        settings(**{"training.distinct_batches": 0})


def test_a_cache_with_a_trained_encoder_is_told(study):
    with pytest.raises(SettingsError, match="train_encoder=no"):
        train_round(study, settings(**{"model.train_encoder": "auto"}), events=SilentEvents())
