"""Precision, compiling, and the wait for crops."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters

from tests.engine.conftest import QUICK
from unisemalign.cli.terminal import ProgressBarEvents
from unisemalign.errors import SettingsError
from unisemalign.inference import load_predictor, score_split
from unisemalign.project import Split
from unisemalign.protocol import Cancelled, Start, Step
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import compiling, train_round
from unisemalign.training.compiling import WORTH_STEPS, should_compile
from unisemalign.training.waiting import DataWait


class Told:
    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event.fields())

    def texts(self):
        return [e["text"] for e in self.events if e["event"] == "message"]


def settings(**more):
    return build_settings(overrides={**QUICK, "training.start_from": "scratch", **more})


def close(a, b, tolerance):
    assert a.keys() == b.keys()
    return all(torch.allclose(a[k].float(), b[k].float(), atol=tolerance) for k in a)


def test_a_round_in_bfloat16_keeps_float32_weights_and_segments_as_it_learned(study):
    once = {"training.validate_every": QUICK["training.steps"]}  # the best weights are the last
    plain = train_round(study, settings(**once), events=SilentEvents())
    done = train_round(study, settings(**once, precision="bfloat16"), events=SilentEvents())
    mine, theirs = (load_file(r.folder / "best.safetensors") for r in (done, plain))
    assert {v.dtype for v in mine.values()} == {v.dtype for v in theirs.values()}
    assert not close(mine, theirs, 0)
    assert close(mine, theirs, 0.1)
    predictors = [
        load_predictor(study, done.number, overrides)[0]
        for overrides in ([], ["precision=float32"], ["precision=auto"])
    ]
    assert [p.precision for p in predictors] == [torch.bfloat16, torch.float32, torch.float32]
    assert predictors[1].identity == predictors[2].identity != predictors[0].identity
    scores = [score_split(study, p, Split.VAL).summary()["mdice"] for p in predictors[:2]]
    assert done.scores.best_val.mdice == scores[0]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


def test_other_settings_still_may_not_change_after_training(study):
    train_round(study, settings(), events=SilentEvents())
    with pytest.raises(SettingsError, match="device and precision can change"):
        load_predictor(study, None, ["training.steps=3"])


@pytest.mark.parametrize(
    ("choice", "kind", "steps", "wanted"),
    [
        ("auto", "cpu", 10**6, False),
        ("auto", "cuda", WORTH_STEPS, True),
        ("auto", "cuda", WORTH_STEPS - 1, False),
        ("on", "cpu", 1, True),
        ("off", "cuda", 10**6, False),
    ],
)
def test_compiling_is_for_long_rounds_on_a_gpu(monkeypatch, choice, kind, steps, wanted):
    monkeypatch.setattr(compiling, "find_spec", lambda name: name)
    assert should_compile(choice, torch.device(kind), steps) is wanted


def test_without_triton_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert not should_compile("auto", torch.device("cuda"), 10**6)


def test_a_compiled_round_has_the_names_and_numbers_of_a_plain_one(study, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "eager")  # traced as ever, no C++ compiler wanted
    told, short = Told(), {"training.steps": 2, "training.validate_every": 2}
    plain = train_round(study, settings(**short), events=SilentEvents())
    counters.clear()
    done = train_round(study, settings(**short, **{"training.compile": "on"}), events=told)
    assert told.texts() == [done.scores.verdict()]
    assert counters["frames"]["ok"] > 3  # the probe, encoder, decoder, pixels
    for name in ("best.safetensors", "last.pt"):
        load = load_file if name.startswith("best") else read_method
        assert close(load(done.folder / name), load(plain.folder / name), 1e-4)


def read_method(path):
    return torch.load(path, weights_only=True)["method"]


def test_a_machine_that_cannot_compile_is_told_and_trains(study, monkeypatch):
    def no_compiler(*_arguments, **_options):
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", no_compiler)
    told = Told()
    done = train_round(study, settings(**{"training.compile": "on"}), events=told)
    assert done.state == "done"
    (text,) = told.texts()
    assert "(no C++ compiler)" in text
    assert "goes on without" in text


def test_the_wait_is_a_share_of_the_steps_after_the_first():
    wait = DataWait()
    wait.add(5.0, 1.0)
    assert wait.share == 0
    for _ in range(19):
        assert wait.warning() is None
        wait.add(0.25, 0.75)
    assert wait.share == pytest.approx(0.25)
    assert wait.waited_s == pytest.approx(5 + 19 * 0.25)
    assert "25 % of the time" in wait.warning()
    assert wait.warning() is None


def test_a_short_wait_is_no_matter():
    wait = DataWait()
    for _ in range(40):
        wait.add(0.05, 0.95)
    assert wait.warning() is None


def test_the_wait_is_told_each_step_and_in_the_scores(study):
    told = Told()
    done = train_round(study, settings(), events=told)
    shares = [e["wait_share"] for e in told.events if e["event"] == "step"]
    assert len(shares) == 6
    assert all(0 <= share <= 1 for share in shares)
    assert json.loads((done.folder / "scores.json").read_text())["wait_share"] == shares[-1]


def test_a_round_that_waits_warns(study, monkeypatch):
    monkeypatch.setattr(DataWait, "share", 0.4)
    told = Told()
    train_round(study, settings(**{"training.steps": 22}), events=told)
    assert [text for text in told.texts() if "waits for its crops 40 %" in text] != []
    assert len(told.texts()) == 1


def test_the_bar_shows_the_wait(capsys):
    bar = ProgressBarEvents()
    bar.emit(Start(what="Training round 1", total=2))
    bar.emit(Step(step=1, total=2, loss=0.5, eta_s=None, wait_share=0.12))
    bar.emit(Cancelled(text="Stopped."))
    assert "12 % waiting for crops" in capsys.readouterr().err.replace("\n", " ")
