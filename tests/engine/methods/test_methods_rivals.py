"""The losses of the methods UniSemAlign is compared with: one case by hand each."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.engine.methods.drawn import SMALL, batch_for, make_batch, sure_method
from unisemalign.errors import SettingsError
from unisemalign.methods import Batch, build_method
from unisemalign.methods.corrmatch import Correlation
from unisemalign.methods.csds import Bend
from unisemalign.methods.dusss import Embedded
from unisemalign.methods.losses import entropy, sample_dice, squared_dice
from unisemalign.methods.mpamatch import alike, drawn_to
from unisemalign.methods.unisemalign import PseudoLabels
from unisemalign.model import build_network
from unisemalign.model.text import TextTower
from unisemalign.model.xnet import frequencies
from unisemalign.settings import build_settings


def method_of(name, steps=10, sureness=200, **more):
    overrides = {**SMALL, "training.steps": steps, **more}
    return sure_method(build_settings(method=name, overrides=overrides), sureness)


def test_squared_dice_by_hand():
    # Class 1 fills the crop, p = ½: 1 − 2(n/2)/(n/4 + n) = 0.2. Class 0 is absent: 1 − 0/(n/4) = 1.
    shares = torch.full((1, 2, 4, 4), 0.5)
    ones = torch.ones(1, 4, 4, dtype=torch.long)
    assert squared_dice(shares, ones, ones).item() == pytest.approx(0.6, abs=1e-4)
    # What is not counted has no say, whatever its target.
    half = ones.clone()
    half[..., 2:] = 0
    odd = ones.clone()
    odd[..., 2:] = 255
    assert squared_dice(shares, odd, half).item() == pytest.approx(0.6, abs=1e-4)


def test_entropy_by_hand():
    assert entropy(torch.full((1, 2, 1, 1), 0.5)).item() == pytest.approx(math.log(2), abs=1e-5)


def test_fixmatch_learns_from_sure_pixels_alone():
    sure = method_of("fixmatch")
    torch.manual_seed(0)
    loss, parts = sure.loss(batch_for(sure.needs))
    assert parts["kept"] > 0.5
    supervised = parts["decoder"] + parts["dice"]
    assert loss.item() == pytest.approx(0.5 * (supervised + parts["hard"]).item(), rel=1e-5)
    unsure = method_of("fixmatch", sureness=1, **{"method.threshold": 0.999})
    loss, parts = unsure.loss(batch_for(unsure.needs))
    assert (parts["kept"], parts["hard"]) == (0, 0)
    assert loss.item() == pytest.approx(0.5 * (parts["decoder"] + parts["dice"]).item(), rel=1e-5)


def test_a_drawn_donor_is_labelled_in_evaluation_mode():
    method = method_of("fixmatch", **{"method.donor": "draw"})
    batch = batch_for(method.needs)
    assert batch.donor is not None
    found = method.drawn_labels(batch)
    assert method.student.training
    student = method.student.eval()
    share = student.decode(student.features(batch.donor.weak)).softmax(1)
    assert torch.equal(found.label, share.argmax(1))
    assert torch.equal(found.valid, batch.donor.valid)
    (mixed,) = method.mixed(batch, found.flipped(), found)
    inside = batch.box[0]
    assert torch.equal(mixed.label[inside], found.label[inside])


def test_unimatch_weighs_its_views_as_published():
    """½(1 + ¼ + ¼ + ½): with equal losses unlabelled tissue counts as much as labelled."""
    settings = build_settings(method="unimatch").method
    assert 2 * settings.weight_strong + settings.weight_features == 1
    method = method_of("unimatch")
    torch.manual_seed(0)
    loss, parts = method.loss(batch_for(method.needs))
    named = ("decoder", "dice", "strong_1", "strong_2", "features")
    assert loss.item() == pytest.approx(0.5 * sum(parts[k].item() for k in named), rel=1e-5)
    assert parts["strong_1"] != parts["strong_2"]


def test_unimatch_for_medical_images_takes_dice_over_sure_pixels():
    method = method_of("unimatch", **{"method.unlabelled_loss": "dice"})
    labels = PseudoLabels(
        torch.full((1, 2, 2, 2), 0.5),
        torch.ones(1, 2, 2, dtype=torch.long),
        torch.tensor([[[1.0, 1.0], [0.1, 0.1]]]),
        torch.ones(1, 2, 2, dtype=torch.bool),
    )
    # Two of four pixels are sure; class 1 fills them, p = ½: 0.2, and 1 for the absent class.
    assert method._loss(torch.zeros(1, 2, 2, 2), labels).item() == pytest.approx(0.6, abs=1e-4)


def test_unimatch_v2_learns_from_its_teacher():
    method = method_of("unimatch_v2")
    batch = batch_for(method.needs)
    with torch.no_grad():  # a student of another mind: the labels stay the teacher's
        method.student.decoder.classify.weight.neg_()
    found = method._taught(batch.unlabelled)
    teacher = method.teacher.network
    share = teacher.decode(teacher.features(batch.unlabelled.weak)).softmax(1)
    assert torch.equal(found.label, share.argmax(1))
    assert list(method.candidates()) == ["teacher", "student"]


def test_without_decay_the_teacher_of_unimatch_v2_is_the_student_of_the_last_step():
    method = method_of("unimatch_v2", **{"method.ema": 0.0})
    for _ in range(3):
        with torch.no_grad():
            method.student.decoder.classify.bias.add_(1.0)
        method.after_step()
    teacher = method.teacher.network.decoder.classify.bias
    assert torch.equal(teacher, method.student.decoder.classify.bias)


# Two networks


@pytest.mark.parametrize("name", ["cps", "cross_teaching"])
def test_neither_network_moves_the_other(name):
    method = method_of(name, **{"method.weight_decoder": 0.0, "method.weight_dice": 0.0})
    method.step = 100
    parts = {}

    def loss_of(kept):
        for p in method.parameters():
            p.grad = None
        torch.manual_seed(0)
        loss, found = method.loss(batch_for(method.needs))
        parts.update(found)
        loss.backward()
        return [p.grad for p in kept.parameters() if p.grad is not None]

    both = loss_of(method.first)
    for parameter in method.second.parameters():
        parameter.requires_grad_(False)
    alone = loss_of(method.first)
    assert any(g.abs().sum() > 0 for g in both)
    assert all(torch.equal(one, two) for one, two in zip(both, alone, strict=True))
    assert parts["cross_1"] > 0
    assert parts["cross_2"] > 0


def test_two_equal_networks_of_cps_lose_what_they_are_unsure_of():
    """The cross loss of equal networks without mixing is −ln max σ."""
    method = method_of("cps", sureness=1, **{"method.mixing": "none", "method.ramp_share": 0.0})
    method.second.load_state_dict(method.first.state_dict())
    method.eval()
    batch = batch_for(method.needs)
    _, parts = method.loss(batch)
    decoded = method.first.decode(method.first.features(batch.unlabelled.weak))
    unsure = -decoded.log_softmax(1).amax(1)[batch.unlabelled.valid].mean()
    assert parts["cross_1"].item() == pytest.approx(unsure.item(), rel=1e-4)
    assert parts["agreement"] == 1


def test_the_two_networks_of_cps_start_apart_and_stay_apart_in_the_next_round():
    method = method_of("cps")
    one, two = method.first.decoder, method.second.decoder
    assert not torch.equal(one.classify.weight, two.classify.weight)
    assert not torch.equal(method.first.high.weight, method.second.high.weight)
    assert list(method.candidates()) == ["student 1", "student 2"]
    parent = method_of("supervised").student
    method.inherit(parent)
    assert torch.equal(method.first.decoder.classify.weight, parent.decoder.classify.weight)
    assert not torch.equal(method.second.decoder.classify.weight, parent.decoder.classify.weight)


def test_cps_labels_are_mixed_as_its_views_are():
    """A network that always says its image's class teaches the other the donor's in the box."""
    method = method_of("cps")
    batch = batch_for(method.needs)
    share = torch.zeros(2, 2, 64, 64)
    share[0, 0] = share[1, 1] = 1
    labels = PseudoLabels(share, share.argmax(1), share.amax(1), batch.unlabelled.valid)
    mixed = labels.with_donor(labels.flipped(), batch.box[1])
    assert (mixed.label[0][batch.box[1][0]] == 1).all()
    assert (mixed.label[0][~batch.box[1][0]] == 0).all()


def test_cross_teaching_deploys_the_project_s_network():
    method = method_of("cross_teaching")
    assert list(method.candidates().values()) == [method.first]
    kinds = type(method.first.encoder).__name__, type(method.second.encoder).__name__
    assert kinds == ("EmbeddedEncoder", "ViTEncoder")


# UAMT


def test_without_noise_the_teacher_s_doubt_is_its_own_entropy():
    method = method_of("uamt", sureness=1, **{"method.noise": 0.0, "method.dropout": 0.0})
    weak = batch_for(method.needs).unlabelled.weak
    target, doubt = method.taught(weak)
    teacher = method.teacher.network
    share = teacher.decode(teacher.features(weak)).softmax(1)
    assert torch.allclose(target, share, atol=1e-6)
    assert torch.allclose(doubt, entropy(share), atol=1e-5)


def test_uamt_s_gate_and_weight_at_the_start():
    method = method_of("uamt", steps=30_000, **{"method.ramp_share": 1.0})
    assert method.certain_below(2) == pytest.approx(0.5210, abs=1e-4)
    method.step = 30_000
    assert method.certain_below(2) == pytest.approx(math.log(2))
    assert 0.1 * math.exp(-5) == pytest.approx(6.7e-4, abs=1e-5)


def test_uamt_s_teacher_averages_parameters_alone():
    method = method_of("uamt")
    state = method.teacher.network.state_dict()
    assert not [key for key in state if "running" in key or "tracked" in key]
    method.after_step()  # the first step copies
    with torch.no_grad():
        method.student.decoder.classify.bias.add_(1.0)
    before = method.teacher.network.decoder.classify.bias.clone()
    method.after_step()  # α = min(1 − 1/2, 0.99)
    moved = method.teacher.network.decoder.classify.bias - before
    assert torch.allclose(moved, torch.full_like(moved, 0.5))


# CorrMatch


def test_correlations_that_tell_nothing_spread_the_mean():
    method = method_of("corrmatch")
    with torch.no_grad():
        method.correlation.queries.weight.zero_()
        method.correlation.queries.bias.zero_()
    rows = method.correlation(torch.rand(2, 32, 4, 4))
    assert torch.allclose(rows, torch.full_like(rows, 1 / 16))
    logits, like = torch.rand(2, 2, 4, 4), torch.rand(2, 32, 4, 4)
    spread = method._spread(logits, rows, like)
    assert torch.allclose(spread, logits.mean((2, 3), keepdim=True).expand_as(spread), atol=1e-6)


def test_each_row_of_the_correlation_sums_to_one():
    rows = Correlation(8, 16, 3)(torch.rand(2, 8, 3, 5))
    assert rows.shape == (2, 15, 15)
    assert torch.allclose(rows.sum(2), torch.ones(2, 15), atol=1e-5)


@pytest.mark.parametrize(("threshold", "relabelled"), [(0.65, True), (0.75, False)])
def test_a_region_that_is_sure_enough_takes_one_class(threshold, relabelled):
    """Ten pixels correlate, seven of them are sure, all of class 1."""
    method = method_of("corrmatch", **{"method.regions": 4, "method.threshold": threshold})
    region = torch.zeros(16, dtype=torch.bool)
    region[:10] = True
    label = torch.zeros(1, 4, 4, dtype=torch.long)
    label.view(-1)[:7] = 1
    confidence = torch.zeros(1, 4, 4)
    confidence.view(-1)[:7] = 1.0
    valid, box = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    share = F.one_hot(label, 2).permute(0, 3, 1, 2).float()
    mixed = PseudoLabels(share, label, confidence, valid)
    rows = region.float().expand(1, 16, 16)
    keep = method.sure(mixed, method.threshold)
    found, weights = method._relabelled(mixed, keep, rows, box, (4, 4))
    expected = torch.where(region.view(4, 4), 1, 0) if relabelled else label[0]
    assert torch.equal(found[0], expected)
    assert torch.equal(weights[0] > 0, region.view(4, 4) if relabelled else keep[0] > 0)
    box[:] = True  # inside a box nothing is relabelled
    boxed, _ = method._relabelled(mixed, keep, rows, box, (4, 4))
    assert torch.equal(boxed, label)


def test_corrmatch_deploys_the_plain_network():
    method = method_of("corrmatch")
    (kept,) = method.candidates().values()
    again = build_network(["a", "b"], method.settings.model, method.settings.method)
    assert kept.state_dict().keys() == again.state_dict().keys()
    assert build_method(again, method.settings).correlation is not None


# CSDS


def test_csds_counts_what_its_teacher_doubts_less_or_more():
    even = torch.full((1, 2, 4, 4), 0.5)
    doubt = entropy(even)
    assert doubt.mean().item() == pytest.approx(math.log(2), abs=1e-5)
    plain = torch.full((1, 3, 4, 4), 0.5)
    less, more = (method_of("csds", **{"method.doubt": d}) for d in ("less", "more"))
    # Nothing varies and there is no edge: Ũ = U.
    assert torch.equal(less.structure_doubt(doubt, plain), doubt)
    assert less._counts(doubt).mean().item() == pytest.approx(0.5, abs=1e-5)
    assert more._counts(doubt).mean().item() == pytest.approx(math.log(2), abs=1e-5)
    edged = plain.clone()
    edged[..., 2:] = 0.9  # grey: no colour varies, the edge lies at column 1
    found = less.structure_doubt(doubt, edged)
    assert torch.allclose(found[..., 1], doubt[..., 1] * 1.5)
    assert torch.allclose(found[..., 3], doubt[..., 3])
    tinted = plain.clone()
    tinted[:, 0, :2, :2] = 1.0
    found = less.colour_doubt(doubt, tinted)
    assert found[0, 0, 0].item() == pytest.approx(1.5 * math.log(2), abs=1e-4)
    assert found[0, 3, 3].item() == pytest.approx(math.log(2), abs=1e-4)


def test_a_bend_moves_labels_as_it_moves_pixels():
    torch.manual_seed(0)
    plane = (torch.arange(64) >= 30).long().expand(2, 64, 64)
    images = plane.unsqueeze(1).float().expand(2, 3, 64, 64)
    still = Bend.drawn(images, 0.0)
    assert torch.equal(still.plane(plane, 2, 255), plane)
    assert torch.allclose(still.image(images), images, atol=1e-4)
    bend = Bend.drawn(images, 0.25)
    bent = bend.plane(plane, 2, 255)
    assert (bent == 255).any()
    inside = bent != 255
    assert (bent[inside] != plane[inside]).float().mean() > 0.01
    assert ((bend.image(images)[:, 0] - bent).abs()[inside] <= 0.5 + 1e-3).all()
    # Smooth, and nowhere further than said.
    move = (bend.grid - still.grid).abs()
    assert move.max().item() == pytest.approx(0.5, rel=1e-4)
    assert (move[:, 1:] - move[:, :-1]).abs().max() < 0.5 / 2


def test_the_teacher_of_csds_follows_the_mean_of_both():
    method = method_of("csds")
    with torch.no_grad():
        method.first.decoder.classify.bias.fill_(1.0)
        method.second.decoder.classify.bias.fill_(3.0)
    method.after_step()  # the first step copies
    assert torch.equal(method.teacher.network.decoder.classify.bias, torch.tensor([2.0, 2.0]))
    assert list(method.candidates()) == ["colour student", "structure student", "teacher"]


# XNet v2


def test_haar_halves_by_hand():
    image = torch.tensor([[0.0, 0.2, 0.4, 0.4], [0.2, 0.4, 0.4, 0.4]]).expand(1, 3, 2, 4)
    none = torch.zeros(1, 1, 1, 1)
    low, high = frequencies(image, none, none)
    # LL = (a + b + c + d)/2: 0.4 and 0.8, stretched to 0 and 1.
    assert torch.allclose(low[0, 0, 0], torch.tensor([0.0, 1.0]))
    # LH = HL = −0.2 and 0, HH = 0 in both: stretched 0 and 1, 0 and 1, 0 and 0; their sum too.
    assert torch.allclose(high[0, 0, 0], torch.tensor([0.0, 1.0]))
    blank, _ = frequencies(torch.full((1, 3, 4, 4), 0.5), none, none)
    assert torch.equal(blank, torch.zeros(1, 3, 2, 2))
    odd, _ = frequencies(torch.rand(1, 3, 5, 7), none, none)
    assert odd.shape == (1, 3, 3, 4)


def test_xnet_s_dice_is_each_sample_s_own():
    shares = torch.full((2, 2, 4, 4), 0.5)
    target = torch.zeros(2, 4, 4, dtype=torch.long)
    target[1] = 1
    # The class that fills: (16 + 1)/(4 + 16 + 1); the absent one: 1/(4 + 1).
    expected = 1 - (17 / 21 + 1 / 5) / 2
    assert sample_dice(shares, target, torch.ones(2, 4, 4)).item() == pytest.approx(expected)


def test_xnet_s_agreement_rises_evenly():
    method = method_of("xnet_v2", steps=200)
    assert 0.5 * method.share_done() == pytest.approx(0.0025)
    method.step = 199
    assert method.share_done() == 1


def test_xnet_s_low_path_has_its_own_shallow_map_and_the_high_one_its_own_deep():
    net = method_of("xnet_v2").student.eval()
    images = torch.rand(1, 3, 64, 64)
    low, high = net.encode(images)
    image_path, low_path, high_path = net.paths((low, high), images)
    changed = high.clone()
    changed[:, 2 * changed.shape[1] // 3 :] += 1  # the high path's deep map
    again = net.paths((low, changed), images)
    assert torch.equal(again[0].high, image_path.high)
    assert torch.equal(again[1].high, low_path.high)
    assert not torch.equal(again[2].high, high_path.high)
    changed = low.clone()
    changed[:, low.shape[1] // 3 : 2 * low.shape[1] // 3] += 1  # the low path's shallow map
    again = net.paths((changed, high), images)
    assert torch.equal(again[0].low, image_path.low)
    assert not torch.equal(again[1].low, low_path.low)
    assert torch.equal(again[2].low, high_path.low)


def test_xnet_keeps_no_tokens():
    with pytest.raises(SettingsError, match="cache_gb=0"):
        method_of("xnet_v2").student.keep_tokens(None)


# MPAMatch


def test_pixels_are_drawn_to_the_nearest_vector_of_their_class():
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]])
    pixels, classes = torch.tensor([[0.0, 1.0]]), torch.tensor([0])
    # Nearest is the second of class 0, cosine 1: no pull; contrast −ln(e/(e + 1 + 1 + 1/e)).
    expected = -math.log(math.e / (math.e + 2 + 1 / math.e))
    assert drawn_to(pixels, classes, vectors, 1.0).item() == pytest.approx(expected, rel=1e-5)
    # Class 1's nearest has cosine 0: (1 − 0)², and −ln(1/(…)).
    expected = 1 - math.log(1 / (math.e + 2 + 1 / math.e))
    assert drawn_to(pixels, classes + 1, vectors, 1.0).item() == pytest.approx(expected, rel=1e-5)
    assert drawn_to(pixels[:0], classes[:0], vectors, 1.0).item() == 0


def test_a_prototype_follows_its_pixels_and_stays_a_unit_vector():
    net = method_of("mpamatch").student
    before = net.visual.clone()
    pixels = F.normalize(torch.randn(6, before.shape[2]), dim=1)
    net.move_prototypes(pixels, torch.zeros(6, dtype=torch.long), 0.5)
    assert torch.allclose(net.visual.norm(dim=2), torch.ones(before.shape[:2]), atol=1e-6)
    assert torch.equal(net.visual[1], before[1])  # an absent class leaves its prototypes
    moved = (net.visual[0] != before[0]).any(1)
    nearest = (pixels @ before[0].T).argmax(1).unique()
    assert moved.nonzero().flatten().tolist() == nearest.tolist()
    k = int(nearest[0])
    mine = pixels[(pixels @ before[0].T).argmax(1) == k]
    expected = F.normalize(0.5 * before[0, k] + 0.5 * F.normalize(mine.mean(0), dim=0), dim=0)
    assert torch.allclose(net.visual[0, k], expected, atol=1e-6)


def test_prototypes_count_after_their_steps_and_move_from_the_first():
    method = method_of("mpamatch")
    batch = batch_for(method.needs)
    before = method.student.visual.clone()
    _, early = method.loss(batch)
    assert early["prototype"] == early["strong_text"] == 0
    assert not torch.equal(method.student.visual, before)
    method.step = 100
    _, late = method.loss(batch)
    assert min(late["prototype"], late["text"], late["strong_prototype"]) > 0


def test_pixels_of_each_class_are_as_many_as_there_is_room_for():
    method = method_of("mpamatch", **{"method.prototype_pixels": 20})
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[0, 0] = 1  # 16 of 256
    labels[0, 15] = 255
    embedded = F.normalize(torch.randn(1, 16, 16, 16), dim=1)
    decoded = F.one_hot(torch.zeros_like(labels), 2).permute(0, 3, 1, 2).float()
    pixels, classes, right = method._pixels(embedded, decoded, labels)
    assert len(pixels) == 20
    assert classes.bincount().tolist() == [10, 10]
    assert torch.equal(right, classes == 0)


def test_prototypes_that_collapse_are_told():
    same = F.normalize(torch.ones(2, 3, 4), dim=2)
    assert alike(same).item() == pytest.approx(1, abs=1e-5)
    assert alike(torch.eye(4)[None]).item() == 0
    assert alike(same[:, :1]).item() == 0


def test_a_pixel_s_answer_depends_on_the_prototypes_it_attends_to():
    net = method_of("mpamatch").student.eval()
    images = torch.rand(1, 3, 64, 64)
    before = net.decode(net.features(images))
    net.visual.neg_()
    assert not torch.allclose(net.decode(net.features(images)), before)
    k = build_settings(method="mpamatch", overrides={**SMALL, "method.prototypes_per_class": 7})
    assert build_network(["a", "b"], k.model, k.method).visual.shape == (2, 7, 16)


# DuSSS


def gaussian(unit, mean=0.0, sd=1.0):
    flat = torch.tensor(unit)
    return Embedded(flat, torch.full_like(flat, mean), torch.full_like(flat, sd))


def test_without_uncertainty_alike_is_what_the_cosine_says():
    method = method_of("dusss")
    one, two = gaussian([[1.0, 0.0]]), gaussian([[0.0, 1.0], [1.0, 0.0]])
    with torch.no_grad():
        method.distance.zero_()  # D_u = 0: SSS = 1
    assert torch.allclose(method.similarity(one, two), torch.tensor([[0.0, 1.0]]), atol=1e-3)
    with torch.no_grad():
        method.distance.copy_(torch.tensor([1.0, 0.0]))
    # W = ‖1 − 0‖² over two dimensions = 2, D_s = √2: 1 − 1·exp(−2/√2).
    apart = method.similarity(one, gaussian([[0.0, 1.0]], mean=1.0))
    assert apart.item() == pytest.approx(1 - math.exp(-(2**0.5)), rel=1e-5)


def test_a_sure_target_becomes_its_winner():
    method = method_of("dusss")
    target = torch.tensor([0.7, 0.3]).view(1, 2, 1, 1)
    assert method.sharpened(target).flatten().tolist() == [1.0, 0.0]
    target = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1)
    assert torch.equal(method.sharpened(target), target)


def test_the_printed_target_is_never_background():
    """σ(q + m) of two probabilities lies between σ(0) and σ(2)."""
    assert torch.sigmoid(torch.tensor(0.0)) == 0.5
    assert torch.sigmoid(torch.tensor(2.0)).item() == pytest.approx(0.8808, abs=1e-4)
    mended, literal = (method_of("dusss", **{"method.targets": t}) for t in ("mended", "literal"))
    found = []
    for method in (mended, literal):
        method.step = 100
        torch.manual_seed(0)
        found.append(method.loss(batch_for(method.needs))[1]["guided"].item())
    assert found[0] != found[1]


def test_pairs_are_a_matter_of_the_first_stage_and_of_enough_crops():
    method = method_of("dusss", steps=8)
    few, many = batch_for(method.needs), make_batch(count=4)
    assert "pairs" not in method.loss(few)[1]
    assert method.loss(many)[1]["pairs"] > 0
    method.step = 2
    assert "pairs" not in method.loss(many)[1]


def test_crops_with_the_same_words_are_no_negatives():
    method = method_of("dusss", steps=8)
    batch = make_batch(count=4)
    words = method.texts(method.student.semantic.text())
    deep = method.student.encode(torch.cat([batch.images, batch.unlabelled.weak]))[1].detach()
    labels = torch.zeros_like(batch.labels)
    alike = Batch(batch.images, labels, batch.unlabelled, batch.box)
    labels_apart = labels.clone()
    labels_apart[2:] = 1
    apart = Batch(batch.images, labels_apart, batch.unlabelled, batch.box)
    one, two = (method._pairs(b, deep, words) for b in (alike, apart))
    assert torch.isfinite(one)
    assert two > one  # there are negatives now


def test_the_words_own_mask_trains_no_student():
    method = method_of("dusss")
    torch.manual_seed(0)
    _, parts = method.loss(batch_for(method.needs))
    assert parts["mask"] > 0
    names = {"weight_decoder", "weight_dice", "weight_guided", "weight_regions", "weight_pairs"}
    alone = method_of("dusss", **{f"method.{name}": 0.0 for name in names})
    loss, _ = alone.loss(batch_for(alone.needs))
    loss.backward()
    moved = [p.grad for p in alone.student.decoder.parameters() if p.grad is not None]
    assert not any(g.abs().sum() > 0 for g in moved)
    assert alone.pixels.squeeze.weight.grad.abs().sum() > 0


class SpokenTower(TextTower):
    """Class vectors, and a vector a sentence that depends on it alone."""

    reads_sentences = True

    def __init__(self, n_classes: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.vectors = nn.Parameter(torch.randn(n_classes, dim))
        self.read: list[str] = []

    def sentences(self, texts):
        self.read += texts
        seeds = [sum(map(ord, each)) for each in texts]
        return torch.stack(
            [torch.randn(self.dim, generator=torch.Generator().manual_seed(s)) for s in seeds]
        )

    def forward(self):
        return self.vectors


def test_dusss_reads_captions_where_there_are_some():
    """Labelled crops 0 and 1, unlabelled 2 and 3: captions of 0 and 3; 1 has its classes' words."""
    method = method_of("dusss")
    text = SpokenTower(2, method.student.semantic.text.dim)
    method.student.semantic.text = text
    batch = replace(make_batch(), captions=("Glands.", "", "", "Fat."))
    words = method.texts(text())
    kept, said, same = method._words_of(batch, words)
    assert kept.tolist() == [0, 1, 3]
    assert text.read == ["Glands.", "Fat."]
    spoken = method.texts(text.sentences(["Glands.", "Fat."]))
    assert torch.allclose(said.unit[[0, 2]], spoken.unit)
    present = torch.stack([(batch.labels[1] == c).any() for c in range(2)]).float()
    mean = F.normalize((present / present.sum()) @ words.unit, dim=0)
    assert torch.allclose(said.unit[1], mean, atol=1e-6)
    assert not same.any()
    twice = replace(batch, captions=("Fat.", "", "", "Fat."))
    assert method._words_of(twice, words)[2].tolist() == [
        [False, False, True],
        [False, False, False],
        [True, False, False],
    ]
    assert text.read.count("Fat.") == 2  # once by the test: each caption is read once
    loss, _ = method.loss(batch)
    assert torch.isfinite(loss)
    assert method.missing_captions(4) == ""
    assert "no slide has a caption" in method.missing_captions(0).lower()


def test_words_that_are_not_read_are_said():
    method = method_of("dusss")
    assert "reads no words" in method.missing_captions(3)
