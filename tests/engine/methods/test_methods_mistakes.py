"""Small mistakes that keep every loss finite and every shape right, each held by a test."""

import copy
import math

import pytest
import torch

from tests.engine.methods.drawn import SMALL, make_batch, sure_method
from unisemalign.methods import Batch, Teacher, Unlabelled, build_method
from unisemalign.methods import unisemalign as module
from unisemalign.model import build_network
from unisemalign.model.network import Features
from unisemalign.settings import build_settings


def settings(method=None, **more):
    return build_settings(method=method, overrides={**SMALL, **more})


def test_unlabelled_losses_rise_along_the_ramp():
    """e⁻⁵ at first, e^−1.25 half way, all of it at the end."""
    method = sure_method(settings(**{"method.ramp_steps": 40}))
    hard = {}
    for step in (0, 20, 40, 400):
        each = copy.deepcopy(method)
        each.step = step
        torch.manual_seed(1)
        _, parts = each.loss(make_batch())
        hard[step] = [parts[name].item() for name in ("hard", "soft", "dropout")]
    assert min(hard[400]) > 0
    for step, share in ((0, math.exp(-5)), (20, math.exp(-1.25)), (40, 1.0)):
        assert hard[step] == pytest.approx([share * value for value in hard[400]], rel=1e-4)


def test_the_teacher_moves_by_what_its_decay_leaves():
    network = build_network(["a", "b"], settings().model)
    teacher = Teacher(network, 0.9)
    teacher.step = 1000
    with torch.no_grad():
        network.low.bias.fill_(1.0)
        teacher.network.low.bias.zero_()
    teacher.follow(network)
    assert torch.allclose(teacher.network.low.bias, torch.tensor(0.1))


@pytest.mark.parametrize("name", ["unisemalign", "supervised"])
def test_a_methods_teacher_has_the_decay_of_the_settings_and_is_what_is_kept(name):
    """The supervised yardstick has its teacher too, unless it is switched off."""
    method = sure_method(settings(name, **{"method.ema": 0.75}))
    method.teacher.step = 1000
    with torch.no_grad():
        method.student.low.bias.fill_(1.0)
        method.teacher.network.low.bias.zero_()
    method.after_step()
    (kept,) = method.candidates().items()
    assert kept == ("teacher", method.teacher.network)
    assert torch.allclose(kept[1].low.bias, torch.tensor(0.25))
    alone = sure_method(settings(name, **{"method.ema": 0.0}))
    assert alone.candidates() == {"student": alone.student}
    assert build_settings(method=name).method.ema == 0.99


def test_each_strong_view_has_its_own_box_in_image_and_labels(monkeypatch):
    """Image, labels, confidence and validity of view v are composed with box v."""
    chosen = settings(**{"method.strong_views": 2, "model.train_encoder": "no"})
    method = sure_method(chosen)
    batch = make_batch(views=2)
    assert not torch.equal(batch.box[0], batch.box[1])
    encoded, targets = [], []
    method.student.encoder.register_forward_hook(lambda _m, args, _out: encoded.append(args[0]))
    confident = module.confident_ce

    def look(logits, target, keep, valid, weights=None):
        targets.append((target, valid))
        return confident(logits, target, keep, valid, weights)

    monkeypatch.setattr(module, "confident_ce", look)
    method.loss(batch)
    u, count = batch.unlabelled, len(batch.images)
    (weak_labels, weak_valid) = targets[-1]  # of the channel-dropped weak views
    for view in (0, 1):
        box = batch.box[view]
        image = torch.where(box.unsqueeze(1), u.strong[view].flip(0), u.strong[view])
        seen = encoded[-1][view * count : (view + 1) * count]
        assert torch.allclose(seen, method.student._zoomed(image), atol=1e-6)
        labels, valid = (each[view * count : (view + 1) * count] for each in targets[0])
        assert torch.equal(labels, torch.where(box, weak_labels.flip(0), weak_labels))
        assert torch.equal(valid, torch.where(box, weak_valid.flip(0), weak_valid))


@pytest.mark.parametrize("clean", [True, False])
def test_strong_crops_move_no_running_statistic_where_these_are_clean(clean):
    method = sure_method(settings(**{"method.clean_statistics": clean})).train()
    batch = make_batch()
    u = batch.unlabelled
    other = Unlabelled(u.weak, u.strong * 0.1, u.valid)
    means = []
    for crops in (u, other):
        each = copy.deepcopy(method)
        torch.manual_seed(1)
        each.loss(Batch(batch.images, batch.labels, crops, batch.box))
        norms = [b for n, b in each.student.named_buffers() if "running_" in n]
        means.append(torch.cat([b.flatten() for b in norms]))
    before = torch.cat([b.flatten() for n, b in method.student.named_buffers() if "running_" in n])
    assert not torch.equal(means[0], before)  # the clean crops moved them
    assert torch.equal(*means) == clean


@pytest.mark.parametrize(("low", "high"), [(6, 4), (6, 6)])
def test_whole_samples_and_channels_are_chosen_once_for_both_maps(low, high):
    """UniMatch V2: a crop is left whole in every map, or in none."""
    for seed in range(5):
        torch.manual_seed(seed)
        ones = Features(torch.ones(8, low, 2, 2), torch.ones(8, high, 1, 1), None, (8, 8))
        got = ones.with_complements()
        whole = [(maps == 1).flatten(1).all(1) for maps in (got.low, got.high)]
        assert torch.equal(*whole)
        assert whole[0][:4].sum() == whole[0][4:].sum() == 2
        if low == high:
            assert torch.equal(got.low[..., 0, 0], got.high[..., 0, 0])


def test_thresholds_go_on_where_the_parent_round_left_them(tmp_path):
    from unisemalign.training.checkpoint import save_checkpoint, take_over
    from unisemalign.training.optimiser import build_optimiser

    chosen = settings()
    parent = sure_method(chosen)
    parent.threshold.fill_(0.875)
    parent.balance.confidence.copy_(torch.tensor([0.9, 0.6]))
    optimiser = build_optimiser(parent.groups(), chosen.training)
    save_checkpoint(tmp_path / "last.pt", parent, optimiser, 3, {"best": None})
    child = build_method(build_network(["a", "b"], chosen.model), chosen)
    assert take_over(tmp_path / "last.pt", child)
    assert child.threshold == 0.875
    assert torch.equal(child.balance.confidence, parent.balance.confidence)
    assert (child.step, child.teacher.step) == (0, 0)
    # Of a parent by another method nothing is taken; a torn file is told.
    other = sure_method(settings("supervised"))
    save_checkpoint(tmp_path / "last.pt", other, optimiser, 3, {"best": None})
    again = build_method(build_network(["a", "b"], chosen.model), chosen)
    assert take_over(tmp_path / "last.pt", again)
    assert again.threshold == pytest.approx(0.7)
    (tmp_path / "last.pt").write_bytes(b"torn")
    assert not take_over(tmp_path / "last.pt", again)
    assert not take_over(tmp_path / "gone.pt", again)
