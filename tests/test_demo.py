"""The demo, at a size that takes a minute: its verbs, its figures, its pictures."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unisemalign.geometry import Rect

ROOT = Path(__file__).parents[1]
TINY = (
    "training.batch_labelled=2",
    "training.batch_unlabelled=2",
    "views.crop_px=64",
    "model.decoder_dim=16",
    "model.high_dim=32",
    "model.low_dim=16",
    "model.skip_dim=8",
    "model.embed_dim=16",
    "device=cpu",
)


@pytest.fixture(scope="module")
def parts() -> Iterator[dict[str, ModuleType]]:
    """The script's files, imported."""
    # As Python does for a script: its folder comes first.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(str(ROOT / "demo"))
    yield {name: importlib.import_module(name) for name in ("tissue", "loop", "pictures", "demo")}
    monkeypatch.undo()


@pytest.fixture
def tissue(parts) -> ModuleType:
    """Slides and truth."""
    return parts["tissue"]


@pytest.fixture
def demo(parts) -> ModuleType:
    """The script itself."""
    return parts["demo"]


def test_labels_by_eye_hold_what_can_be_seen(tissue):
    labels = tissue.draw_by_eye()
    assert labels.shape == (512, 512)
    seen = {tissue.CLASSES[value - 1] for value in np.unique(labels)}
    assert seen == {"glass", "stroma", "epithelium", "lumen"}


def test_labels_by_eye_follow_the_stain(tissue):
    """Brown is epithelium: where it was labelled the tissue is darker in blue than in red."""
    from skimage.data import immunohistochemistry

    image = immunohistochemistry().astype(int)
    brown = image[..., 0] - image[..., 2]
    labels = tissue.draw_by_eye()
    epithelium = tissue.CLASSES.index("epithelium") + 1
    assert brown[labels == epithelium].mean() > 40 > brown[labels != epithelium].mean()


def test_held_out_tissue_is_apart_from_what_is_labelled(tissue):
    assert tissue.IHC_FIRST.intersect(tissue.IHC_HELD_OUT).area == 0
    seeds = [tissue.Plan(seed=seed).drawn_seeds.values() for seed in range(4)]
    assert len({each for pair in seeds for each in pair}) == 8


def test_first_regions_do_not_overlap(tissue):
    plan = tissue.Plan(side_px=768, region_px=128)
    first, second = tissue.choose_first(plan)
    assert first.intersect(second).area == 0
    assert Rect(0, 0, 768, 768).contains(first)


def test_the_verdict_says_so_when_it_is_no_better(demo):
    assert "better by 10.0" in demo.verdict({"dice_before": 0.5, "dice_after": 0.6})
    assert "NOT better" in demo.verdict({"dice_before": 0.6, "dice_after": 0.5})


def test_seeds_are_summed_up(demo, tmp_path, monkeypatch):
    def run(plan):
        before = 0.5 + 0.1 * plan.seed
        figures = {"dice_before": before, "dice_after": before + 0.1, "gain": 0.1}
        return figures | {"seconds_per_step": 1.0, "seconds_total": 9.0, "pictures": {}}

    monkeypatch.setattr(demo, "run_demo", run)
    report = demo.run_seeds(demo.Plan(out=tmp_path), [0, 1, 2])
    assert report["dice_before"] == pytest.approx(0.6)
    assert report["dice_before_sd"] == pytest.approx(0.1)
    assert report["gain_sd"] == pytest.approx(0)
    assert len(report["runs"]) == 3


def test_a_verb_runs_in_a_process_of_its_own(demo, tmp_path):
    [made] = demo.run_verb("new", tmp_path / "a.unisem", "--classes", "a,b")
    assert made["classes"] == ["a", "b"]
    with pytest.raises(SystemExit, match="a.unisem"):
        demo.run_verb("new", tmp_path / "a.unisem", "--classes", "a,b,c")


def run_here(*words: str | Path) -> list[dict[str, Any]]:
    """Run a verb in this process: torch is then imported once, not once a verb."""
    from unisemalign.cli.app import app

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        app([*map(str, words), "--json"], standalone_mode=False)
    events = [json.loads(line) for line in said.getvalue().splitlines()]
    return [event for event in events if event.get("event") in {"done", None}]


def test_tiny_demo(parts, demo, tmp_path, monkeypatch):
    for name in ("loop", "demo"):
        monkeypatch.setattr(parts[name], "run_verb", run_here)
    words = ["--out", str(tmp_path), "--steps", "2", "--side-px", "512", "--region-px", "128"]
    settings = [word for each in TINY for word in ("--set", each)]
    assert demo.main([*words, *settings, "--no-screenshot", "--no-viewer"]) == 0

    report = json.loads((tmp_path / "report.json").read_text())
    for key in ("dice_before", "dice_after", "seconds_total", "seconds_per_step", "seed"):
        assert isinstance(report[key], int | float), key
    assert 0 <= report["dice_before"] <= 1
    assert set(report["dice_per_class"]["after"]) == set(parts["tissue"].CLASSES)
    for area in report["area"]["after"].values():
        assert sum(area.values()) == pytest.approx(1) or sum(area.values()) == 0
    wanted = {"tissue", "prediction", "unsure", "corrections", "after", "loop"}
    assert set(report["pictures"]) == wanted
    for path in report["pictures"].values():
        with Image.open(path) as picture:
            assert min(picture.size) > 200
    assert len(report["corrections"]) <= 3
    assert list((tmp_path / "export").glob("*.geojson"))


def test_a_folder_that_no_demo_made_is_left_alone(demo, tmp_path):
    (tmp_path / "slides").mkdir()
    with pytest.raises(SystemExit, match="found .* with something else in it"):
        demo.main(["--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["slides"]
