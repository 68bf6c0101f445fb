"""Steps of `released` and `paper`.

`released` against the published step that is the yardstick of the benchmarks, written apart from
the product: losses, gradients and running statistics. `paper` by hand.
"""

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unisemalign.methods import Batch, Unlabelled, build_method
from unisemalign.model import Network, build_network
from unisemalign.model.encoders import ViTEncoder
from unisemalign.model.network import Features, Logits
from unisemalign.settings import build_settings

SIDE, COUNT = 64, 4
SIZES = {"model.low_dim": 24, "model.high_dim": 32, "model.skip_dim": 48}
PARTS = {
    "low": "low",
    "high": "high",
    **{f"branches.{k}": f"decoder.pooling.branches.{k}" for k in range(4)},
    "pooled": "decoder.pooling.branches.4.project",
    "join": "decoder.pooling.join",
    "skip": "decoder.skip",
    "fuse": "decoder.fuse",
    "classify": "decoder.classify",
    "pixels": "semantic.pixels",
    "text.project": "semantic.project",
}
"""The published code's parts, and ours."""


class FreeText(nn.Module):
    """Free vectors in place of a text tower, as in the product."""

    def __init__(self, dim):
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(2, 512))
        self.project = nn.Linear(512, dim, bias=False)

    def forward(self):
        return F.normalize(self.project(self.vectors), dim=1)


