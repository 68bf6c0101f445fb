"""What keeps rare classes alive, each tool computed by hand."""

import math

import pytest
import torch

from tests.engine.methods.drawn import SMALL, make_batch, sure_method
from unisemalign.methods.balance import ClassBalance
from unisemalign.methods.losses import confident_ce, labelled_ce
from unisemalign.methods.unisemalign import PseudoLabels
from unisemalign.settings import build_settings


def known(labelled=(0.75, 0.25), predicted=(0.9, 0.1)):
    balance = ClassBalance(2, 0.7)
    balance.labelled.copy_(torch.tensor(labelled))
    balance.predicted.copy_(torch.tensor(predicted))
    return balance


def test_shares_are_means_over_what_was_seen():
    balance = ClassBalance(2, 0.7)
    balance.see_labels(torch.tensor([[[0, 0, 0, 1, 255]]]))
    assert balance.labelled.tolist() == pytest.approx([0.75, 0.25])
    balance.see_labels(torch.tensor([[[1, 1, 255, 255, 255]]]))
    assert balance.labelled.tolist() == pytest.approx([0.375, 0.625])
    p = torch.tensor([[[[0.8, 0.2]], [[0.2, 0.8]]]])
    balance.see_probabilities(p, torch.tensor([[[True, False]]]))
    assert balance.predicted.tolist() == pytest.approx([0.8, 0.2])
    balance.see_probabilities(p, torch.tensor([[[False, False]]]))  # padding alone: nothing seen
    balance.see_probabilities(p, torch.tensor([[[False, True]]]))
    assert balance.predicted.tolist() == pytest.approx([0.5, 0.5])


def test_each_class_needs_its_own_mean_confidence():
    balance = ClassBalance(3, 0.7)
    label = torch.tensor([[[0, 0, 1, 1]]])
    confidence = torch.tensor([[[0.9, 0.7, 0.6, 0.1]]])
    balance.see_labelling(label, confidence, torch.tensor([[[True, True, True, False]]]))
    # 0.98·0.7 + 0.02·mean; a class nobody names stays.
    assert balance.confidence.tolist() == pytest.approx([0.702, 0.698, 0.7])


def test_alignment_multiplies_by_the_ratio_of_shares():
    p = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1)
    whole = known().aligned(p, 1.0).flatten().tolist()
    a, b = 0.6 * 0.75 / 0.9, 0.4 * 0.25 / 0.1
    assert whole == pytest.approx([a / (a + b), b / (a + b)])
    half = known().aligned(p, 0.5).flatten().tolist()
    a, b = 0.6 * math.sqrt(0.75 / 0.9), 0.4 * math.sqrt(2.5)
    assert half == pytest.approx([a / (a + b), b / (a + b)])
    assert known().aligned(p, 0.0) is p


def test_weights_prior_and_guard_by_hand():
    balance = known()
    # share^−½ is 1.1547 and 2; their mean over pixels 1.366.
    assert balance.weights(0.5).tolist() == pytest.approx([0.84530, 1.46410], rel=1e-4)
    assert balance.log_prior().tolist() == pytest.approx([math.log(0.75), math.log(0.25)])
    # Class 1 is predicted on 0.1, labelled on 0.25: 0.4 of it.
    assert balance.guard(0.8).item() == pytest.approx(0.5)
    assert balance.guard(0.4).item() == pytest.approx(1.0)
    assert known(predicted=(0.7, 0.3)).guard(0.8).item() == 1.0
    assert balance.guard(0.0).item() == 1.0


def test_a_class_that_is_not_labelled_yet_weighs_no_more_than_the_rarest():
    balance = known(labelled=(0.8, 0.2)).to("cpu")
    three = ClassBalance(3, 0.7)
    three.labelled.copy_(torch.tensor([0.8, 0.2, 0.0]))
    weights = three.weights(1.0)
    assert weights[2] == weights[1]
    assert torch.isfinite(three.log_prior()).all()
    assert balance.weights(1.0).tolist() == pytest.approx([0.625, 2.5])


def test_class_weights_in_the_losses_by_hand():
    logits = torch.zeros(1, 2, 1, 3)
    labels = torch.tensor([[[0, 1, 255]]])
    weights = torch.tensor([1.0, 3.0])
    assert labelled_ce(logits, labels, weights).item() == pytest.approx(2 * math.log(2))
    keep = torch.tensor([[[True, True, False]]])
    valid = torch.ones(1, 1, 3, dtype=torch.bool)
    target = torch.tensor([[[0, 1, 1]]])
    found = confident_ce(logits, target, keep, valid, weights)
    assert found.item() == pytest.approx(4 * math.log(2) / 3)


TOOLS = {
    "threshold_kind": "class",
    "alignment": 0.5,
    "balance": 0.5,
    "logit_adjustment": 0.5,
    "weight_hard_dice": 0.5,
    "guard": 0.9,
}


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_changes_the_step_it_is_for(name):
    """The loss moves where it should, and is what it was with the tool off."""

    def step(more):
        off = {"method.threshold_kind": "one", "method.balance": 0.0}
        chosen = build_settings(overrides={**SMALL, "method.ramp_steps": 0, **off, **more})
        method = sure_method(chosen, sureness=30)
        method.balance.predicted.copy_(torch.tensor([0.95, 0.05]))
        method.balance.batches.fill_(50.0)
        method.balance.labelled.copy_(torch.tensor([0.9, 0.1]))
        method.balance.confidence.copy_(torch.tensor([0.95, 0.4]))
        torch.manual_seed(1)
        loss, parts = method.loss(make_batch())
        return loss.item(), {k: v.item() for k, v in parts.items()}

    plain, parts = step({})
    moved, other = step({f"method.{name}": TOOLS[name]})
    assert math.isfinite(moved)
    assert moved != pytest.approx(plain, rel=1e-6)
    labelled = ("decoder", "prototype", "text", "dice")
    changed = any(parts[k] != pytest.approx(other[k], rel=1e-6) for k in labelled)
    assert changed == (name in {"balance", "logit_adjustment"})
    assert ("hard_dice" in other) == (name == "weight_hard_dice")


def test_a_doubtful_rare_pixel_teaches_where_each_class_has_its_threshold():
    label = torch.tensor([[[0, 1]]])
    sure = PseudoLabels(
        torch.zeros(1, 2, 1, 2), label, torch.tensor([[[0.69, 0.5]]]), label == label
    )
    for kind, expected in (("one", [0.0, 0.0]), ("class", [0.0, 1.0])):
        chosen = build_settings(overrides={**SMALL, "method.threshold_kind": kind})
        method = sure_method(chosen)
        method.balance.confidence.copy_(torch.tensor([0.9, 0.45]))
        assert method._weights(sure).flatten().tolist() == expected
