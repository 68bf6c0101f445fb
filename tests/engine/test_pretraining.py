"""The script that makes the embedded encoder: it learns, resumes exactly, and writes what loads."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unisemalign.model import build_encoder
from unisemalign.model.encoders import EmbeddedEncoder
from unisemalign.model.encoders.packaged import packaged_weights

SCRIPT = Path(__file__).parents[2] / "pretraining" / "pretrain.py"


@pytest.fixture(scope="module")
def pretrain():
    spec = importlib.util.spec_from_file_location("pretrain", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretrain"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ebhi(tmp_path_factory, pretrain):
    """Two fields a grade and case: a disc on a darker ground."""
    root = tmp_path_factory.mktemp("ebhi")
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:224, :224]
    for grade in pretrain.GRADES:
        for kind in ("images", "masks"):
            (root / kind / grade).mkdir(parents=True)
        for case in range(2):
            disc = (ys - 112) ** 2 + (xs - 60 - 50 * case) ** 2 < 50**2
            image = np.where(disc[..., None], (220, 150, 200), (120, 60, 140))
            image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / "images" / grade / f"case{case}-{grade}-1.jpg")
            plane = Image.fromarray((255 * disc).astype(np.uint8))
            plane.save(root / "masks" / grade / f"case{case}-{grade}-1.png")
    return root


def test_a_stopped_run_goes_on_exactly_and_its_file_loads(pretrain, ebhi, tmp_path):
    recipe = pretrain.Recipe(steps=4, batch=2, crop_px=64, held_out=0.5)
    pretrain.pretrain(ebhi, tmp_path / "whole", recipe, every=4)
    stopped = tmp_path / "stopped"
    pretrain.pretrain(ebhi, stopped, recipe, every=2, until=2)
    pretrain.pretrain(ebhi, stopped, recipe, every=2)
    log = [json.loads(line) for line in (stopped / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in log if e["event"] == "held_out"] == [2, 4]
    assert [e["step"] for e in log if e["event"] == "start"] == [0, 2]
    one, two = (load_file(run / "embedded.safetensors") for run in (tmp_path / "whole", stopped))
    assert all(torch.equal(one[k], two[k]) for k in one)
    encoder = EmbeddedEncoder(weights=False)
    encoder.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in one.items()})


def test_crops_and_masks_move_together(pretrain, ebhi):
    recipe = pretrain.Recipe(crop_px=64, stain=0.0, colour=0.0, tint=0.0)
    fields = pretrain.read_fields(ebhi, recipe)
    images, masks = pretrain.disturbed(
        fields, torch.arange(len(fields.grades)), recipe, np.random.default_rng(0)
    )
    bright = images.mean(1) > 0.55
    coloured = (images.amax(1) - images.amin(1)) > 0.02  # a tenth of the crops lose their colour
    agree = (bright == (masks > 0)).float()[coloured]
    assert agree.mean() > 0.97
    assert 0.05 < masks.mean() < 0.95


def test_whole_cases_are_held_out(pretrain, ebhi):
    fields = pretrain.read_fields(ebhi, pretrain.Recipe(held_out=0.5))
    assert int(fields.train.sum()) == len(pretrain.GRADES)
    assert len(set(fields.grades[fields.train].tolist())) == len(pretrain.GRADES)


def test_hidden_pixels_are_whole_cells_in_half_of_the_crops(pretrain):
    recipe = pretrain.Recipe()
    cover = pretrain.hidden(8, recipe, np.random.default_rng(0))
    assert cover.shape == (8, 1, recipe.crop_px, recipe.crop_px)
    assert cover[:4].sum() == 0
    share = cover[4:].mean().item()
    assert share == pytest.approx(recipe.hidden_share, abs=0.1)


def test_the_package_brings_weights_small_enough_and_finite():
    state = packaged_weights("embedded")
    assert sum(v.numel() for v in state.values()) * 2 < 25e6
    assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())
    encoder = build_encoder("embedded")
    assert encoder.pretrained
    assert encoder.ours
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[name])
