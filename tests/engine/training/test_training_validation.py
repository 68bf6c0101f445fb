"""Which of a method's networks a round keeps."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.conftest import QUICK
from unisemalign.inference import Predictor, score_split
from unisemalign.methods import Supervised
from unisemalign.project import Split
from unisemalign.runtime import SilentEvents, read_log
from unisemalign.settings import METHODS, SupervisedSettings, build_settings
from unisemalign.settings.methods import registry
from unisemalign.training import last_network, train_round


class Pair(Supervised):
    """Its best guess is spoiled; the second network is the one that learns."""

    def __init__(self, student, settings):
        super().__init__(student, settings)
        self.spoiled = student.copied()
        for parameter in self.spoiled.decoder.classify.parameters():
            torch.nn.init.zeros_(parameter)
        self.spoiled.requires_grad_(False)

    def candidates(self):
        return {"spoiled": self.spoiled, "student": self.student}


@pytest.fixture
def pair(monkeypatch):
    known = registry.KnownMethod(SupervisedSettings, f"{__name__}:Pair")
    monkeypatch.setitem(METHODS, "supervised", known)


def test_the_better_candidate_is_kept_and_named(study, pair):
    more = {"training.steps": 30, "training.validate_every": 15, "method.ema": 0.0}
    chosen = build_settings(method="supervised", overrides={**QUICK, **more})
    done = train_round(study, chosen, events=SilentEvents())
    scores = json.loads((done.folder / "scores.json").read_text())
    assert scores["best_val"]["candidate"] == scores["last_val"]["candidate"] == "student"
    told = [e for e in read_log(done.folder / "log.jsonl") if e.event == "validation"]
    assert [e.candidate for e in told] == ["student", "student"]
    assert load_file(done.folder / "best.safetensors")["decoder.classify.weight"].abs().sum() > 0
    network, settings, _ = last_network(done.folder)
    last = score_split(study, Predictor(network, settings, torch.device("cpu")), Split.VAL)
    assert last.summary()["mdice"] == scores["last_val"]["mdice"]


def test_without_val_regions_the_first_candidate_is_kept(study, pair):
    for region in study.regions(slide="c"):
        study.set_region(region.id, split=Split.TEST)
    chosen = build_settings(method="supervised", overrides={**QUICK, "training.steps": 2})
    done = train_round(study, chosen, events=SilentEvents())
    assert load_file(done.folder / "best.safetensors")["decoder.classify.weight"].abs().sum() == 0
    network, _, _ = last_network(done.folder)
    assert network.decoder.classify.weight.abs().sum() == 0
