import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.engine.methods.drawn import SMALL, make_batch, sure_method
from unisemalign.methods import Batch, build_method
from unisemalign.methods.losses import (
    alignment,
    confident_ce,
    confident_kl,
    labelled_ce,
    next_threshold,
    soft_dice,
)
from unisemalign.methods.teacher import Teacher
from unisemalign.methods.unisemalign import PseudoLabels
from unisemalign.model import build_network
from unisemalign.model.checkpoints import load_trained_state, trained_state
from unisemalign.model.network import Features, Logits
from unisemalign.runtime.device import computing_in
from unisemalign.settings import build_settings

# One hand-computed case a loss.


def test_labelled_ce_by_hand():
    logits = torch.tensor([[[[0.0, 5.0]], [[math.log(3), 5.0]]]])  # (1, 2, 1, 2)
    labels = torch.tensor([[[1, 255]]])
    assert labelled_ce(logits, labels).item() == pytest.approx(-math.log(0.75))
    assert labelled_ce(logits, torch.full((1, 1, 2), 255)).item() == 0


def test_soft_dice_by_hand():
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, 0.0]]]])
    labels = torch.tensor([[[1, 255]]])
    # One pixel of class 1, predicted ½: (2·½ + 1)/(½ + 1 + 1) = 0.8; class 0 does not occur.
    assert soft_dice(logits, labels).item() == pytest.approx(0.2)


def test_confident_losses_by_hand():
    logits = torch.tensor([[[[0.0, 0.0, 0.0]], [[math.log(3), 0.0, 0.0]]]])
    target = torch.tensor([[[1, 1, 1]]])
    keep = torch.tensor([[[True, False, True]]])
    valid = torch.tensor([[[True, True, False]]])
    # Pixel 0 is kept; pixel 1 is unsure; pixel 2 is padding. Two pixels are valid.
    assert confident_ce(logits, target, keep, valid).item() == pytest.approx(-math.log(0.75) / 2)
    share = torch.tensor([[[[0.5, 0.5, 0.5]], [[0.5, 0.5, 0.5]]]])
    kl = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert confident_kl(logits, share, keep, valid).item() == pytest.approx(kl / 2)
    nothing = torch.zeros_like(valid)
    assert confident_ce(logits, target, keep, nothing).item() == 0


def test_alignment_by_hand_and_its_bound():
    """methods.md G: the squared difference of unit vectors is at most 4/D."""
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert alignment(a, b, "mse").item() == pytest.approx((1 + 1) / 4)
    assert alignment(a, b, "cosine").item() == pytest.approx(0.5)
    assert alignment(a, a, "kl").item() == pytest.approx(0.0, abs=1e-6)
    assert alignment(a, b, "none").item() == 0
    unit = F.normalize(torch.randn(2, 256), dim=1)
    assert alignment(unit, -unit, "mse").item() == pytest.approx(4 / 256)


@given(st.integers(0, 10**6), st.integers(2, 64))
@settings(max_examples=30, deadline=None)
def test_mse_is_the_cosine_over_the_dimension(seed, dim):
    g = torch.Generator().manual_seed(seed)
    a = F.normalize(torch.randn(3, dim, generator=g), dim=1)
    b = F.normalize(torch.randn(3, dim, generator=g), dim=1)
    expected = 2 * alignment(a, b, "cosine") / dim
    assert alignment(a, b, "mse").item() == pytest.approx(expected.item(), abs=1e-6)


def test_cosine_ce_floor_for_two_classes():
    """methods.md G: cosines in −1…1 without temperature cannot go below ln(1 + e⁻²)."""
    best = torch.tensor([[[[1.0]], [[-1.0]]]])
    loss = labelled_ce(best, torch.zeros(1, 1, 1, dtype=torch.long))
    assert loss.item() == pytest.approx(0.127, abs=5e-4)


