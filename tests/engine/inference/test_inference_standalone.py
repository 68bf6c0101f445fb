"""A model that leaves its project answers as it did inside."""

import json
import sys
import zipfile

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.engine.conftest import copy_study
from unisemalign.cli.app import app
from unisemalign.errors import DataError, SettingsError, WeightsError
from unisemalign.inference import export_model, load_predictor

MINE = {"authors": ["A. Person"], "licence": "CC-BY-4.0"}


@pytest.fixture
def trained(trained_study, tmp_path):
    with copy_study(trained_study, tmp_path) as project:
        yield project


def test_the_traced_file_gives_the_rounds_probabilities(trained, tmp_path):
    path = export_model(trained, None, "torchscript", tmp_path / "out")
    predictor, made = load_predictor(trained, None, ["device=cpu", "precision=float32"])
    side = predictor.settings.inference.window_px
    windows = np.random.default_rng(0).integers(0, 255, (1, side, side, 3)).astype(np.uint8)
    pixels = torch.from_numpy(windows).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        answer = torch.jit.load(path)(pixels)
    expected = predictor(windows)[:, : predictor.n_classes]
    assert torch.allclose(answer, expected, atol=1e-5)
    note = json.loads(path.with_name(path.name + ".run.json").read_text())
    assert (note["round"], note["window_px"], note["spacing_um"]) == (made.number, side, 0.5)
    assert [each["name"] for each in note["classes"]] == ["stripes", "dots"]


def test_the_onnx_file_gives_the_rounds_probabilities(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    path = export_model(trained, None, "onnx", tmp_path / "out")
    predictor, _ = load_predictor(trained, None, ["device=cpu", "precision=float32"])
    side = predictor.settings.inference.window_px
    windows = np.random.default_rng(0).integers(0, 255, (1, side, side, 3)).astype(np.uint8)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["probabilities"]
    pixels = np.moveaxis(windows, 3, 1).astype(np.float32)
    (answer,) = session.run(None, {"image": pixels})
    expected = predictor(windows)[:, : predictor.n_classes]
    assert np.allclose(answer, expected, atol=1e-4)


def test_onnx_says_what_it_needs(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"pip install napari-unisemalign\[onnx\]"):
        export_model(trained, None, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bioimageio_package_passes_the_networks_own_test(trained, tmp_path):
    from bioimageio import core

    path = export_model(trained, None, "bioimageio", tmp_path / "out", **MINE)
    summary = core.test_model(path)
    assert summary.status == "passed", summary.display()


def test_the_package_holds_what_it_describes(trained, tmp_path):
    path = export_model(trained, None, "bioimageio", tmp_path / "out", **MINE)
    with zipfile.ZipFile(path) as package:
        described = json.loads(package.read("rdf.yaml"))
        assert set(package.namelist()) == {
            "rdf.yaml", "weights.pt", "input.npy", "output.npy", "cover.png", "README.md",
        }  # fmt: skip
    channels = described["outputs"][0]["axes"][1]["channel_names"]
    assert channels == ["stripes", "dots"]
    assert described["inputs"][0]["axes"][2]["scale"] == 0.5
    assert described["license"] == "CC-BY-4.0"
    assert described["authors"] == [{"name": "A. Person"}]


def test_a_package_needs_its_authors_word(trained, tmp_path):
    for given, missing in (({}, "no author"), ({"authors": ["A"]}, "no licence")):
        with pytest.raises(DataError, match=missing):
            export_model(trained, None, "bioimageio", tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_never_someone_elses_weights(trained, tmp_path, monkeypatch):
    predictor, made = load_predictor(trained)
    monkeypatch.setattr(type(predictor.network.encoder), "ours", False)
    monkeypatch.setattr(
        "unisemalign.inference.standalone.load_predictor", lambda *_: (predictor, made)
    )
    predictor.network.encoder.pretrained = True
    with pytest.raises(WeightsError, match="licence is its owner's"):
        export_model(trained, None, "torchscript", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_lies_there_is_not_replaced(trained, tmp_path):
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / "s-round-1.pt"
    mine.write_bytes(b"mine")
    with pytest.raises(DataError):
        export_model(trained, None, "torchscript", tmp_path / "out")
    assert mine.read_bytes() == b"mine"


def test_the_verb_writes_the_file(trained, tmp_path):
    arguments = ["model", "export", str(trained.root), "--out", str(tmp_path / "out"), "--json"]
    told = CliRunner().invoke(app, [*arguments, "--format", "torchscript"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout.splitlines()[-1])["file"].endswith("s-round-1.pt")
