"""Reader, sample data and manifest."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from npe2.io_utils import read
from standins import SHARED_SLIDES

import napari_unisemalign
from napari_unisemalign.canvas import reader, samples
from unisemalign.slides import SLIDE_SUFFIXES

NAME = "napari-unisemalign"


def test_the_manifest_is_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", NAME],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_top_level_manifest_is_the_packaged_one() -> None:
    top = Path(__file__).parents[2] / "napari.yaml"
    assert top.resolve() == (Path(napari_unisemalign.__file__).parent / "napari.yaml").resolve()


def test_every_command_can_be_imported() -> None:
    manifest = PluginManifest.from_distribution(NAME)
    assert {each.id.split(".")[-1] for each in manifest.contributions.commands} == {
        "read_slide",
        "drawn_slide",
        "dock",
    }
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_manifest_offers_the_suffixes_of_the_engine() -> None:
    [offered] = PluginManifest.from_distribution(NAME).contributions.readers
    assert sorted(offered.filename_patterns) == sorted(f"*{suffix}" for suffix in SLIDE_SUFFIXES)


def test_a_slide_is_read_through_the_manifest(drawn_path: Path) -> None:
    PluginManager.instance().discover()
    [(data, keywords, kind)] = read([str(drawn_path)], stack=False, plugin_name=NAME)
    assert kind == "image"
    assert keywords["rgb"]
    assert keywords["multiscale"]
    assert keywords["scale"] == (0.5, 0.5)
    assert data[0].shape == (1024, 1024, 3)


@pytest.mark.parametrize("name", ["notes.txt", "table.csv", "nothing.tif"])
def test_what_is_no_slide_is_left_to_others(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a slide")
    assert reader.get_reader(str(tmp_path / name)) is None
    assert reader.get_reader(str(tmp_path / "absent.svs")) is None
    assert reader.get_reader([]) is None


def test_a_plain_folder_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "folder.zarr").mkdir()
    assert reader.get_reader(str(tmp_path / "folder.zarr")) is None


def test_a_slide_without_pixel_size_is_shown_in_pixels(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "plain.png"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path)
    [(_, keywords, _)] = reader.get_reader(str(path))(str(path))
    assert keywords["scale"] == (1.0, 1.0)
    assert "units" not in keywords


def test_the_sample_is_drawn_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("UNISEMALIGN_CACHE", str(tmp_path))
    path = samples.drawn_slide(512)
    stamp = path.stat().st_mtime_ns
    assert samples.drawn_slide(512).stat().st_mtime_ns == stamp
    assert [each.name for each in tmp_path.iterdir()] == ["drawn-512.tif"]
    assert reader.read_slides(str(path))[0][0][0].shape == (512, 512, 3)


@pytest.mark.skipif(not SHARED_SLIDES.exists(), reason="the shared slides are not here")
def test_real_slides() -> None:
    for name in ("broken.svs", "unopenable.tiff"):
        assert reader.get_reader(str(SHARED_SLIDES / name)) is None
    for name in ("cmu-1-small-region.svs", "he-example.ome.tif", "tcga-two-levels-no-mpp.svs"):
        path = str(SHARED_SLIDES / name)
        [(data, keywords, _)] = reader.get_reader(path)(path)
        assert keywords["rgb"]
        assert np.asarray(data[-1][:8, :8]).shape == (8, 8, 3)