@pytest.mark.parametrize(("steps", "expected"), [(1280, 0.917), (2720, 0.980)])
def test_the_threshold_after_so_many_sure_steps(steps, expected):
    """methods.md G."""
    tau = torch.tensor(0.7)
    sure = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    for _ in range(steps):
        tau = next_threshold(tau, sure, valid, 0.999)
    assert tau.item() == pytest.approx(expected, abs=5e-4)


def test_the_threshold_leaves_out_absent_classes_and_padding():
    p = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.8]]]])
    tau = torch.tensor(0.5)
    both = next_threshold(tau, p, torch.ones(1, 1, 2, dtype=torch.bool), 0.0)
    first = next_threshold(tau, p, torch.tensor([[[True, False]]]), 0.0)
    none = next_threshold(tau, p, torch.zeros(1, 1, 2, dtype=torch.bool), 0.0)
    assert both.item() == pytest.approx(0.85)
    assert first.item() == pytest.approx(0.9)
    assert none.item() == 0.5


@given(st.integers(0, 10**6), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_untempered_fusion_never_changes_a_surviving_label(seed, classes):
    """methods.md A8 row 12 and part G: where fused confidence ≥ 0.7 the decoder agrees."""
    g = torch.Generator().manual_seed(seed)
    decoder = torch.randn(1, classes, 32, 32, generator=g) * 3
    cosine = [torch.rand(1, classes, 32, 32, generator=g) * 2 - 1 for _ in range(2)]
    fused = Logits(decoder, *cosine).fused(0.1, 0.1)
    confidence, winner = fused.softmax(1).max(1)
    sure = confidence >= 0.7
    assert torch.equal(winner[sure], decoder.argmax(1)[sure])


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_inside_the_box_everything_is_the_donors(seed):
    """methods.md G: target, confidence, KL target and validity all come from the donor."""
    g = torch.Generator().manual_seed(seed)

    def labels():
        return PseudoLabels(
            torch.rand(3, 2, 8, 8, generator=g),
            torch.randint(0, 2, (3, 8, 8), generator=g),
            torch.rand(3, 8, 8, generator=g),
            torch.rand(3, 8, 8, generator=g) > 0.5,
        )

    mine, donor = labels(), labels()
    box = torch.rand(3, 8, 8, generator=g) > 0.5
    mixed = mine.with_donor(donor, box)
    for name in ("label", "confidence", "valid"):
        got = getattr(mixed, name)
        assert torch.equal(got[box], getattr(donor, name)[box])
        assert torch.equal(got[~box], getattr(mine, name)[~box])
    inside = box.unsqueeze(1).expand_as(mixed.decoder)
    assert torch.equal(mixed.decoder[inside], donor.decoder[inside])
    flipped = mine.flipped()
    assert torch.equal(flipped.label[0], mine.label[2])


def test_the_teacher_copies_at_first_and_lags_later():
    network = build_network(["a", "b"], build_settings(overrides=SMALL).model)
    teacher = Teacher(network, 0.9)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1.0)
        network.low.weight.add_(1.0)
    buffer = next(b for n, b in network.named_buffers() if n.endswith("running_mean"))
    buffer.add_(5.0)
    teacher.follow(network)
    theirs = dict(network.state_dict())
    for name, value in teacher.network.state_dict().items():
        assert torch.allclose(value.float(), theirs[name].float()), name
    with torch.no_grad():
        network.low.weight.add_(1.0)
    before = teacher.network.low.weight.clone()
    teacher.follow(network)  # t = 1: α = ½
    assert torch.allclose(teacher.network.low.weight, (before + network.low.weight) / 2)


