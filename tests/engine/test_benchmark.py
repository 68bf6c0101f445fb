"""A data set laid out as GlaS is, small enough to train on in seconds."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.engine.conftest import QUICK, draw_textures
from unisemalign.cli.app import app

FLAGS = [f"--set={key}={value}" for key, value in QUICK.items()]


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "glas"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    names = [f"train_{n}" for n in range(4)]
    for index, name in enumerate(names):
        truth = draw_textures(root / "images" / f"{name}.png", index)
        mask = Image.fromarray(((truth == 2) * 255).astype(np.uint8)).convert("1")
        mask.save(root / "masks" / f"{name}.png")
    (root / "splits.toml").write_text(
        f'[glas_10]\nlabeled = ["{names[0]}"]\nunlabeled = ["{names[1]}", "{names[2]}"]\n'
        f'val = ["{names[3]}"]\n'
    )
    return root


def run(*arguments, status=0):
    result = CliRunner().invoke(app, ["benchmark", *(str(a) for a in arguments), "--json"])
    assert result.exit_code == status, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_mean_and_sd_over_seeds_and_runs_that_are_there_are_read(data, tmp_path):
    out = ["--out", tmp_path / "runs", "--seeds", "0,1", *FLAGS]
    report = run("glas", "--data", data, "--fraction", "10", *out)[-1]
    scores = [100 * r["best_val"]["mdice"] for r in report["runs"]]
    assert report["best"]["mean"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert report["best"]["sd"] == pytest.approx(np.std(scores, ddof=1), abs=1e-3)
    assert [r["seed"] for r in report["runs"]] == [0, 1]
    again = run("glas", "--data", data, "--fraction", "10", *out)
    assert not [e for e in again if e["event"] == "step"]
    assert again[-1] == report
    other = run("glas", "--data", data, "--method", "supervised", *out)
    assert other[-1]["method"] == "supervised"
    assert [e for e in other if e["event"] == "step"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["camelyon"], "'glas', found 'camelyon'"),
        (["glas", "--fraction", "50"], "10 or 20, found 50"),
        (["glas", "--data", "nowhere"], "splits.toml"),
    ],
)
def test_mistakes_are_told(data, tmp_path, arguments, words):
    name, *rest = arguments
    told = run(name, "--data", data, "--out", tmp_path / "runs", *rest, *FLAGS, status=1)
    assert words in told[-1]["text"]
