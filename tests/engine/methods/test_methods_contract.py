"""What every method must keep to: the loop, checkpoints and inference rely on it."""

import copy
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.engine.conftest import QUICK
from tests.engine.methods.drawn import SMALL, batch_for, sure_method
from unisemalign.cli.app import app
from unisemalign.geometry import Rect
from unisemalign.methods import Needs, build_method
from unisemalign.model import build_network, load_network, save_network
from unisemalign.model.checkpoints import trained_state
from unisemalign.project import Project, Split
from unisemalign.settings import METHODS, build_settings
from unisemalign.training.batches import Batches
from unisemalign.training.checkpoint import load_checkpoint, save_checkpoint
from unisemalign.training.loop import train_step
from unisemalign.training.optimiser import build_optimiser
from unisemalign.training.tissue import open_tissue

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"
LATE = 100_000
"""A step at which every ramp is over and every first stage done."""

every_method = pytest.mark.parametrize("name", METHODS)


def settings_of(name, **more):
    return build_settings(method=name, overrides={**SMALL, "training.steps": 10, **more})


def late_method(name, **more):
    method = sure_method(settings_of(name, **more))
    method.step = LATE
    return method


def states_equal(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(one[k], two[k]) for k in one)


@every_method
def test_the_loss_is_a_number_and_so_is_each_part(name):
    method = late_method(name)
    torch.manual_seed(1)
    loss, parts = method.loss(batch_for(method.needs))
    assert loss.requires_grad
    assert loss.dtype == torch.float32
    assert math.isfinite(loss.item())
    assert parts
    for part, value in parts.items():
        assert value.shape == (), part
        assert not value.requires_grad, part
        assert math.isfinite(value.item()), part


