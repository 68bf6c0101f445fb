"""The candidate's training over many organs: it resumes exactly; stains, crops and checks."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unisemalign.errors import SettingsError
from unisemalign.model import build_encoder
from unisemalign.weights import find_published

PRETRAINING = Path(__file__).parents[2] / "pretraining"


@pytest.fixture(scope="module")
def scripts():
    """The scripts of the folder, imported as they import one another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PRETRAINING))
        names = ("pretrain", "pretrain_organs", "organs", "stains", "lite", "probe", "check")
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def fields(tmp_path_factory, scripts):
    """Two fields a grade and case of EBHI-SEG, and five of organs, two of them of one kind."""
    root, rng = tmp_path_factory.mktemp("fields"), np.random.default_rng(0)

    def write(path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 40, (224, 260, 3))
        Image.fromarray((value + noise).astype(np.uint8)).save(path)

    for grade in scripts["pretrain"].GRADES:
        for case in range(2):
            stem = f"case{case}-{grade}-1"
            write(root / "ebhi" / "images" / grade / f"{stem}.jpg", 120)
            write(root / "ebhi" / "masks" / grade / f"{stem}.png", 0)
    for name in ("histologylab/1_skin", "histologylab/2_lung", "openstax/3_liver"):
        write(root / "organs" / f"{name}.jpg", 60)
    for name in ("oral/OSCC_400x_1", "oral/OSCC_400x_2"):
        write(root / "organs" / f"{name}.jpg", 200)
    return root


def test_a_stopped_run_goes_on_exactly_and_its_file_loads(scripts, fields, tmp_path):
    module = scripts["pretrain_organs"]
    recipe = module.Recipe(steps=3, batch=2, organ_batch=2, crop_px=64, held_out=0.5)
    start = tmp_path / "imagenet.pth"
    lite = scripts["lite"]
    known = lite.timm.create_model(lite.ARCHITECTURE, pretrained=False).state_dict()
    torch.save({f"_{name}": value for name, value in known.items()}, start)

    def run(name, until):
        places = module.Places(fields / "ebhi", fields / "organs", start, tmp_path / name)
        module.pretrain(places, recipe, every=2, until=until)
        return tmp_path / name

    whole = run("whole", None)
    run("stopped", 2)
    stopped = run("stopped", None)
    log = [json.loads(line) for line in (stopped / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in log if e["event"] == "held_out"] == [2, 3]
    assert [e["step"] for e in log if e["event"] == "start"] == [0, 2]
    one, two = (load_file(each / "organs.safetensors") for each in (whole, stopped))
    assert all(torch.equal(one[name], two[name]) for name in one)
    encoder = lite.organs_encoder(whole / "organs.safetensors").eval()
    with torch.inference_mode():
        low, high = encoder(torch.rand(1, 3, 64, 96))
    assert low.shape == (1, encoder.low_channels, 32, 48)
    assert high.shape == (1, encoder.high_channels, 4, 6)


def test_other_weights_are_no_start(scripts, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(SystemExit, match="holds others"):
        scripts["lite"].imagenet_weights(tmp_path / "other.pth")


def test_fields_of_one_kind_are_drawn_as_the_root_of_their_number(scripts, fields):
    organs = scripts["organs"].read_organs(fields / "organs")
    assert organs.n_kinds == 4
    assert organs.shares.sum() == pytest.approx(1)
    kind = int(organs.kinds[-1])
    of_kind = organs.shares[(organs.kinds == kind).numpy()].sum()
    assert len(organs.fields) == 5
    alone = next(s for s, k in zip(organs.shares, organs.kinds, strict=True) if int(k) == 0)
    several = organs.shares[np.bincount(organs.kinds)[organs.kinds] == 2].sum()
    assert several / alone == pytest.approx(2**0.5)
    assert of_kind > 0


def test_crops_show_their_field_at_every_scale(scripts, fields):
    organs = scripts["organs"].read_organs(fields / "organs")
    rng = np.random.default_rng(0)
    for scales in ((0.4, 0.5), (1.5, 1.6)):
        crops = scripts["organs"].cut(organs, np.arange(5), 64, scales, rng)
        assert crops.shape == (5, 3, 64, 64)
        for crop, (full, _) in zip(crops, organs.fields, strict=True):
            assert 255 * crop.mean().item() == pytest.approx(full.float().mean().item(), abs=6)


def test_stains_change_colours_and_not_without_being_asked(scripts):
    images = torch.rand(6, 3, 8, 8) * 0.8 + 0.1
    restained = scripts["stains"].restained
    same = restained(images, np.random.default_rng(0), jitter=0.0, other=0.0, grey=0.0)
    assert torch.allclose(same, images, atol=1e-4)
    other = restained(images, np.random.default_rng(0), jitter=0.3, other=1.0, grey=0.0)
    assert (other - images).abs().mean((1, 2, 3)).min() > 0.02
    grey = restained(images, np.random.default_rng(0), jitter=0.0, other=0.0, grey=1.0)
    assert (grey.amax(1) - grey.amin(1)).max() < 1e-3


def test_a_probe_tells_classes_apart_that_a_line_can(scripts):
    rows = torch.randn(300, 4)
    truth = (rows[:, 0] + rows[:, 1] > 0).long()
    weights = scripts["probe"].fit(rows, truth, 2)
    said = (rows @ weights[:-1] + weights[-1]).argmax(1)
    assert (said == truth).float().mean() > 0.97


def test_the_file_shipped_passes_and_another_does_not(scripts, monkeypatch):
    check = scripts["check"]
    assert check.check_file("embedded") == []
    assert check.check_file("organs") == []
    entry = find_published("embedded").model_copy(update={"sha256": "0" * 64})
    monkeypatch.setattr(check, "find_published", lambda _: entry)
    monkeypatch.setattr(check, "LARGEST_BYTES", 1000)
    wrong = check.check_file("embedded")
    assert any("SHA-256" in sentence for sentence in wrong)
    assert any("1000 bytes are allowed" in sentence for sentence in wrong)
    with pytest.raises(SettingsError):
        build_encoder("lite")