def test_the_teacher_shares_a_frozen_encoder():
    model = build_settings(overrides={**SMALL, "model.train_encoder": "no"}).model
    network = build_network(["a", "b"], model)
    assert Teacher(network, 0.9).network.encoder is network.encoder
    model = model.model_copy(update={"train_encoder": "yes"})
    network = build_network(["a", "b"], model)
    assert Teacher(network, 0.9).network.encoder is not network.encoder


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"method.labeller": "student", "method.ema": 0.0},
        {"method.hard_target": "strong"},
        {"method.soft_target": "plain", "method.threshold_map": "composite"},
        {"method.donor": "draw", "method.donor_label": "decoder"},
        {"method.align": "kl", "model.stem_dim": 8},
        {"method.strong_views": 2, "method.confidence": "soft"},
        {"model.train_encoder": "no"},
    ],
    ids=str,
)
def test_every_variant_gives_a_finite_loss_that_moves_the_student(overrides):
    chosen = build_settings(overrides={**SMALL, "method.ramp_steps": 0, **overrides})
    method = sure_method(chosen)
    network = method.student
    loss, parts = method.loss(
        make_batch(donor=method.needs.drawn_donor, views=method.needs.strong_views)
    )
    assert min(parts["hard"], parts["soft"], parts["dropout"], parts["kept"]) > 0
    loss.backward()
    assert math.isfinite(loss.item())
    assert {"decoder", "prototype", "text", "align", "hard", "soft", "dropout"} <= set(parts)
    assert 0.69 < parts["tau"] < 0.71
    assert network.decoder.classify.weight.grad.abs().sum() > 0
    method.after_step()


def test_released_is_a_preset_that_runs():
    chosen = build_settings("released", overrides=SMALL)
    method = build_method(build_network(["a", "b"], chosen.model).train(), chosen)
    loss, _ = method.loss(make_batch(donor=True))
    assert math.isfinite(loss.item())


def test_a_step_in_bfloat16_goes_where_one_in_float32_goes():
    gradients, losses = [], []
    for precision in (torch.float32, torch.bfloat16):
        # Every pixel passes the threshold: no label may tip over.
        extra = {"method.ramp_steps": 0, "method.threshold": 0.0}
        chosen = build_settings(overrides={**SMALL, **extra})
        torch.manual_seed(1)
        method = build_method(build_network(["a", "b"], chosen.model).train(), chosen)
        with computing_in(precision, torch.device("cpu")):
            loss, parts = method.loss(make_batch())
        loss.backward()
        assert loss.dtype == torch.float32
        assert all(part.dtype == torch.float32 for part in parts.values())
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in trained_parts(method)]))
    assert gradients[0].dtype == gradients[1].dtype == torch.float32
    assert losses[1] != losses[0]  # it was another precision
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert F.cosine_similarity(*gradients, dim=0) > 0.99


def trained_parts(method):
    return [p for p in method.student.parameters() if p.grad is not None]


def test_the_loss_is_the_papers_weighted_half_sum_of_composed_targets():
    """L = ½[L_dl + L_p + L_t + L_al + 0.5 L_h + 0.25 L_s + 0.25 L_c], computed here by hand."""
    extra = {"method.ramp_steps": 0, "method.weight_dice": 0.0, "method.feature_dropout": 0.0}
    extra |= {"method.balance": 0.0, "method.threshold_kind": "one"}
    chosen = build_settings(overrides={**SMALL, **extra})
    method = sure_method(chosen)
    net, teacher, batch = method.student, method.teacher.network, make_batch()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    u, box = batch.unlabelled, batch.box[0]
    with torch.no_grad():
        t = teacher.logits(teacher.features(u.weak), teacher.words(), 0.1)
        fused = (t.decoder + 0.1 * t.prototype + 0.1 * t.text).softmax(1)
        confidence, label = fused.max(1)
        soft = t.decoder.softmax(1)

        def composed(value):
            where = box.unsqueeze(1) if value.dim() == 4 else box
            return torch.where(where, value.flip(0), value)

        strong = torch.where(box.unsqueeze(1), u.strong[0].flip(0), u.strong[0])
        features = net.features(torch.cat([batch.images, u.weak]))
        words = net.words()
        x = features.rows(0, 2)
        decoded, dropped = net.decode(x), net.decode(features.rows(2, 4))
        prototype, text = net.semantics(x, words, 0.1)
        s = net.decode(net.features(strong))
    tau = (
        0.999 * 0.7
        + 0.001
        * torch.stack(
            [soft.max(1)[0][(soft.argmax(1) == c) & u.valid].max() for c in soft.argmax(1).unique()]
        ).mean()
    )
    valid, sure = composed(u.valid), composed(confidence) >= tau
    y = composed(label)
    ce = F.cross_entropy(s, y, reduction="none")
    kl = (composed(soft) * (composed(soft).log() - s.log_softmax(1))).sum(1)
    drop = F.cross_entropy(dropped, label, reduction="none")
    expected = {
        "decoder": F.cross_entropy(decoded, batch.labels, ignore_index=255),
        "prototype": F.cross_entropy(prototype, batch.labels, ignore_index=255),
        "text": F.cross_entropy(text, batch.labels, ignore_index=255),
        "align": ((net.semantic.unit_prototypes() - words) ** 2).mean(),
        "hard": 0.5 * ce[sure & valid].sum() / valid.sum(),
        "soft": 0.25 * kl[sure & valid].nan_to_num().sum() / valid.sum(),
        "dropout": 0.25 * drop[(confidence >= tau) & u.valid].sum() / u.valid.sum(),
    }
    loss, parts = method.loss(batch)
    for name, value in expected.items():
        assert parts[name] == pytest.approx(value.item(), rel=2e-3, abs=2e-4), name
    assert parts["hard"] > 0
    assert parts["tau"] == pytest.approx(tau.item(), abs=1e-5)
    assert loss.item() == pytest.approx(0.5 * sum(v.item() for v in expected.values()), rel=2e-3)