@every_method
def test_each_parameter_that_learns_is_in_one_group(name):
    method = late_method(name)
    grouped = [id(p) for group in method.groups() for p in group.parameters]
    learning = [id(p) for p in method.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(learning)
    torch.manual_seed(1)
    method.loss(batch_for(method.needs))[0].backward()
    reached = {id(p) for p in method.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    for student in method.students():
        assert {id(p) for p in student.decoder.parameters()} & reached
    assert (
        not {id(p) for n in method.networks() if n not in method.students() for p in n.parameters()}
        & reached
    )


@every_method
def test_a_loss_moves_no_weight_and_no_teacher(name):
    method = late_method(name).train()
    taught = [n for n in method.networks() if n not in method.students()]
    before = copy.deepcopy(trained_state(method))
    still = {id(b) for n in taught for b in n.buffers()} | {id(p) for p in method.parameters()}
    named = dict(method.named_parameters()) | dict(method.named_buffers())
    method.loss(batch_for(method.needs))
    after = trained_state(method)
    for key, value in before.items():
        if id(named.get(key)) in still:
            assert torch.equal(value, after[key]), key


@every_method
def test_a_resumed_method_goes_where_an_uninterrupted_one_goes(name, tmp_path):
    chosen = settings_of(name)

    def steps(method, optimiser, first, last):
        for step in range(first, last):
            batch = batch_for(method.needs, seed=step)
            train_step(method, optimiser, chosen, batch, step, torch.float32)

    def fresh(seed):
        torch.manual_seed(seed)
        network = build_network(["a", "b"], chosen.model, chosen.method)
        method = build_method(network, chosen)
        return method, build_optimiser(method.groups(), chosen.training)

    whole, optimiser = fresh(0)
    start = copy.deepcopy(trained_state(whole))
    steps(whole, optimiser, 0, 2)
    save_checkpoint(tmp_path / "last.pt", whole, optimiser, 2, {"best": None})
    early = copy.deepcopy(trained_state(whole))
    steps(whole, optimiser, 2, 4)
    resumed, again = fresh(1)
    assert load_checkpoint(tmp_path / "last.pt", resumed, again) == (2, {"best": None})
    assert states_equal(early, trained_state(resumed))
    steps(resumed, again, 2, 4)
    assert states_equal(trained_state(whole), trained_state(resumed))
    assert resumed.step == 4
    for one, two in zip(optimiser.state.values(), again.state.values(), strict=True):
        assert states_equal(one, two)
    # And every network learned in the meantime.
    for key, network in whole.named_modules():
        if network in whole.networks():
            mine = [k for k in start if k.startswith(f"{key}.decoder.")]
            assert mine
            assert any(not torch.equal(start[k], early[k]) for k in mine), key


@every_method
def test_without_their_weights_unlabelled_crops_have_no_say(name):
    weights = METHODS[name].settings.unlabelled_weights
    gaps = {}
    for case, more in (("off", dict.fromkeys((f"method.{w}" for w in weights), 0.0)), ("on", {})):
        # Evaluation mode: batch norm shares nothing between crops then, and nothing is dropped.
        method = late_method(name, **more).eval()
        needs, found = method.needs, []
        for seed in (1, 2):
            batch, other = batch_for(needs), batch_for(needs, seed=seed)
            batch = batch.__class__(
                batch.images, batch.labels, other.unlabelled, batch.box, other.donor, batch.captions
            )
            each = copy.deepcopy(method)
            torch.manual_seed(1)
            loss, _ = each.loss(batch)
            loss.backward()
            steps = [p.grad for n in each.students() for p in n.parameters() if p.grad is not None]
            found.append((loss.item(), torch.cat([g.flatten() for g in steps])))
        (one, step), (two, other_step) = found
        gaps[case] = abs(one - two) / abs(one) + ((step - other_step).norm() / step.norm()).item()
    assert gaps["off"] < 1e-5
    assert not weights or gaps["on"] > 1e-3
    assert bool(weights) == needs.unlabelled


@every_method
def test_what_is_deployed_reloads_to_equal_logits(name, tmp_path):
    method = late_method(name)
    chosen, images = method.settings, torch.rand(2, 3, 64, 64)
    assert method.candidates()
    for candidate, network in method.candidates().items():
        assert network in method.networks()
        path = tmp_path / f"{candidate}.safetensors"
        save_network(network, path, chosen, {"a": "a", "b": "b"})
        again, known, names = load_network(path)
        assert (known, names) == (chosen, ["a", "b"])
        network.eval()
        with torch.no_grad():
            mine, theirs = (
                n.logits(n.features(images), n.words(), chosen.method.temperature)
                for n in (network, again)
            )
        for branch in ("decoder", "prototype", "text"):
            assert torch.equal(getattr(mine, branch), getattr(theirs, branch)), branch


@every_method
def test_a_round_goes_on_from_another(name):
    """Every network of the parent's shape starts as the parent, teachers too."""
    method = late_method(name)
    parent = copy.deepcopy(next(iter(method.candidates().values())))
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.add_(0.25)
    method.inherit(parent)
    kept = next(iter(method.candidates().values()))
    assert states_equal(trained_state(parent), trained_state(kept))


@every_method
def test_it_trains_and_segments_from_the_command_line(study, name):
    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if isinstance(result.exception, Exception):
            raise result.exception
        assert result.exit_code == 0, result.output

    quick = [f"--set={k}={v}" for k, v in {**QUICK, "training.steps": 2}.items()]
    run("train", study.root, "--method", name, *quick)
    run("segment", study.root, "b")
    with Project.open(study.root) as project:
        done = project.latest_round()
        assert (done.method, done.state) == (name, "done")
        assert done.scores.best_val.candidate in late_method(name).candidates()
        assert (project.predictions(done.number, "b").read(_whole(project)) > 0).all()


def _whole(project):
    return Rect(0, 0, *project.slide("b").shape_yx)


def test_captions_reach_the_crops_of_their_slides(study):
    chosen = settings_of("supervised")
    needs = Needs(unlabelled=True, strong_views=1, captions=True)
    study.set_captions({record.name: f"It is {record.name}." for record in study.slides()})
    tissue = open_tissue(study)
    assert tissue.captioned == len(tissue.labelled) + len(tissue.unlabelled)
    batches = Batches(tissue, chosen, needs)
    said = {caption for step in range(6) for caption in batches.draw(step).captions}
    assert said == {f"It is {each.name}." for each in study.slides(Split.TRAIN)}
    plain = Batches(tissue, chosen, replace(needs, captions=False)).draw(0)
    drawn = batches.draw(0)
    assert torch.equal(plain.unlabelled.weak, drawn.unlabelled.weak)  # the same crops
    first = batches._unlabelled_area(0, 1, 0, batches._rng(0, 1, 0, 0))
    assert len(drawn.captions) == len(drawn.images) + len(drawn.unlabelled.weak)
    assert first.caption in said


# A method from outside.


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The module that docs/architecture.md shows, as anyone would write it."""
    (code,) = re.findall(r"```python\n(from typing.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "toy.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("toy")
    yield code
    METHODS.pop("toy")
    sys.modules.pop("toy")


def test_a_method_from_outside_is_as_short_as_the_page_says(toy, study, tmp_path):
    """One module and one line that makes it known; no other room changes."""
    assert len([line for line in toy.splitlines() if line.strip()]) == 12
    test_the_loss_is_a_number_and_so_is_each_part("toy")
    test_each_parameter_that_learns_is_in_one_group("toy")
    test_a_resumed_method_goes_where_an_uninterrupted_one_goes("toy", tmp_path)
    test_what_is_deployed_reloads_to_equal_logits("toy", tmp_path)
    test_it_trains_and_segments_from_the_command_line(study, "toy")
