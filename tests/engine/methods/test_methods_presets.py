"""What every preset's step must keep to, and rows of methods.md A8 that no step by hand covers."""

import copy

import pytest
import torch
from torch.nn import functional as F

from unisemalign.methods import Batch, Unlabelled, build_method
from unisemalign.methods.losses import next_threshold
from unisemalign.model import build_network
from unisemalign.settings import PRESETS, build_settings

SIDE, COUNT = 64, 2
SMALL = {
    "model.decoder_dim": 24,
    "model.high_dim": 32,
    "model.low_dim": 16,
    "model.skip_dim": 8,
    "model.embed_dim": 24,
}


def make_method(preset, sureness=20, **more):
    chosen = build_settings(preset, overrides={**SMALL, "method.ramp_steps": 0, **more})
    torch.manual_seed(0)
    network = build_network(["a", "b"], chosen.model).train()
    with torch.no_grad():
        network.decoder.classify.weight.mul_(sureness)
    return build_method(network, chosen)


def make_batch(valid, *, drawn, donor_valid=None):
    """Crops that are the same at each call; ``valid`` ``(H, W)`` holds for all unlabelled ones."""
    g = torch.Generator().manual_seed(3)

    def crops(valid):
        weak = torch.rand(COUNT, 3, SIDE, SIDE, generator=g)
        strong = torch.rand(1, COUNT, 3, SIDE, SIDE, generator=g)
        return Unlabelled(weak, strong, valid.expand(COUNT, SIDE, SIDE))

    own, donor = crops(valid), crops(valid if donor_valid is None else donor_valid)
    labels = torch.randint(0, 2, (COUNT, SIDE, SIDE), generator=g)
    box = torch.zeros(1, COUNT, SIDE, SIDE, dtype=torch.bool)
    box[:, :, 8:40, 10:50] = True
    images = torch.rand(COUNT, 3, SIDE, SIDE, generator=g)
    return Batch(images, labels, own, box, donor if drawn else None)


def halves():
    left = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    left[:, :20] = True
    return left, ~left


@pytest.mark.parametrize("preset", PRESETS)
def test_padding_counts_nowhere_and_the_rest_is_averaged(preset):
    """A mean over all pixels is that over the two parts of the crop, each weighted by its size."""
    # The threshold stays, and every pixel passes it.
    still = {"method.threshold_momentum": 1.0, "method.threshold": 0.5}
    if preset == "recommended":
        still["method.threshold_kind"] = "one"  # those of the classes never stand still
    method = make_method(preset, **still)
    parts = []
    for valid in (*halves(), torch.ones(SIDE, SIDE, dtype=torch.bool)):
        each = copy.deepcopy(method)
        torch.manual_seed(1)
        parts.append(each.loss(make_batch(valid, drawn=method.needs.drawn_donor))[1])
    left, right, whole = parts
    share = 20 / SIDE
    for name in ("hard", "soft", "dropout"):
        assert whole[name] > 1e-4
        assert abs(left[name] - right[name]) > 1e-3 * whole[name], name
        both = share * left[name] + (1 - share) * right[name]
        assert both.item() == pytest.approx(whole[name].item(), rel=1e-4), name


@pytest.mark.parametrize("row", ["plain", "composite"])
def test_the_threshold_follows_the_map_that_is_chosen(row):
    """methods.md A8 row 19: validity of the weak views, or as CutMix composed it."""
    chosen = {"method.threshold_map": row, "method.threshold": 0.0}
    method = make_method("released", 1, **chosen, **{"method.threshold_momentum": 0.5})
    left, right = halves()
    batch = make_batch(left, drawn=True, donor_valid=right)
    weak = []
    judge = method._judge

    def seen(logits, valid, **more):
        found = judge(logits, valid, **more)
        weak.append(found)
        return found

    method._judge = seen
    _, parts = method.loss(batch)
    (own,) = [one for one in weak if one.valid is batch.unlabelled.valid]
    composed = torch.where(batch.box[0], batch.donor.valid, batch.unlabelled.valid)
    taus = {
        name: next_threshold(torch.tensor(0.0), own.decoder, valid, 0.5).item()
        for name, valid in (("plain", own.valid), ("composite", composed))
    }
    assert taus["plain"] != pytest.approx(taus["composite"], rel=1e-4)
    assert parts["tau"].item() == pytest.approx(taus[row], rel=1e-6)


@pytest.mark.parametrize("trains", [True, False])
def test_the_projection_of_words_is_trained_or_not(trains):
    """methods.md A8 row 22."""
    method = make_method("recommended", **{"model.train_text_projection": trains})
    valid = torch.ones(SIDE, SIDE, dtype=torch.bool)
    method.loss(make_batch(valid, drawn=False))[0].backward()
    moved = method.student.semantic.project.weight.grad
    assert (moved is not None and bool(moved.abs().sum() > 0)) == trains


@pytest.mark.parametrize("preset", PRESETS)
def test_no_map_of_many_channels_is_stretched_to_the_image(preset, monkeypatch):
    """Logits and cosines have a channel a class; embeddings, decoder features have many."""
    stretch, stretched = F.interpolate, []

    def look(maps, *given, **how):
        found = stretch(maps, *given, **how)
        stretched.append((maps.shape[1], tuple(found.shape[2:])))
        return found

    monkeypatch.setattr(F, "interpolate", look)
    method = make_method(preset)
    valid = torch.ones(SIDE, SIDE, dtype=torch.bool)
    method.loss(make_batch(valid, drawn=method.needs.drawn_donor))
    wide = [shape for channels, shape in stretched if channels >= SMALL["model.embed_dim"]]
    assert (2, (SIDE, SIDE)) in stretched  # it was looked at
    assert all(max(shape) < SIDE for shape in wide)


@pytest.mark.parametrize("preset", PRESETS)
def test_each_crop_is_encoded_once_and_the_words_are_read_once(preset, monkeypatch):
    """methods.md A9: 12 crops of 4 + 4, 16 where donors are drawn."""
    method = make_method(preset, **{"model.train_encoder": "no"})
    crops, read = [], []
    method.student.encoder.register_forward_hook(lambda _m, args, _out: crops.append(args[0]))
    for head in {id(n): n.semantic for n in (method.student, method.deployed)}.values():
        whole = head.unit_words
        monkeypatch.setattr(head, "unit_words", lambda whole=whole: read.append(1) or whole())
    valid = torch.ones(SIDE, SIDE, dtype=torch.bool)
    method.loss(make_batch(valid, drawn=method.needs.drawn_donor))
    seen = torch.cat(crops)
    assert len(seen) == (3 + method.needs.drawn_donor) * COUNT
    assert len(seen.flatten(1).unique(dim=0)) == len(seen)
    assert len(read) == 1
