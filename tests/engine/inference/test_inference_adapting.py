"""A slide in another stain: its colours are moved, its norms are its own, glass stays glass."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.conftest import QUICK, draw_textures, label_region
from unisemalign.geometry import Rect
from unisemalign.inference import Predictor, load_predictor, predict_rect, predict_split
from unisemalign.inference.adapting import adapted, look_of_training
from unisemalign.inference.stains import look_at
from unisemalign.model import build_network
from unisemalign.project import Split
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings
from unisemalign.slides import SpacedSlide, open_slide
from unisemalign.training import train_round


def tissue(seed=0):
    """Pixels ``(128, 128, 3)`` of two stains in varying amounts, a corner of glass."""
    rng = np.random.default_rng(seed)
    amounts = rng.gamma(2.0, 0.4, (128, 128, 2))
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    pixels = np.round(255 * np.exp(-amounts @ stains)).astype(np.uint8)
    pixels[:32, :32] = 255
    return pixels


def faded(pixels):
    """The same in another laboratory: weaker, and browner."""
    density = -np.log(np.maximum(pixels, 1) / 255)
    change = np.array([[0.6, 0.0, 0.1], [0.0, 0.5, 0.2], [0.0, 0.1, 0.9]])
    return np.round(255 * np.exp(-density @ change)).astype(np.uint8)


def test_a_changed_stain_has_the_other_ones_moments_and_glass_is_glass():
    there, here = look_at([tissue(0)]), look_at([faded(tissue(1))])
    moved = here.change_to(there)(faded(tissue(1)))
    assert look_at([moved]).moments == pytest.approx(there.moments, rel=0.1, abs=0.03)
    assert np.abs(here.moments - there.moments).max() > 0.3
    assert (moved[:32, :32] == 255).all()


def test_a_stain_changed_to_itself_stays():
    look = look_at([tissue()])
    assert np.abs(look.change_to(look)(tissue()).astype(int) - tissue()).max() <= 1


def test_glass_alone_has_no_look():
    assert look_at([np.full((32, 32, 3), 255, np.uint8)]) is None


def predictor_with(**inference):
    settings = build_settings(overrides={**QUICK, **inference})
    torch.manual_seed(0)
    network = build_network(["a", "b"], settings.model)
    return Predictor(network, settings, torch.device("cpu"))


def slide_of(pixels, path):
    Image.fromarray(pixels).save(path)
    return SpacedSlide(open_slide(path, spacing_um=0.5), 0.5)


def test_nothing_asked_for_is_nothing_done(tmp_path):
    slide = slide_of(tissue(), tmp_path / "a.png")
    predictor = predictor_with()
    assert adapted(predictor, slide, None) is predictor


def test_norms_take_the_slides_statistics_by_share_and_the_model_keeps_its_own(tmp_path):
    slide = slide_of(tissue(), tmp_path / "a.png")
    found = {}
    for share in (0.5, 1.0):
        predictor = predictor_with(**{"inference.slide_norms": share})
        before = predictor.network.decoder.state_dict()
        before = {name: value.clone() for name, value in before.items()}
        other = adapted(predictor, slide, None)
        assert adapted(predictor, slide, None) is other
        after = predictor.network.decoder.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        found[share] = other.network.decoder.state_dict()
    moved = [n for n in before if n.endswith("running_mean") and "branches.4" not in n]
    assert moved
    for name in moved:
        assert not torch.equal(found[1.0][name], before[name])
        middle = (before[name] + found[1.0][name]) / 2
        assert torch.allclose(found[0.5][name], middle, atol=1e-5)
    pooled = [name for name in before if "branches.4" in name]
    assert pooled
    assert all(torch.equal(found[1.0][name], before[name]) for name in pooled)


def test_an_adapted_map_is_another_and_the_same_each_time(tmp_path):
    slide = slide_of(tissue(), tmp_path / "a.png")
    rect = Rect(0, 0, 128, 128)
    plain = predict_rect(slide, predictor_with(), rect)
    maps = [
        predict_rect(
            slide, adapted(predictor_with(**{"inference.slide_norms": 1.0}), slide, None), rect
        )
        for _ in range(2)
    ]
    assert (maps[0].confidence == maps[1].confidence).all()
    assert (maps[0].confidence != plain.confidence).any()


def test_a_round_meets_a_slide_in_another_stain(study, tmp_path):
    train_round(study, build_settings("recommended", "supervised", QUICK), events=SilentEvents())
    truth = draw_textures(tmp_path / "d.png", 2)
    pixels = np.array(Image.open(tmp_path / "d.png"))
    Image.fromarray(faded(pixels)).save(tmp_path / "d.png")
    study.add_slide(tmp_path / "d.png", spacing_um=0.5, split=Split.TEST)
    label_region(study, "d", Rect(0, 0, 192, 256), truth)
    plain, _ = load_predictor(study, None, ["device=cpu"])
    matched, _ = load_predictor(study, None, ["device=cpu", "inference.match_stain=true"])
    assert plain.identity != matched.identity
    seen = [next(predict_split(study, each, Split.TEST)).predicted for each in (plain, matched)]
    assert (seen[0] != seen[1]).any()
    here = study.open_slide("d")
    moved = adapted(matched, here, None).change(here.read(Rect(0, 0, 192, 256)))
    assert look_at([moved]).moments == pytest.approx(look_of_training(study).moments, rel=0.25)