@pytest.fixture
def literal(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    sys.modules.pop("literal", None)
    import literal as module

    monkeypatch.setattr(module, "SIDE_PX", SIDE)
    monkeypatch.setattr(module, "LOW", SIZES["model.low_dim"])
    monkeypatch.setattr(module, "HIGH", SIZES["model.high_dim"])
    return module


@pytest.fixture(autouse=True)
def same_dropout(monkeypatch):
    """Which channels are dropped depends on nothing but the shape."""

    def dropout2d(maps, p=0.5, training=True, inplace=False):
        if not training:
            return maps
        generator = torch.Generator().manual_seed(maps.shape[0] * 1000 + maps.shape[1])
        kept = torch.rand(*maps.shape[:2], 1, 1, generator=generator) >= p
        return maps * kept / (1 - p)

    monkeypatch.setattr(F, "dropout2d", dropout2d)


def draw(padded=False):
    g = torch.Generator().manual_seed(3)

    def crops():
        strong = torch.rand(1, COUNT, 3, SIDE, SIDE, generator=g)
        weak = torch.rand(COUNT, 3, SIDE, SIDE, generator=g)
        valid = torch.rand(COUNT, SIDE, SIDE, generator=g) > 0.1
        return Unlabelled(weak, strong, valid if padded else torch.ones_like(valid))

    labels = torch.randint(0, 2, (COUNT, SIDE, SIDE), generator=g)
    labels[:, :4] = 255
    box = torch.zeros(1, COUNT, SIDE, SIDE, dtype=torch.bool)
    box[0, :3, 8:40, 10:50] = True
    images = torch.rand(COUNT, 3, SIDE, SIDE, generator=g)
    return Batch(images, labels, crops(), box, crops())


def test_a_step_of_released_is_the_published_one(literal):
    torch.manual_seed(0)
    theirs = literal.Literal("vit_tiny_patch16_224").train()
    theirs.text = FreeText(literal.EMBED)
    theirs.vit.eval()
    chosen = build_settings("released", overrides={**SIZES, "model.embed_dim": literal.EMBED})
    encoder = ViTEncoder(theirs.vit, literal.TAPS, pretrained=True)
    network = Network(encoder, ["a", "b"], chosen.model, train_encoder=False).train()
    with torch.no_grad():
        for norm in (m for m in theirs.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)
        # Sure of some pixels and not of others, about the same classes everywhere.
        theirs.classify.weight.mul_(5)
        theirs.text.vectors.copy_(network.semantic.text.vectors)
        theirs.prototypes.copy_(network.semantic.prototypes)
    for name, ours in PARTS.items():
        network.get_submodule(ours).load_state_dict(theirs.get_submodule(name).state_dict())
    method = build_method(network, chosen)
    batch = draw()
    alone = copy.deepcopy(network).eval()
    with torch.no_grad():
        donor = alone.decode(alone.features(batch.donor.weak)).softmax(1).max(1)[0]
    assert 0.2 < (donor[batch.box[0]] > 0.7).float().mean() < 0.8  # some count, some do not
    loss, parts = method.loss(batch)
    loss.backward()

    def seen(images):
        return (images - network.mean) / network.std

    u, donor = batch.unlabelled, batch.donor
    published = theirs.loss(
        literal.LiteralBatch(
            seen(batch.images),
            batch.labels,
            seen(u.weak),
            seen(u.strong[0]),
            seen(donor.weak),
            seen(donor.strong[0]),
            batch.box[0],
        ),
        threshold=parts["tau"].item(),
    )
    published.backward()

    assert 0.05 < parts["kept"] < 0.95
    assert min(parts["hard"], parts["soft"], parts["dropout"]) > 1e-4
    assert loss.item() == pytest.approx(published.item(), rel=1e-5)
    for name, ours in PARTS.items():
        mine, other = network.get_submodule(ours), theirs.get_submodule(name)
        for (key, a), b in zip(mine.named_parameters(), other.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6), (name, key)
        for (key, a), b in zip(mine.named_buffers(), other.buffers(), strict=True):
            assert torch.allclose(a.float(), b.float(), atol=1e-6), (name, key)
    prototypes = network.semantic.prototypes.grad
    assert torch.allclose(prototypes, theirs.prototypes.grad, rtol=1e-3, atol=1e-6)
    words = network.semantic.text.vectors.grad
    assert torch.allclose(words, theirs.text.vectors.grad, rtol=1e-3, atol=1e-6)


def test_a_step_of_paper_is_computed_by_hand():
    """½[L_dl + L_p + L_t + L_al + 0.5 L_h + 0.25 L_s + 0.25 L_c] (methods.md A5)."""
    torch.manual_seed(0)
    chosen = build_settings("paper", overrides={**SIZES, "model.decoder_dim": 16})
    network = build_network(["a", "b"], chosen.model).train()
    with torch.no_grad():
        network.decoder.classify.weight.mul_(20)
    before = copy.deepcopy(network)
    method = build_method(network, chosen)
    batch = draw(padded=True)
    loss, parts = method.loss(batch)

    u, donor, box = batch.unlabelled, batch.donor, batch.box[0]
    words = before.words()

    def judged(logits, valid):
        fused = logits.decoder + 0.1 * logits.prototype + 0.1 * logits.text
        return (logits.decoder.softmax(1), *fused.softmax(1).max(1), valid)

    with torch.no_grad():
        theirs = before.eval().logits(before.features(donor.weak), words, 1.0)
        before.train()
        crops = before.features(torch.cat([batch.images, u.weak]))
        copies = crops.with_dropout(0.5)
        doubled = Features(
            torch.cat([crops.low, copies.low]),
            torch.cat([crops.high, copies.high]),
            None,
            crops.size,
        )
        decoded, dropped = before.decode(doubled).chunk(2)
        prototype, text = before.semantics(crops, words, 1.0)
        strong = torch.where(box.unsqueeze(1), donor.strong[0], u.strong[0])
        answer = before.decode(before.features(strong))
        weak = Logits(decoded[COUNT:], prototype[COUNT:], text[COUNT:])
        mine, given = judged(weak, u.valid), judged(theirs, donor.valid)
        soft, sure, label, valid = (
            torch.where(box.unsqueeze(1) if a.dim() == 4 else box, b, a)
            for a, b in zip(mine, given, strict=True)
        )
        winner, top = mine[0].argmax(1), mine[0].max(1)[0]
        peaks = [top[(winner == c) & u.valid].max() for c in winner[u.valid].unique()]
        tau = 0.999 * 0.7 + 0.001 * torch.stack(peaks).mean()
        kl = (soft * (soft.log() - answer.log_softmax(1))).sum(1)
        keep, kept = (sure >= tau) & valid, (mine[1] >= tau) & u.valid
        ce = F.cross_entropy
        expected = {
            "decoder": ce(decoded[:COUNT], batch.labels, ignore_index=255),
            "prototype": ce(prototype[:COUNT], batch.labels, ignore_index=255),
            "text": ce(text[:COUNT], batch.labels, ignore_index=255),
            "align": ((before.semantic.unit_prototypes() - words) ** 2).mean(),
            "hard": 0.5 * ce(answer, label, reduction="none")[keep].sum() / valid.sum(),
            "soft": 0.25 * kl[keep].sum() / valid.sum(),
            "dropout": 0.25
            * ce(dropped[COUNT:], mine[2], reduction="none")[kept].sum()
            / u.valid.sum(),
        }
    assert 0.05 < keep.sum() / valid.sum() < 0.95
    assert parts["tau"] == pytest.approx(tau.item(), abs=1e-6)
    for name, value in expected.items():
        assert parts[name] == pytest.approx(value.item(), rel=1e-3, abs=1e-5), name
        assert value > 1e-4, name
    assert loss.item() == pytest.approx(0.5 * sum(v.item() for v in expected.values()), rel=1e-4)
