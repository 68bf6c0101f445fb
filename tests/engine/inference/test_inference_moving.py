"""A model taken into another project: it segments there as it did, and trains on."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.engine.conftest import QUICK, copy_study
from unisemalign.cli.app import app
from unisemalign.errors import DataError, WeightsError
from unisemalign.inference import create_from_model, export_model, load_predictor
from unisemalign.project import ClassInfo, Project
from unisemalign.settings import build_settings
from unisemalign.training import train_round


@pytest.fixture
def trained(trained_study, tmp_path):
    with copy_study(trained_study, tmp_path) as project:
        yield project


@pytest.fixture
def model(trained, tmp_path):
    return export_model(trained, None, "unisemalign", tmp_path / "out")


def test_the_model_answers_in_a_new_project_as_it_did_in_its_own(trained, model, tmp_path):
    with create_from_model(tmp_path / "new", model) as new:
        assert new.info.classes == trained.info.classes
        assert new.info.spacing_um == trained.info.spacing_um
        assert (new.info.encoder, new.info.text) == (trained.info.encoder, trained.info.text)
        assert [(each.number, each.state) for each in new.rounds()] == [(1, "done")]
        before, made = load_predictor(trained, None, ["device=cpu"])
        after, _ = load_predictor(new, None, ["device=cpu"])
        assert new.round(1).method == made.method
    side = before.settings.inference.window_px
    pixels = np.random.default_rng(0).integers(0, 255, (1, side, side, 3)).astype(np.uint8)
    assert (before(pixels) == after(pixels)).all()


def test_the_next_round_trains_on_from_it(trained, model, tmp_path):
    with create_from_model(tmp_path / "new", model) as new:
        slide = trained.slides()[0]
        added = new.add_slide(slide.path, spacing_um=slide.spacing_um)
        region = next(r for r in trained.regions() if r.slide == slide.name)
        labels = trained.labels(slide.name).read(region.rect)
        from unisemalign.project import LabelEdit, Origin

        edit = LabelEdit(region.rect, labels, Origin.DRAWN, regions=(region.rect,))
        new.accept(added.name, [edit], action="accept")
        quick = [f"{key}={value}" for key, value in QUICK.items()]
        made = train_round(new, build_settings("recommended", None, [*quick, "training.steps=1"]))
        assert (made.number, made.parent, made.state) == (2, 1, "done")


def test_a_rounds_own_weights_serve_too_and_another_pixel_size_can_be_said(trained, tmp_path):
    weights = trained.latest_round().layout.weights
    with create_from_model(tmp_path / "new", weights, spacing_um=0.25) as new:
        assert [each.name for each in new.info.classes] == ["stripes", "dots"]
        assert new.info.spacing_um == 0.25


def test_the_verbs_write_it_and_begin_with_it(trained, tmp_path):
    run = CliRunner().invoke
    out, new = str(tmp_path / "out"), str(tmp_path / "new")
    told = run(app, ["model", "export", str(trained.root), "--out", out, "--format", "unisemalign"])
    assert told.exit_code == 0, told.output
    file = told.stdout.strip().splitlines()[-1]
    told = run(app, ["new", new, "--from-model", file])
    assert told.exit_code == 0, told.output
    assert "can segment at once" in told.stdout
    for wrong in ([], ["--classes", "a,b", "--from-model", file]):
        told = run(app, ["new", str(tmp_path / "other"), *wrong, "--json"])
        assert told.exit_code == 2
        assert "either --classes or" in told.output
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("{", "found a mistake"),
        (json.dumps({"spacing_um": -1, "classes": []}), "found a mistake"),
        (json.dumps({"spacing_um": 0.5, "classes": [{"name": "a", "color": "#000000"}]}), "contra"),
    ],
)
def test_what_a_file_says_of_its_project_is_checked(model, tmp_path, said, problem):
    from safetensors import safe_open

    with safe_open(model, framework="pt") as file:
        header = dict(file.metadata())
    save_file(load_file(model), tmp_path / "bad.safetensors", metadata={**header, "project": said})
    with pytest.raises(WeightsError, match=problem):
        create_from_model(tmp_path / "new", tmp_path / "bad.safetensors")
    assert not (tmp_path / "new").exists()


def test_no_file_and_another_file_are_told(tmp_path):
    with pytest.raises(DataError, match="found none"):
        create_from_model(tmp_path / "new", tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(WeightsError):
        create_from_model(tmp_path / "new", tmp_path / "text.safetensors")


def test_colours_go_along(trained, tmp_path):
    with Project.create(
        tmp_path / "p", classes=[ClassInfo(name="stripes", color="#123456"), "dots"]
    ) as project:
        made = project.new_round(method="m", preset="p")
        made.layout.weights.write_bytes(trained.latest_round().layout.weights.read_bytes())
        project.set_round(made.number, state="done")
        model = export_model(project, None, "unisemalign", tmp_path / "out")
    with create_from_model(tmp_path / "new", model) as new:
        assert new.info.classes[0].color == "#123456"
