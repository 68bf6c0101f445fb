"""What the encoder is given outside a small image (methods.md A7 and A8 row 23)."""

import numpy as np
import pytest
import torch

from tests.engine.conftest import QUICK
from tests.engine.inference.conftest import ArraySlide
from unisemalign.geometry import Rect
from unisemalign.inference import Predictor, predict_rect
from unisemalign.model import build_network
from unisemalign.settings import build_settings

SHAPE, WINDOW = (80, 100), 128
ENCODERS = ["embedded", "vit_tiny_patch16_224", "resnet18"]  # two with other statistics


def given_to_the_encoder(pixels, encoder, preset="recommended", **more):
    """Return what the encoder gets ``(3, 128, 128)`` for a slide of one window, and the network."""
    small = {**QUICK, "model.encoder": encoder, "model.zoom": 1.0, **more}
    settings = build_settings(preset, overrides=small)
    torch.manual_seed(0)
    network = build_network(["a", "b"], settings.model, encoder_weights=False)
    seen = []
    network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    predictor = Predictor(network, settings, torch.device("cpu"))
    predict_rect(ArraySlide(pixels), predictor, Rect(0, 0, *pixels.shape[:2]))
    (windows,) = seen
    assert windows.shape == (1, 3, WINDOW, WINDOW)
    return windows[0], network


def normalised(pixels, network):
    mean, std = (torch.tensor(s).view(3, 1, 1) for s in (network.encoder.mean, network.encoder.std))
    return (torch.tensor(pixels).permute(2, 0, 1) / 255 - mean) / std


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_zero_is_zero_after_normalisation(pixels, encoder):
    given, network = given_to_the_encoder(pixels, encoder, **{"views.pad": "zero"})
    assert torch.allclose(given[:, :80, :100], normalised(pixels, network), atol=1e-5)
    outside = torch.ones(WINDOW, WINDOW, dtype=torch.bool)
    outside[:80, :100] = False
    # Pixels are read as whole numbers of 255: half of one is what may be left.
    for channel, std in zip(given, network.encoder.std, strict=True):
        assert channel[outside].abs().max() <= 0.5 / 255 / std + 1e-5
    black = normalised(np.zeros((1, 1, 3), np.uint8), network)
    assert black.max() < -0.9  # what a black fill would have given


@pytest.mark.parametrize("encoder", ENCODERS)
def test_reflect_is_the_mirrored_image(pixels, encoder):
    given, network = given_to_the_encoder(pixels, encoder, **{"views.pad": "reflect"})
    inside = normalised(pixels, network)
    below = torch.cat([inside, inside.flip(1)[:, : WINDOW - 80]], 1)
    mirrored = torch.cat([below, below.flip(2)[:, :, : WINDOW - 100]], 2)
    assert torch.allclose(given, mirrored, atol=1e-5)


@pytest.mark.parametrize(
    ("preset", "empty"), [("paper", True), ("released", True), ("recommended", False)]
)
def test_the_published_presets_pad_with_zero_and_ours_mirrors(pixels, preset, empty):
    given, _ = given_to_the_encoder(pixels, "embedded", preset)
    corner = given[:, 80:, 100:].abs().max().item()
    assert (corner < 0.02) == empty
