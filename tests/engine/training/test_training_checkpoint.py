"""Checkpoints and the published weights they were trained beside."""

import copy

import pytest
import torch

from unisemalign.errors import WeightsError
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.model.checkpoints import trained_state
from unisemalign.settings import build_settings
from unisemalign.training.checkpoint import load_checkpoint, save_checkpoint
from unisemalign.training.optimiser import build_optimiser


def test_a_checkpoint_says_which_words_it_was_trained_on(tmp_path):
    chosen = build_settings(overrides={"model.decoder_dim": 16})
    network = build_network(["a", "b"], chosen.model)
    method = build_method(network, chosen)
    optimiser = build_optimiser(method.groups(), chosen.training)
    network.semantic.text.weights_sha256 = "a" * 64
    save_checkpoint(tmp_path / "last.pt", method, optimiser, 3, {"best": None})
    assert load_checkpoint(tmp_path / "last.pt", method, optimiser) == (3, {"best": None})
    network.semantic.text.weights_sha256 = "b" * 64
    with pytest.raises(WeightsError, match="trained on other weights of 'free'.*aaaa.*bbbb"):
        load_checkpoint(tmp_path / "last.pt", method, optimiser)


@pytest.mark.parametrize("encoder", ["yes", "no"])
@pytest.mark.parametrize("name", ["unisemalign", "supervised"])
def test_a_checkpoint_of_version_0_1_is_taken_up(tmp_path, name, encoder):
    """There student and method lay apart, and a teacher's frozen encoder was written twice."""
    chosen = build_settings(
        method=name, overrides={"model.decoder_dim": 16, "model.train_encoder": encoder}
    )
    method = build_method(build_network(["a", "b"], chosen.model), chosen)
    optimiser = build_optimiser(method.groups(), chosen.training)
    with torch.no_grad():
        method.student.low.bias.fill_(2.0)
        method.teacher.network.low.bias.fill_(3.0)
    teacher = trained_state(method.teacher.network)
    beside = {f"teacher.{k}": v for k, v in teacher.items()}
    beside["teacher_step"] = torch.tensor(7)
    if name == "unisemalign":
        beside |= {"threshold": torch.tensor(0.75), "step": torch.tensor(7)}
    old = {
        "step": 7,
        "best": {"step": 5, "mdice": 0.5},
        "published": {},
        "student": trained_state(method.student),
        "method": beside,
        "optimiser": optimiser.state_dict(),
    }
    torch.save(copy.deepcopy(old), tmp_path / "last.pt")
    again = build_method(build_network(["a", "b"], chosen.model), chosen)
    found = load_checkpoint(
        tmp_path / "last.pt", again, build_optimiser(again.groups(), chosen.training)
    )
    assert found == (7, {"best": old["best"]})
    assert (again.step, again.teacher.step) == (7, 7)
    for part, network in ((trained_state(method.student), again.student), (teacher, again.teacher)):
        mine = trained_state(getattr(network, "network", network))
        assert all(torch.equal(mine[k], v) for k, v in part.items())
    if name == "unisemalign":
        assert again.threshold == 0.75


def test_a_checkpoint_of_another_method_is_told(tmp_path):
    def built(name):
        chosen = build_settings(method=name, overrides={"model.decoder_dim": 16})
        method = build_method(build_network(["a", "b"], chosen.model), chosen)
        return method, build_optimiser(method.groups(), chosen.training)

    save_checkpoint(tmp_path / "last.pt", *built("unisemalign"), 3, {"best": None})
    with pytest.raises(WeightsError, match="1 of .* parts differ, the first is 'threshold'"):
        load_checkpoint(tmp_path / "last.pt", *built("supervised"))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("step", "7"),
        ("step", -1),
        ("step", float("inf")),
        ("validation", [1]),
        ("published", 3),
        ("method", {"x": 1}),
        ("method", None),
        ("optimiser", {}),
        ("optimiser", {"state": {}, "param_groups": [{"params": [0]}]}),
    ],
)
def test_a_checkpoint_with_another_kind_of_value_is_told(tmp_path, part, value):
    chosen = build_settings(overrides={"model.decoder_dim": 16})
    method = build_method(build_network(["a", "b"], chosen.model), chosen)
    optimiser = build_optimiser(method.groups(), chosen.training)
    path = tmp_path / "last.pt"
    save_checkpoint(path, method, optimiser, 3, {"best": None})
    state = torch.load(path, weights_only=True)
    torch.save({**state, part: value}, path)
    with pytest.raises(WeightsError, match="last.pt|parts differ"):
        load_checkpoint(path, method, optimiser)