def test_supervised_ignores_unlabelled_tissue():
    chosen = build_settings(method="supervised", overrides=SMALL)
    losses = []
    for batch in (make_batch(), Batch(make_batch().images, make_batch().labels)):
        torch.manual_seed(0)
        method = build_method(build_network(["a", "b"], chosen.model).train(), chosen)
        torch.manual_seed(1)
        losses.append(method.loss(batch)[0].item())
    assert not method.needs.unlabelled
    assert losses[0] == losses[1]


def test_a_methods_state_round_trips():
    chosen = build_settings(overrides=SMALL)
    torch.manual_seed(0)
    method = build_method(build_network(["a", "b"], chosen.model).train(), chosen)
    method.loss(make_batch())[0].backward()
    method.after_step()
    again = build_method(build_network(["a", "b"], chosen.model).train(), chosen)
    load_trained_state(again, trained_state(method))
    assert again.threshold == method.threshold != chosen.method.threshold
    assert again.teacher.step == 1
    # The ramp goes on where it was.
    assert method.step == 1
    assert again.step == method.step
    mine, theirs = method.teacher.network.state_dict(), again.teacher.network.state_dict()
    assert all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_two_strong_views_keep_complementary_channels():
    """UniMatch V2: m and 2 − m for the two views of a crop; half of the crops are left whole."""
    torch.manual_seed(0)
    ones = Features(torch.ones(8, 6, 2, 2), torch.ones(8, 4, 1, 1), None, (8, 8))
    got = ones.with_complements()
    for maps in (got.low, got.high):
        assert torch.equal(maps[:4] + maps[4:], torch.full_like(maps[:4], 2.0))
        assert set(maps.unique().tolist()) == {0.0, 1.0, 2.0}
        whole = (maps[:4] == 1).flatten(1).all(1)
        assert whole.sum() == 2


def test_soft_confidence_lets_doubtful_pixels_count_a_little():
    chosen = build_settings(overrides={**SMALL, "method.confidence": "soft"})
    method = sure_method(chosen)
    confidence = torch.tensor([0.5, 0.6, 0.7, 0.9])
    none = torch.zeros(4)
    weights = method._weights(PseudoLabels(none, none.long(), confidence, none.bool()))
    assert weights.tolist() == pytest.approx([math.exp(-2), math.exp(-0.5), 1.0, 1.0], abs=1e-4)


def test_a_stream_without_weight_is_not_computed():
    chosen = build_settings(overrides={**SMALL, "method.weight_dropout": 0.0})
    _, parts = sure_method(chosen).loss(make_batch())
    assert "dropout" not in parts
