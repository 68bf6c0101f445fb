"""The table of published weights: complete, consistent, readable without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from unisemalign.cli.app import app
from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model import build_encoder
from unisemalign.weights import (
    PUBLISHED,
    choice_sentence,
    find_published,
    find_weights,
    is_here,
    spacing_advice,
    split_name,
)

FOREIGN = [entry for entry in PUBLISHED if entry.repo]


def test_weights_list_has_what_is_asked_of_it():
    result = CliRunner().invoke(app, ["weights", "list", "--json"])
    rows = json.loads(result.stdout)["weights"]
    assert len(rows) >= 18
    assert {row["kind"] for row in rows} == {"encoder", "text"}
    for row in rows:
        assert isinstance(row["here"], bool)
        assert isinstance(row["gated"], bool)
        assert row["licence"]
        assert row["megabytes"] >= 0
    assert len({row["name"] for row in rows}) == len(rows)
    ours = {row["name"]: row["here"] for row in rows if row["page"] is None}
    assert ours == {"embedded": True, "organs": True, "free": True}


def test_weights_list_says_where_a_licence_is_accepted():
    lines = CliRunner().invoke(app, ["weights", "list"]).stdout.splitlines()
    uni = next(line for line in lines if line.startswith("uni "))
    assert "1213 MB" in uni
    assert "CC-BY-NC-ND-4.0" in uni


@pytest.mark.parametrize("entry", FOREIGN, ids=lambda e: e.name)
def test_every_entry_is_complete(entry):
    assert entry.page == f"https://huggingface.co/{entry.repo}"
    assert entry.files
    assert entry.megabytes >= entry.parameters_m * 4 * 0.98
    assert 0 < entry.memory_megabytes <= entry.parameters_m * 4 * 1.02
    if entry.kind == "text":
        assert entry.tokenizer
        assert entry.speed is None
        return
    assert entry.speed in {"fast", "medium", "slow"}
    assert 0.2 <= entry.spacing_um <= 2
    assert all(0 < value < 1 for value in entry.mean + entry.std)
    deepest = entry.depth - 1
    assert entry.taps == (round(2 * deepest / 23), round(9 * deepest / 23))  # UNI's relative depth
    assert entry.prefix_tokens == 1 + entry.arguments.get(
        "reg_tokens", 4 * ("reg4" in entry.architecture)
    )
    assert all(side % entry.patch == 0 for side in entry.image_px)


@pytest.mark.parametrize("name", ["embedded", "organs"])
def test_our_encoders_say_of_themselves_what_the_others_say(name):
    entry = find_published(name)
    built = build_encoder(name, weights=False)
    assert entry.patch == built.high_stride
    assert built.multiple % built.high_stride == 0
    assert entry.width == built.high_channels
    assert entry.prefix_tokens == 0
    parameters = sum(p.numel() for p in built.parameters())
    assert entry.parameters_m == pytest.approx(parameters / 1e6, abs=0.01)
    assert entry.memory_megabytes == pytest.approx(4 * parameters / 1e6, abs=0.1)
    assert entry.speed == "fast"
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        built.eval()(torch.zeros(1, 3, 256, 256))
    assert entry.gflop == pytest.approx(counted.get_total_flops() / 256**2 / 1e3, rel=0.02)


def test_reading_the_table_loads_no_torch():
    code = (
        "import sys; from unisemalign.weights import PUBLISHED, is_here; "
        "[is_here(e) for e in PUBLISHED]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_and_ones_own_files(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    entry = find_published("uni")
    assert split_name("uni") == ("uni", None)
    assert split_name(f"uni={tmp_path}") == ("uni", tmp_path)
    assert find_weights(entry, tmp_path) == tmp_path / "pytorch_model.bin"
    assert find_weights(entry, tmp_path / "pytorch_model.bin") == tmp_path / "pytorch_model.bin"
    with pytest.raises(SettingsError, match="found nothing there"):
        split_name("uni=/nowhere/at/all")
    with pytest.raises(SettingsError, match="'embedded' takes no file of weights"):
        split_name(f"embedded={tmp_path}")
    with pytest.raises(
        WeightsError, match="'pytorch_model.bin' or 'model.safetensors', found none"
    ):
        find_weights(entry, tmp_path.parent)
    assert find_published("conch", "encoder") is None
    assert find_published("conch", "text").title == "CONCH (words)"


@pytest.mark.parametrize(
    ("encoder", "spacing", "zoom", "told"),
    [
        ("uni", 0.5, 1.0, False),
        ("uni", 0.25, 0.5, False),
        ("uni", 0.62, 1.0, False),
        ("uni", 0.5, 0.5, True),
        ("uni=somewhere.bin", 0.5, 0.5, True),
        ("uni", 0.2, 1.0, True),
        ("conch-vision", 0.5, 1.0, False),
        ("embedded", 8.0, 1.0, True),
        ("embedded", 0.5, 0.5, False),
        ("resnet18", 8.0, 1.0, False),
        ("conch", 8.0, 1.0, False),
    ],
)
def test_a_pixel_size_the_encoder_does_not_know_is_told(encoder, spacing, zoom, told):
    advice = spacing_advice(encoder, spacing, zoom)
    assert bool(advice) == told


def test_the_advice_names_both_sizes_and_the_zoom_that_mends_it():
    advice = spacing_advice("uni", 0.5, 0.5)
    assert "trained at 0.5 µm/px and sees 1 µm/px here" in advice
    assert "--set model.zoom=1," in advice
    assert spacing_advice("uni", 0.5, 1) is None


@pytest.mark.parametrize("spelling", ["MahmoodLab--uni", "MahmoodLab--UNI"])
def test_a_cache_is_read_however_the_repository_is_spelled(spelling, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    entry = find_published("uni")
    assert not is_here(entry)
    folder = tmp_path / f"models--{spelling}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c" * 40)
    (folder / "snapshots" / ("c" * 40)).mkdir(parents=True)
    file = folder / "snapshots" / ("c" * 40) / "pytorch_model.bin"
    file.touch()
    assert find_weights(entry) == file
    assert is_here(entry)


def test_what_is_said_while_choosing(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert choice_sentence("embedded", "encoder") == choice_sentence("free", "text") == ""
    uni = choice_sentence("uni", "encoder")
    assert "CC-BY-NC-ND-4.0" in uni
    assert "1213 MB" in uni
    assert "accept the terms" in uni
    assert "accept" not in choice_sentence("kaiko-b8", "encoder")
    assert "not on this machine" not in choice_sentence("uni=/data/uni.bin", "encoder")
    assert "looked up in open_clip" in choice_sentence("uni", "text")


def test_the_page_has_the_tables_of_the_registry():
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, str(root / "tools" / "encoders_page.py"), "--check"], check=True
    )
    page = (root / "docs" / "encoders.md").read_text(encoding="utf-8")
    assert all(f"| `{entry.name}` |" in page for entry in FOREIGN)
