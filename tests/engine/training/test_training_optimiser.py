"""Who learns how fast, and when. methods.md A6: SGD, momentum 0.9, decay 1e-4, 1e-3 and 1e-2."""

import pytest
import torch
from open_clip.transformer import TextTransformer

from unisemalign.methods import Batch, build_method
from unisemalign.model import build_network
from unisemalign.model.text import PromptedText
from unisemalign.settings import build_settings
from unisemalign.training.loop import train_step
from unisemalign.training.optimiser import build_optimiser, set_rate

NARROW = {
    "model.decoder_dim": 16,
    "model.high_dim": 32,
    "model.low_dim": 16,
    "model.skip_dim": 8,
    "model.embed_dim": 16,
}
PUBLISHED = ["paper", "released"]


def chosen(preset, method=None, **more):
    return build_settings(preset, method, {**NARROW, **more})


def network_of(settings):
    """Return a network that reads words through contexts, so that a frozen tower is in it."""
    torch.manual_seed(0)
    network = build_network(["a", "b"], settings.model)
    tower = TextTransformer(127, 50, 32, 2, layers=1, output_dim=512, embed_cls=True)
    network.semantic.text = PromptedText(tower, torch.ones(2, 127, dtype=torch.long), 4)
    return network.train()


def optimiser_of(network, settings):
    return build_optimiser(build_method(network, settings).groups(), settings.training)


def groups_of(network, optimiser):
    names = {id(p): name for name, p in network.named_parameters()}
    return [[names[id(p)] for p in group["params"]] for group in optimiser.param_groups]


@pytest.mark.parametrize("preset", PUBLISHED)
@pytest.mark.parametrize("encoder", ["frozen", "trained"])
def test_projections_learn_at_a_tenth_of_the_rate_of_all_else(preset, encoder):
    train = {"frozen": "no", "trained": "yes"}[encoder]
    settings = chosen(preset, **{"model.train_encoder": train})
    network = network_of(settings)
    optimiser = optimiser_of(network, settings)
    slow, fast = groups_of(network, optimiser)
    every = [name for name, _ in network.named_parameters()]
    wanted = {"low.weight", "low.bias", "high.weight", "high.bias"}
    if encoder == "trained":
        wanted |= {name for name in every if name.startswith("encoder.")}
        assert len(wanted) > 4
    assert len(slow) == len(set(slow))
    assert set(slow) == wanted
    theirs = ("encoder.", "semantic.text.tower.")
    assert sorted(fast) == sorted(n for n in every if n not in wanted and not n.startswith(theirs))
    assert {"semantic.prototypes", "semantic.text.context", "semantic.project.weight"} <= set(fast)
    assert any(name.startswith("decoder.") for name in fast)
    assert any(name.startswith("semantic.pixels.") for name in fast)

    set_rate(optimiser, settings.training, 0)
    assert type(optimiser) is torch.optim.SGD
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([1e-3, 1e-2], rel=1e-12)
    for group in optimiser.param_groups:
        assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-4)
        assert (group["dampening"], group["nesterov"]) == (0, False)


@pytest.mark.parametrize("preset", PUBLISHED)
@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 1.0), (1, 0.99929685), (320, 0.77188951), (640, 0.53588673), (1279, 0.00159776)],
)
def test_the_published_rate_falls_from_the_first_step_on(preset, step, share):
    """(1 − step/1280)^0.9, worked out beforehand; no warm-up."""
    training = chosen(preset).training
    assert (training.steps, training.warmup_steps) == (1280, 0)
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimiser = torch.optim.SGD(
        [
            {"params": weights[:1], "share": training.backbone_rate},
            {"params": weights[1:], "share": 1.0},
        ],
        lr=1.0,
    )
    # The published code sets its rate after each step: step t has the rate of step t − 1.
    lag = preset == "released"
    set_rate(optimiser, training, step + lag)
    rates = [group["lr"] for group in optimiser.param_groups]
    assert rates == pytest.approx([1e-3 * share, 1e-2 * share], rel=1e-5)
    if lag and step == 0:
        set_rate(optimiser, training, 0)
        assert optimiser.param_groups[1]["lr"] == 1e-2


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1e-3 / 21),
        (10, 1e-3 * 11 / 21 * 0.97747161),  # (390/400)^0.9
        (20, 1e-3 * 0.95488538),  # warm-up is over: (380/400)^0.9
        (399, 1e-3 * 0.00455141),  # (1/400)^0.9
    ],
)
def test_recommended_warms_up_and_falls(step, rate):
    settings = chosen("recommended")
    assert (settings.training.steps, settings.training.warmup_steps) == (400, 20)
    network = network_of(settings)
    optimiser = optimiser_of(network, settings)
    assert type(optimiser) is torch.optim.AdamW
    slow, fast = groups_of(network, optimiser)
    # The embedded encoder is trained, with the projections.
    assert {name.split(".")[0] for name in slow} == {"encoder", "low", "high"}
    assert not {name.split(".")[0] for name in fast} & {"encoder", "low", "high"}
    set_rate(optimiser, settings.training, step)
    rates = [group["lr"] for group in optimiser.param_groups]
    assert rates == pytest.approx([0.2 * rate, rate], rel=1e-5)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.01, 0.01]


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_published_step_is_momentum_and_decay_by_hand(preset):
    """Two steps of the loop: v ← 0.9·v + (g + 1e-4·w); w ← w − rate·v, rates of steps 3 and 4.

    `released` learns at the rates of steps 2 and 3.
    """
    settings = chosen(preset, "supervised", **{"training.steps": 10})
    network = network_of(settings)
    method = build_method(network, settings)
    optimiser = build_optimiser(method.groups(), settings.training)
    followed = {
        "low.weight": (1e-3, network.low.weight),
        "semantic.prototypes": (1e-2, network.semantic.prototypes),
    }
    weights = {name: w.detach().clone() for name, (_, w) in followed.items()}
    speeds = {name: torch.zeros_like(w) for name, w in weights.items()}
    g = torch.Generator().manual_seed(0)
    batch = Batch(
        torch.rand(2, 3, 64, 64, generator=g), torch.randint(0, 2, (2, 64, 64), generator=g)
    )
    lag = preset == "released"
    for step in (3, 4):
        train_step(method, optimiser, settings, batch, step, torch.float32)
        for name, (base, weight) in followed.items():
            assert weight.grad.abs().max() > 0
            speeds[name] = 0.9 * speeds[name] + weight.grad + 1e-4 * weights[name]
            moved = base * (1 - (step - lag) / 10) ** 0.9 * speeds[name]
            expected = weights[name] - moved
            assert torch.allclose(weight.detach(), expected, rtol=0, atol=1e-7), (name, step)
            weights[name] = weight.detach().clone()
