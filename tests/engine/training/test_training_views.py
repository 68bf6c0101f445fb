"""Views by hand: stain, hue, boxes. Source: methods.md A6."""

import colorsys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage.color import hed_from_rgb, rgb_from_hed

from tests.engine.conftest import QUICK
from unisemalign.methods import Needs
from unisemalign.settings import build_settings
from unisemalign.training.batches import Batches
from unisemalign.training.tissue import open_tissue
from unisemalign.training.views import cutmix_box, stain_jitter, strong_view

SHARE = 0.5


def test_each_stain_is_scaled_once_and_shifted_by_a_tenth():
    """Densities d of H, E and the rest become s·d + t, s and t as drawn."""
    stains = np.array([[0.3, 0.2, 0.05], [0.1, 0.4, 0.0]])
    image = torch.tensor(np.exp(-stains @ rgb_from_hed), dtype=torch.float32)
    moved = stain_jitter(image.T.reshape(3, 1, 2), SHARE, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    scale, shift = rng.uniform(1 - SHARE, 1 + SHARE, 3), rng.uniform(-SHARE, SHARE, 3) / 10
    found = -np.log(moved.reshape(3, 2).T.double().numpy()) @ hed_from_rgb
    assert found == pytest.approx(scale * stains + shift, abs=1e-4)
    assert np.abs(scale - 1).max() > 0.2  # the square would be elsewhere


def views_of(**more):
    plain = {"stain_strong": 0.0, "jitter": 0.0, "jitter_probability": 1.0, "blur_probability": 0.0}
    return build_settings(overrides={f"views.{k}": v for k, v in {**plain, **more}.items()}).views


def test_a_strong_view_turns_the_hue_by_what_is_set_and_nothing_else():
    image = torch.tensor([0.8, 0.4, 0.6]).view(3, 1, 1).expand(3, 4, 4)
    hues = []
    for seed in range(20):
        out = strong_view(image, views_of(hue=0.1), np.random.default_rng(seed))
        hue, saturation, value = colorsys.rgb_to_hsv(*out[:, 0, 0].tolist())
        start = colorsys.rgb_to_hsv(0.8, 0.4, 0.6)
        assert (saturation, value) == pytest.approx(start[1:], abs=0.02)
        hues.append((hue - start[0] + 0.5) % 1 - 0.5)
    assert 0.05 < max(hues) <= 0.105
    assert -0.105 <= min(hues) < -0.05
    still = strong_view(image, views_of(hue=0.0), np.random.default_rng(0))
    assert torch.allclose(still, image, atol=1e-3)


def test_the_two_views_of_a_crop_have_boxes_of_their_own(study):
    chosen = build_settings(overrides={**QUICK, "views.cutmix_probability": 1.0})
    batches = Batches(open_tissue(study), chosen, Needs(unlabelled=True, strong_views=2))
    boxes = [batches.draw(step).box for step in range(4)]
    assert all(
        not torch.equal(one, two) for views in boxes for one, two in zip(*views, strict=True)
    )


def test_a_large_box_is_as_frequent_as_a_small_one():
    """An aspect that does not fit is drawn anew, the area is kept."""
    views = SimpleNamespace(
        cutmix_probability=1.0, cutmix_area_min=0.0, cutmix_area_max=0.9, cutmix_aspect_min=0.1
    )
    rng = np.random.default_rng(0)
    areas = [cutmix_box(100, views, rng).float().mean().item() for _ in range(1500)]
    assert np.mean(areas) == pytest.approx(0.45, abs=0.02)
    assert np.mean(np.array(areas) > 0.6) == pytest.approx(1 / 3, abs=0.04)
