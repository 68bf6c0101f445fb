"""Cosines of pixels with prototypes and words, at image size: methods.md A3; A8, 8 and 12; G."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unisemalign.model import build_network
from unisemalign.model.network import Features
from unisemalign.settings import build_settings

DIM = 8
NARROW = {
    "model.decoder_dim": 16,
    "model.high_dim": 32,
    "model.low_dim": 16,
    "model.skip_dim": 8,
    "model.embed_dim": DIM,
}


def network_of(preset="recommended", **more):
    settings = build_settings(preset, overrides={**NARROW, **more})
    torch.manual_seed(0)
    return build_network(["a", "b"], settings.model)


def features_of(high, size):
    return Features(torch.zeros(len(high), 16, 1, 1), high, None, size)


def unit(number):
    return torch.eye(DIM)[number]


def test_stretched_embeddings_and_stretched_cosines_by_hand():
    """Two pixels, (2, 0) and (0, 1), stretched to three: what lies between is (1, ½) or ½ each."""
    high = torch.zeros(1, DIM, 1, 2)
    high[0, 0, 0, 0], high[0, 1, 0, 1] = 2.0, 1.0
    words = torch.stack([unit(1), unit(0)])
    got = {}
    for way in ("features", "logits"):
        network = network_of("released", **{"model.semantic_upsample": way}).eval()
        network.semantic.pixels = nn.Identity()
        network.semantic.prototypes.data = torch.stack([3 * unit(0), 5 * unit(1)])
        prototype, text = network.semantics(features_of(high, (1, 3)), words, 1.0)
        assert torch.allclose(text, prototype.flip(1), atol=1e-6)
        got[way] = prototype[0, :, 0].tolist()
    half = math.sqrt(1.25)
    assert got["features"][0] == pytest.approx([1, 1 / half, 0], abs=1e-6)
    assert got["features"][1] == pytest.approx([0, 0.5 / half, 1], abs=1e-6)
    assert got["logits"][0] == pytest.approx([1, 0.5, 0], abs=1e-6)
    assert got["logits"][1] == pytest.approx([0, 0.5, 1], abs=1e-6)


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_features_are_stretched_then_made_unit_then_compared(corners, temperature):
    overrides = {"model.semantic_upsample": "features", "model.align_corners": corners}
    network = network_of(**overrides).eval()
    g = torch.Generator().manual_seed(1)
    high = torch.randn(2, 32, 4, 5, generator=g)
    words = F.normalize(torch.randn(2, DIM, generator=g), dim=1)
    with torch.inference_mode():
        got = network.semantics(features_of(high, (32, 40)), words, temperature)
        embedded = network.semantic.pixels(high)
        assert embedded.shape == (2, DIM, 4, 5)
        wide = F.interpolate(embedded, (32, 40), mode="bilinear", align_corners=corners)
        wide = wide.permute(0, 2, 3, 1)
        prototypes = network.semantic.prototypes
        for found, classes in zip(got, (prototypes, words), strict=True):
            assert found.shape == (2, 2, 32, 40)
            for c, vector in enumerate(classes):
                cosine = F.cosine_similarity(wide, vector.expand_as(wide), dim=-1)
                assert torch.allclose(found[:, c], cosine / temperature, atol=2e-5 / temperature)
        other = network_of(**{**overrides, "model.semantic_upsample": "logits"}).eval()
        other.load_state_dict(network.state_dict())
        plain = other.semantics(features_of(high, (32, 40)), words, temperature)
    for found, stretched in zip(got, plain, strict=True):
        assert (found - stretched).abs().max() > 0.02 / temperature


def test_the_floor_of_a_cosine_ce_is_that_of_part_g():
    """Without temperature two classes cannot go below ln(1 + e⁻²) = 0.127; with 0.1 they can."""
    floors = {}
    for preset in ("released", "recommended"):
        method = build_settings(preset).method
        network = network_of(preset).eval()
        high = torch.randn(1, 32, 1, 1, generator=torch.Generator().manual_seed(2))
        with torch.inference_mode():
            best = network.semantic.pixels(high).flatten()
            assert best.norm() > 0.1
            pair = torch.stack([best, -best])
            network.semantic.prototypes.data = 7 * pair
            words = F.normalize(pair, dim=1)
            branches = network.semantics(features_of(high, (6, 6)), words, method.temperature)
            labels = torch.zeros(1, 6, 6, dtype=torch.long)
            for branch in branches:
                assert branch.shape == (1, 2, 6, 6)
            floors[preset] = [F.cross_entropy(branch, labels).item() for branch in branches]
    assert floors["released"] == pytest.approx([math.log1p(math.exp(-2))] * 2, rel=1e-5)
    assert floors["released"] == pytest.approx([0.127, 0.127], abs=1e-3)
    assert max(floors["recommended"]) < 1e-6


def test_no_embedding_goes_below_the_floor_of_released():
    network = network_of("released").eval()
    g = torch.Generator().manual_seed(3)
    high = torch.randn(64, 32, 2, 2, generator=g)
    words = F.normalize(torch.randn(2, DIM, generator=g), dim=1)
    temperature = build_settings("released").method.temperature
    with torch.inference_mode():
        for branch in network.semantics(features_of(high, (8, 8)), words, temperature):
            every = F.cross_entropy(branch, branch.argmax(1), reduction="none")
            assert every.min() >= math.log1p(math.exp(-2)) - 1e-6
            assert branch.abs().max() <= 1 + 1e-6
