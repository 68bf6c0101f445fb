"""The probability of every class as a file: its highest is the map's class."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models import open_ome_zarr
from typer.testing import CliRunner

from tests.engine.conftest import ListEvents, copy_study
from unisemalign.cli.app import app
from unisemalign.errors import CancelledError, DataError, SlideError
from unisemalign.geometry import Rect
from unisemalign.inference import export_probabilities, load_predictor, segment_slide
from unisemalign.protocol import Message
from unisemalign.runtime import CancelToken


@pytest.fixture
def trained(trained_study, tmp_path):
    with copy_study(trained_study, tmp_path) as project:
        yield project


def test_the_highest_probability_is_the_class_of_the_map(trained, tmp_path):
    predictor, made = load_predictor(trained, None)
    name = trained.slides()[0].name
    segment_slide(trained, name, predictor, made.number)
    store = trained.predictions(made.number, name)
    whole = Rect(0, 0, *store.shape_yx)
    classes, sure = store.read(whole, "class"), store.read(whole, "confidence")
    assert classes.any()

    (path,) = export_probabilities(trained, tmp_path / "out", "ome-zarr", slides=[name])
    group = zarr.open_group(path, mode="r")
    values = np.asarray(group["0"])
    assert values.shape == (2, *whole.shape)
    predicted = classes > 0
    assert np.array_equal(predicted, values.any(0))
    assert np.array_equal(values.max(0)[predicted], sure[predicted])
    best = values.argmax(0) + 1
    tied = values[0] == values[1]  # in 256 steps
    assert np.array_equal(best[predicted & ~tied], classes[predicted & ~tied])
    assert np.all(np.abs(values.sum(0, dtype=int)[predicted] - 255) <= 1)
    assert type(open_ome_zarr(group)).__name__ == "Image"  # another program's models accept it
    ome = group.attrs["ome"]
    assert [each["label"] for each in ome["omero"]["channels"]] == ["stripes", "dots"]
    assert ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [
        1, 0.5, 0.5,
    ]  # fmt: skip

    (tiff,) = export_probabilities(trained, tmp_path / "out", "ome-tiff", slides=[name])
    with tifffile.TiffFile(tiff) as file:
        assert file.series[0].axes == "CYX"
        assert np.array_equal(file.asarray(), values)
        assert "stripes" in file.ome_metadata
    note = json.loads((tiff.parent / f"{tiff.name}.run.json").read_text())
    assert (note["what"], note["round"]) == ("probability", made.number)


def test_coarser_levels_are_means(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("unisemalign.inference.probabilities.COARSEST_PX", 100)
    name = trained.slides()[0].name
    (path,) = export_probabilities(trained, tmp_path / "out", "ome-zarr", slides=[name])
    group = zarr.open_group(path, mode="r")
    fine, coarse = np.asarray(group["0"], float), np.asarray(group["1"], float)
    h, w = (side // 2 * 2 for side in fine.shape[1:])
    mean = fine[:, :h, :w].reshape(2, h // 2, 2, w // 2, 2).mean((2, 4))
    assert np.abs(coarse[:, : h // 2, : w // 2] - mean).max() <= 0.5


def test_a_stopped_export_leaves_nothing(trained, tmp_path):
    token = CancelToken()
    token.request()
    with pytest.raises(CancelledError):
        export_probabilities(trained, tmp_path / "out", "ome-tiff", cancel=token)
    assert not (tmp_path / "out").exists()


def test_a_slide_that_is_gone_is_left_out_unless_it_was_named(trained, tmp_path):
    gone, *others = [record.name for record in trained.slides()]
    path = trained.slide(gone).path
    kept = path.rename(tmp_path / "kept")
    heard = ListEvents()
    try:
        written = export_probabilities(trained, tmp_path / "out", "ome-zarr", events=heard)
        with pytest.raises(SlideError):
            export_probabilities(trained, tmp_path / "out", "ome-zarr", slides=[gone])
    finally:
        kept.rename(path)
    assert [each.name for each in written] == [f"{n}.probability.ome.zarr" for n in others]
    said = [each for each in heard.events if isinstance(each, Message)]
    assert len(said) == 1
    assert said[0].text.startswith(f"{gone}: left out.")


def test_the_verb_and_its_refusals(trained, tmp_path):
    name, out = trained.slides()[0].name, tmp_path / "out"
    given = ["export", str(trained.root), name, "--out", str(out), "--what", "probability"]
    with pytest.raises(DataError, match="found 'png'"):
        export_probabilities(trained, out, "png")
    refused = CliRunner().invoke(app, [*given, "--format", "ome-zarr", "--smooth-px", "2"])
    assert refused.exit_code == 1
    assert "do not go with them" in refused.output
    assert not out.exists()
    said = CliRunner().invoke(app, [*given, "--format", "ome-tiff", "--json"])
    assert said.exit_code == 0, said.output
    (file,) = json.loads(said.stdout.splitlines()[-1])["files"]
    assert file.endswith(f"{name}.probability.ome.tif")
