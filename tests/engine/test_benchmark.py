"""A data set laid out as GlaS is, small enough to train on in seconds."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.engine.conftest import QUICK, draw_textures
from unisemalign.benchmark import benchmark_settings, spread_over_seeds, spread_text
from unisemalign.cli.app import app
from unisemalign.errors import DataError
from unisemalign.inference import load_predictor, predict_split
from unisemalign.metrics import SCORE_NAMES, OverlapScores
from unisemalign.project import Project, Split
from unisemalign.project.locks import ProcessLock
from unisemalign.settings import build_settings

FLAGS = [f"--set={key}={value}" for key, value in QUICK.items()]


def draw_pair(root, name, seed):
    """Draw an image and its 1-bit mask, as GlaS has them here."""
    truth = draw_textures(root / "images" / f"{name}.png", seed)
    mask = Image.fromarray(((truth == 2) * 255).astype(np.uint8)).convert("1")
    mask.save(root / "masks" / f"{name}.png")


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "glas"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    names = [f"train_{n}" for n in range(4)]
    for index, name in enumerate(names):
        draw_pair(root, name, index)
    (root / "splits.toml").write_text(
        f'[glas_10]\nlabeled = ["{names[0]}"]\nunlabeled = ["{names[1]}", "{names[2]}"]\n'
        f'val = ["{names[3]}"]\n'
    )
    return root


def invoke(*arguments, status=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result.stdout


def run(*arguments, status=0):
    told = invoke("benchmark", *arguments, "--json", status=status)
    return [json.loads(line) for line in told.splitlines()]


def test_mean_and_sd_over_seeds_and_runs_that_are_there_are_read(data, tmp_path):
    out = ["--out", tmp_path / "runs", "--seeds", "0,1", *FLAGS]
    report = run("glas", "--data", data, "--fraction", "10", *out)[-1]
    scores = [100 * r["best_val"]["mdice"] for r in report["runs"]]
    assert report["best"]["mean"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert report["best"]["sd"] == pytest.approx(np.std(scores, ddof=1), abs=1e-3)
    for place in ("best_val", "last_val"):
        for key in SCORE_NAMES:
            values = [100 * r[place][key] for r in report["runs"]]
            assert report[place][key]["mean"] == pytest.approx(np.mean(values), abs=1e-3), key
            assert report[place][key]["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-3), key
    assert report["seconds_per_step"]["mean"] > 0
    assert report.get("best_test") is None, "no test images, no test scores"
    assert [r["seed"] for r in report["runs"]] == [0, 1]
    again = run("glas", "--data", data, "--fraction", "10", *out)
    assert not [e for e in again if e["event"] == "step"]
    assert again[-1] == report
    page = Path(report["report"])
    assert page.parent == tmp_path / "runs"
    text = page.read_text(encoding="utf-8")
    for key in SCORE_NAMES:
        assert spread_text(report["best_val"][key]) in text, key
    assert text.count("data:image/jpeg;base64,") == 1, "the only val image"
    assert text.count('<polyline class="curve') == 4, "two seeds: a line and its key"
    page.unlink()
    for run_folder in report["runs"]:
        shutil.rmtree(Path(run_folder["folder"]) / "glas.unisem")
    bare = run("glas", "--data", data, "--fraction", "10", *out)
    assert bare[-1] == report, "scores that are there need no weights"
    assert "no pictures" in [e for e in bare if e["event"] == "message"][-1]["text"]
    assert "Not shown." in page.read_text(encoding="utf-8")
    other = run("glas", "--data", data, "--method", "supervised", *out)
    assert other[-1]["method"] == "supervised"
    assert [e for e in other if e["event"] == "step"]


def test_a_run_that_failed_before_its_first_checkpoint_begins_anew(data, tmp_path, monkeypatch):
    from unisemalign.training import loop

    def fails(*_):
        raise RuntimeError("no memory")

    wanted = ["glas", "--data", data, "--fraction", "10", "--out", tmp_path / "runs"]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "build_network", fails)
        run(*wanted, "--seeds", "0", *FLAGS, status=1)
    report = run(*wanted, "--seeds", "0", *FLAGS)[-1]
    assert report["best"]["mean"] is not None


def test_the_report_shows_the_worst_and_the_best_image(data, tmp_path):
    draw_pair(data, "val_2", 9)
    draw_pair(data, "val_3", 4)
    text = (data / "splits.toml").read_text()
    (data / "splits.toml").write_text(text.replace('"train_3"]', '"train_3", "val_2", "val_3"]'))
    arguments = ["--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    report = run("glas", *arguments)[-1]
    project = Path(report["runs"][0]["folder"]) / "glas.unisem"
    with Project.open(project) as opened:
        predictor, _ = load_predictor(opened)
        dice = {}
        for region in predict_split(opened, predictor, Split.VAL):
            scores = OverlapScores(2)
            scores.add(region.predicted, region.truth)
            dice[region.slide] = scores.summary()["per_image_mdice"]
    ranked = sorted(dice, key=dice.get)
    page = Path(report["report"]).read_text(encoding="utf-8")
    assert len(ranked) == 3
    for title, name in (("Worst", ranked[0]), ("Best", ranked[-1])):
        assert f"<b>{title}: {name}</b>. mDice {100 * dice[name]:.2f}," in page


def test_the_best_weights_are_scored_on_test_images_when_they_are_there(data, tmp_path):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    assert run(*arguments)[-1].get("best_test") is None
    for name, seed in (("testA_1", 10), ("testA_2", 11), ("testB_1", 12)):
        draw_pair(data, name, seed)
    events = run(*arguments)
    assert not [e for e in events if e["event"] == "step"], "the run is read, not trained again"
    told = [e["what"] for e in events if "Scoring test" in (e.get("what") or "")]
    assert told == [f"Scoring test, {which} step" for which in ("best", "last")]
    report = events[-1]
    scores = report["runs"][0]["best_test"]
    assert scores["images"] == 3
    assert report["best_test"]["mdice"] == {"mean": round(100 * scores["mdice"], 4), "sd": None}
    again = run(*arguments)
    assert not [e for e in again if "Scoring test" in (e.get("what") or "")], "nor scored again"
    assert again[-1] == report
    draw_pair(data, "testB_2", 13)
    more = run(*arguments)[-1]["runs"][0]
    assert more["best_test"]["images"] == more["last_test"]["images"] == 4, "an image came later"
    scores = more["best_test"]

    # The same images through the verbs of a person's own study give the same scores.
    folder = tmp_path / "outside"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name, seed in (("one", 10), ("two", 11), ("three", 12), ("four", 13)):
        draw_pair(folder, name, seed)
    project = next((tmp_path / "runs").glob("*-s0")) / "glas.unisem"
    invoke("add", project, folder / "images", "--masks", folder / "masks", "--split", "test",
           "--spacing-um", "0.62")  # fmt: skip
    theirs = json.loads(invoke("evaluate", project, "--split", "test", "--json").splitlines()[-1])
    assert theirs["images"] == 4
    for key in SCORE_NAMES:
        assert theirs[key] == pytest.approx(scores[key]), key


def test_the_last_steps_weights_are_scored_on_test_images_too(data, tmp_path):
    """The best weights are made to say gland; the test image is the val image drawn again."""
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    made = run(*arguments)[-1]["runs"][0]
    best = next(Path(made["folder"]).rglob("best.safetensors"))
    with safe_open(best, "pt") as file:
        about = file.metadata()
    weights = {name: value.clone() for name, value in load_file(best).items()}
    weights["decoder.classify.bias"][1] = 1000
    save_file(weights, best, about)
    draw_pair(data, "testA_1", 3)
    report = run(*arguments)[-1]
    scores = report["runs"][0]
    assert scores["last_test"]["step"] == 6
    for key in SCORE_NAMES:
        assert scores["last_test"][key] == pytest.approx(scores["last_val"][key]), key
    assert scores["best_test"]["mdice"] != pytest.approx(scores["best_val"]["mdice"])
    mean = round(100 * scores["last_test"]["mdice"], 4)
    assert report["last_test"]["mdice"] == {"mean": mean, "sd": None}
    page = Path(report["report"]).read_text(encoding="utf-8")
    assert f'test, last step</div><div class="value">{mean:.2f}<' in page.replace("\n", "")
    table = invoke("benchmark", *arguments)
    assert table.splitlines()[1].split("  ")[-1].strip() == "test, last step"


def test_a_run_of_before_is_read_and_says_what_it_lacks(data, tmp_path):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", *FLAGS]
    draw_pair(data, "testA_1", 10)
    old = run(*arguments, "--seeds", "0")[-1]
    folder = Path(old["runs"][0]["folder"])
    scores = json.loads((folder / "scores.json").read_text())
    del scores["last_test"]
    (folder / "scores.json").write_text(json.dumps(scores))
    next(folder.rglob("last.pt")).unlink()
    events = run(*arguments, "--seeds", "0,1")
    first = next(e for e in events if e["event"] == "message")
    assert first["text"].startswith("Not scored: test, last step.")
    report = events[-1]
    assert report["runs"][0]["best_test"] == old["runs"][0]["best_test"]
    assert "last_test" not in report["runs"][0]
    assert report["runs"][1]["last_test"]["images"] == 1
    assert report.get("last_test") is None, "a mean over some seeds beside means over all"
    shutil.rmtree(folder / "glas.unisem")
    assert run(*arguments, "--seeds", "0,1")[-1] == report


def test_test_images_may_be_named_and_want_their_masks(data, tmp_path):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    draw_pair(data, "held_1", 10)
    with (data / "splits.toml").open("a") as file:
        file.write('test = ["held_1"]\n')
    assert run(*arguments)[-1]["runs"][0]["best_test"]["images"] == 1
    (data / "splits.toml").write_text(
        (data / "splits.toml").read_text().replace('["held_1"]', '["held_1", "held_2"]')
    )
    assert "'held_2'" in run(*arguments, status=1)[-1]["text"]


def test_a_test_image_that_was_trained_on_is_refused(data, tmp_path):
    with (data / "splits.toml").open("a") as file:
        file.write('test = ["train_1"]\n')
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    assert "'train_1' in use for train" in run(*arguments, status=1)[-1]["text"]


def test_what_a_person_does_with_a_runs_project_changes_no_score(data, tmp_path):
    """The README says that other images can be scored with it, and rounds can be trained on."""
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    first = run(*arguments)[-1]
    project = Path(first["runs"][0]["folder"]) / "glas.unisem"
    draw_pair(tmp_path / "glas", "testA_1", 10)
    clean = run(*arguments, "--out", tmp_path / "others")[-1]
    own = tmp_path / "own"
    for folder in ("images", "masks"):
        (own / folder).mkdir(parents=True)
    draw_pair(own, "mine", 20)
    invoke("add", project, own / "images", "--masks", own / "masks", "--split", "test",
           "--spacing-um", "0.62")  # fmt: skip
    invoke("train", project, *FLAGS)
    report = run(*arguments)[-1]
    for place in ("best_val", "last_val", "best_test", "last_test"):
        assert report[place] == clean[place], place
    assert report["runs"][0]["best_test"]["images"] == 1
    page = Path(report["report"]).read_text(encoding="utf-8")
    assert page.count('<polyline class="curve') == 2, "the benchmark's round, and its key"


def test_scores_are_of_todays_test_images_alone(data, tmp_path):
    arguments = ["glas", "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    for name, seed in (("testA_1", 10), ("testA_2", 11)):
        draw_pair(data, name, seed)
    two = run(*arguments, "--data", data)[-1]["runs"][0]
    moved = data.rename(tmp_path / "moved")
    assert run(*arguments, "--data", moved)[-1]["runs"][0] == two, "the same images elsewhere"
    (moved / "images" / "testA_2.png").unlink()
    one = run(*arguments, "--data", moved)[-1]["runs"][0]
    assert (two["best_test"]["images"], one["best_test"]["images"]) == (2, 1)
    Image.new("1", Image.open(moved / "masks" / "testA_1.png").size, 1).save(
        moved / "masks" / "testA_1.png"
    )
    corrected = run(*arguments, "--data", moved)[-1]["runs"][0]
    assert corrected["best_test"]["mdice"] != one["best_test"]["mdice"]
    (moved / "images" / "testA_1.png").unlink()
    assert "best_test" not in run(*arguments, "--data", moved)[-1]["runs"][0]
    assert not list((tmp_path / "runs").rglob("tests.unisem"))


def test_another_partition_is_another_run(data, tmp_path):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    first = run(*arguments)[-1]["runs"][0]
    text = (data / "splits.toml").read_text()
    (data / "splits.toml").write_text(text.replace('"train_1", "train_2"', '"train_2"'))
    assert run(*arguments)[-1]["runs"][0]["folder"] != first["folder"]


def test_a_run_that_somebody_makes_is_left_to_them(data, tmp_path):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    folder = Path(run(*arguments)[-1]["runs"][0]["folder"])
    draw_pair(data, "testA_1", 10)
    with ProcessLock(folder / "making.lock", "").held():
        told = run(*arguments, status=1)[-1]["text"]
    assert f"'{folder.name}' is being made by process {os.getpid()}" in told
    assert run(*arguments)[-1]["runs"][0]["best_test"]["images"] == 1


def test_lost_weights_cost_the_test_scores_alone(data, tmp_path):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    made = run(*arguments)[-1]["runs"][0]
    next(Path(made["folder"]).rglob("best.safetensors")).unlink()
    draw_pair(data, "testA_1", 10)
    events = run(*arguments)
    assert events[-1]["runs"][0]["best_val"] == made["best_val"]
    assert "best_test" not in events[-1]["runs"][0]
    told = [e["text"] for e in events if e["event"] == "message"]
    assert any(text.startswith("Not scored: test, best step.") for text in told)


@pytest.mark.parametrize("noted", ["{}", "[]", "3", '{"best_val": {"mdice": "high"}}', b"\xff{"])
def test_a_note_of_scores_that_was_spoilt_is_written_anew(data, tmp_path, noted):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    first = run(*arguments)[-1]
    note = Path(first["runs"][0]["folder"]) / "scores.json"
    note.write_bytes(noted if isinstance(noted, bytes) else noted.encode())
    events = run(*arguments)
    assert events[-1] == first
    assert not [e for e in events if e["event"] == "step"]


@pytest.mark.parametrize("content", [b"hi", b"abc", b"", b"\x80\x02}.", None])
def test_a_torn_checkpoint_costs_the_last_steps_test_scores_alone(data, tmp_path, content):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    checkpoint = next(Path(run(*arguments)[-1]["runs"][0]["folder"]).rglob("last.pt"))
    draw_pair(data, "testA_1", 10)
    if content is None:
        torch.save({"step": 3}, checkpoint)
    else:
        checkpoint.write_bytes(content)
    scores = run(*arguments)[-1]["runs"][0]
    assert scores["best_test"]["images"] == 1
    assert "last_test" not in scores


def test_a_person_reads_a_table(data, tmp_path):
    arguments = ["glas", "--data", data, "--out", tmp_path / "runs", "--seeds", "0", *FLAGS]
    report = run(*arguments)[-1]
    lines = invoke("benchmark", *arguments).splitlines()
    header = next(line for line in lines if "val, best step" in line)
    assert header.split("  ")[-1].strip() == "val, last step"
    row = next(line for line in lines if line.strip().startswith("object F1"))
    assert row.split()[2] == spread_text(report["best_val"]["object_f1"])


def test_a_spread_of_one_seed_or_with_a_gap():
    def runs(*values):
        return [{"best_val": {"mdice": value}, "seconds_per_step": 0.5} for value in values]

    two = spread_over_seeds(runs(0.8, 0.9))
    assert two["best_val"]["mdice"] == {"mean": 85.0, "sd": pytest.approx(7.0711)}
    assert two["seconds_per_step"] == {"mean": 0.5, "sd": 0.0}
    assert two["best_val"]["object_f1"] is None
    assert "best_test" not in two
    assert spread_text(two["best_val"]["mdice"]) == "85.00 ± 7.07"
    assert spread_text(spread_over_seeds(runs(0.8))["best_val"]["mdice"]) == "80.00"
    assert spread_over_seeds(runs(0.8, None))["best_val"]["mdice"] is None
    assert spread_text(None) == "–"


@pytest.mark.parametrize("method", [None, "supervised"])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_papers_presets_train_80_epochs_of_each_partition(preset, method):
    """methods.md A6: an epoch is a step for every four unlabelled images, the rest dropped."""
    for fraction, unlabelled in ((10, 66), (20, 59)):
        found = benchmark_settings(fraction, preset, method)
        epoch = unlabelled // found.training.batch_unlabelled
        assert found.training.validate_every == epoch
        assert found.training.steps == 80 * epoch
    assert found.training.steps == 1120
    everywhere = ["inference.skip_glass=false"]
    assert benchmark_settings(10, preset, method) == build_settings(preset, method, everywhere)
    own = benchmark_settings(20, preset, method, ["training.steps=90"])
    assert (own.training.steps, own.training.validate_every) == (90, 14)
    own = benchmark_settings(20, preset, method, ["training.validate_every=30"])
    assert (own.training.steps, own.training.validate_every) == (1120, 30)


@pytest.mark.parametrize("fraction", [10, 20])
@pytest.mark.parametrize("method", [None, "supervised"])
def test_recommended_is_as_long_on_either_partition(fraction, method):
    own = ["views.pad=zero"]
    wanted = build_settings(
        method=method, overrides=["training.steps=1000", "inference.skip_glass=false", *own]
    )
    assert benchmark_settings(fraction, method=method, overrides=own) == wanted
    short = benchmark_settings(fraction, method=method, overrides=["training.steps=90"])
    assert short.training.steps == 90


def test_the_command_asks_for_the_length_of_the_partition(tmp_path, monkeypatch):
    asked = []

    def look(_name, _data, _fraction, settings, *, seeds, **_):
        assert seeds == [0, 1, 2]  # three, unless others are asked for
        asked.append(settings.training.steps)
        raise DataError("Seen.")

    monkeypatch.setattr("unisemalign.benchmark.run_benchmark", look)
    wanted = ["glas", "--data", tmp_path, "--fraction", "20"]
    run(*wanted, "--preset", "paper", status=1)
    run(*wanted, "--preset", "paper", "--set=training.steps=7", status=1)
    run(*wanted, status=1)
    assert asked == [1120, 7, 1000]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["camelyon"], "Unknown data set 'camelyon'"),
        (["glas", "--fraction", "50"], "10 or 20 %, found 50"),
        (["glas", "--data", "nowhere"], "splits.toml"),
        (["glas", "--set", "seed=7"], "--seeds 7"),
        (["glas", "--set", "model.encoder=uni"], "--encoder uni"),
        (["glas", "--set", "model.text=conch"], "--text conch"),
    ],
)
def test_mistakes_are_told(data, tmp_path, arguments, words):
    name, *rest = arguments
    told = run(name, "--data", data, "--out", tmp_path / "runs", *rest, *FLAGS, status=1)
    assert words in told[-1]["text"]


@pytest.mark.parametrize("seeds", ["4,4", "-1", "99999999999999999999", ""])
def test_impossible_seeds_are_wrong_use(data, seeds):
    result = CliRunner().invoke(app, ["benchmark", "glas", "--data", str(data), f"--seeds={seeds}"])
    assert result.exit_code == 2
    assert "Seeds need different whole numbers" in result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"glas_10 = [", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"", "found None for 'labeled'"),
        (b"glas_10 = 3", "found None for 'labeled'"),
        (b'[glas_10]\nlabeled = ["a"]\nval = ["b"]', "found None for 'unlabeled'"),
        (b'[glas_10]\nlabeled = ["a"]\nunlabeled = []\nval = []', "found [] for 'val'"),
        (b'[glas_10]\nlabeled = ["a", 3]\nunlabeled = []\nval = ["b"]', "3] for 'labeled'"),
    ],
)
def test_a_partition_that_is_none_is_told(data, tmp_path, content, words):
    (data / "splits.toml").write_bytes(content)
    told = run("glas", "--data", data, "--out", tmp_path / "runs", *FLAGS, status=1)
    assert words in told[-1]["text"]
    assert not (tmp_path / "runs").exists()
