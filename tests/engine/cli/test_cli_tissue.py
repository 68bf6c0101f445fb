"""Tissue from a terminal: told, exported, corrected elsewhere, and as found again."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from unisemalign.cli.app import app
from unisemalign.cli.serving import Server
from unisemalign.project import Project, TissueChange, TissueStore
from unisemalign.runtime import JsonLinesEvents
from unisemalign.settings import build_settings

SHAPE = 75, 100


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose slide is pink on the left and glass on the right."""
    pixels = np.full((600, 800, 3), 244, np.uint8)
    pixels[:, :400] = (214, 150, 196)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with Project.create(tmp_path / "p.unisem", classes=["x", "y"], spacing_um=1.0) as made:
        made.add_slide(tmp_path / "a.png", spacing_um=1.0)
        return made.root


def run(*arguments, status=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == status, result.output + str(result.exception)
    return result


def told(*arguments):
    return json.loads(run("tissue", *arguments, "--json").stdout)


def save(path: Path, white: np.ndarray) -> Path:
    Image.fromarray(white.astype(np.uint8)).save(path)
    return path


def test_share_and_area_are_told(root):
    said = told(root, "a")
    assert said["share"] == pytest.approx(0.5, abs=0.02)
    assert said["mm2"] == pytest.approx(0.24, abs=0.01)
    assert said["spacing_um"] == 8
    assert said["added_mm2"] == said["skipped_mm2"] == 0
    assert "% tissue, 0.24 mm², seen at 8 µm/px." in run("tissue", root, "a").stdout


@pytest.mark.parametrize("times", [1, 3, 8])
def test_a_mask_goes_out_and_comes_back_corrected(root, tmp_path, times):
    out = tmp_path / "out" / "mask.png"
    run("tissue", root, "a", "--export", out)
    mask = np.asarray(Image.open(out))
    assert mask.shape == SHAPE
    assert set(np.unique(mask)) == {0, 255}
    run("tissue", root, "a", "--import", out)
    assert not (root / "tissue" / "a.npz").exists()  # as found: nothing is corrected

    mask = mask > 0
    mask[:20, :30] = False
    mask[50:, 80:] = True
    large = mask.repeat(times, 0).repeat(times, 1)
    said = told(root, "a", "--import", save(tmp_path / "better.png", large))
    assert said["skipped_mm2"] == pytest.approx(600 * 64e-6)
    assert said["added_mm2"] == pytest.approx(500 * 64e-6)
    assert "as tissue and 0.04 mm² as none" in run("tissue", root, "a").stdout
    with Project.open(root) as project:
        assert np.array_equal(project.tissue("a").mask, mask)
    said = told(root, "a", "--as-found")
    assert said["added_mm2"] == said["skipped_mm2"] == 0


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((100, 75)), "75 × 100 pixels, found 100 × 75"),
        (np.arange(75 * 100).reshape(SHAPE) % 3, "found 2 others"),
        (np.ones((*SHAPE, 3)), "one channel"),
    ],
)
def test_what_is_no_mask_of_the_slide_is_refused(root, tmp_path, mask, words):
    path = save(tmp_path / "wrong.png", mask)
    assert words in run("tissue", root, "a", "--import", path, status=1).stderr
    assert not (root / "tissue").exists()


def test_nothing_is_corrected_behind_an_open_viewer(root, tmp_path):
    path = save(tmp_path / "mask.png", np.ones(SHAPE))
    with Project.open(root) as project, project.lock_editing():
        assert "another viewer" in run("tissue", root, "a", "--import", path, status=1).stderr
        assert told(root, "a")["added_mm2"] == 0
    both = run("tissue", root, "a", "--import", path, "--as-found", status=1)
    assert "found both" in both.stderr
    assert "no slide 'b'" in run("tissue", root, "b", status=1).stderr


def test_a_warm_engine_sees_the_correction(root):
    like = SimpleNamespace(settings=build_settings())
    with Project.open(root) as project:
        server = Server(project, JsonLinesEvents())
        first = server._opened("a", like)
        assert server._opened("a", like) is first
        values = np.full(SHAPE, TissueChange.NOT_TISSUE, np.uint8)
        TissueStore(root).correct("a", values, 8.0)
        assert not server._opened("a", like).tissue.mask.any()
        TissueStore(root).correct("a", np.zeros_like(values), 8.0)
        assert server._opened("a", like).tissue.mask.any()
