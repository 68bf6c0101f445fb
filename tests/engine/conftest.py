"""A small study to train on: two textures a threshold cannot tell apart, made in a second."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState, Split

QUICK = {
    "training.steps": 6,
    "training.batch_labelled": 2,
    "training.batch_unlabelled": 2,
    "training.validate_every": 3,
    "training.checkpoint_every": 2,
    "views.crop_px": 64,
    "inference.window_px": 128,
    "inference.stride_px": 96,
    "model.decoder_dim": 16,
    "model.high_dim": 32,
    "model.low_dim": 16,
    "model.skip_dim": 8,
    "model.embed_dim": 16,
    "device": "cpu",
}
"""Settings that make a round a matter of seconds."""


def draw_textures(path: Path, seed: int, shape=(192, 256)) -> np.ndarray:
    """Write stripes beside dots, pink both; return labels 1 (stripes) and 2 (dots)."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    labels = np.where(xs + 20 * np.sin(ys / 15 + seed) < shape[1] / 2, 1, 2).astype(np.uint8)
    stripes = np.sin(ys / 2.0)
    dots = np.sin(ys / 2.0) * np.sin(xs / 2.0)
    value = np.where(labels == 1, stripes, dots) * 30 + rng.normal(0, 6, shape)
    image = np.stack([200 + value * 0.5, 120 + value, 170 + value * 0.7], axis=-1)
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path)
    return labels


def label_region(project: Project, slide: str, rect: Rect, truth: np.ndarray) -> None:
    """Label ``rect`` as a person would who accepts it."""
    project.write_labels(slide, rect, truth[rect.slices], Origin.DRAWN, action="accept")
    project.add_region(slide, rect, state=RegionState.ACCEPTED)


class ListEvents:
    """Keeps every event in ``events``."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)


def make_study(tmp_path: Path) -> Project:
    """Make a project with a part-labelled slide, an unlabelled one, and one held out."""
    project = Project.create(tmp_path / "s.unisem", classes=["stripes", "dots"], spacing_um=0.5)
    for index, (name, split) in enumerate(
        [("a", Split.TRAIN), ("b", Split.TRAIN), ("c", Split.VAL)]
    ):
        truth = draw_textures(tmp_path / f"{name}.png", index)
        project.add_slide(tmp_path / f"{name}.png", spacing_um=0.5, split=split)
        if name == "a":
            label_region(project, "a", Rect(16, 64, 128, 128), truth)
        if name == "c":
            label_region(project, "c", Rect(0, 0, 192, 256), truth)
    return project


def copy_study(made: Path, tmp_path: Path) -> Project:
    """Copy a study and its slides, a tenth of the work of making them, and open the copy."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    project = Project.open(tmp_path / "s.unisem")
    for record in project.slides():
        project.relocate_slide(record.name, tmp_path / record.path.name)
    return project


@pytest.fixture(scope="session")
def made_study(tmp_path_factory):
    """The folder of :func:`make_study`, made once; tests get copies."""
    folder = tmp_path_factory.mktemp("study")
    make_study(folder).close()
    return folder


@pytest.fixture(scope="session")
def trained_study(made_study, tmp_path_factory):
    """The same with a round of two steps, trained once; tests get copies."""
    from unisemalign.runtime import SilentEvents
    from unisemalign.settings import build_settings
    from unisemalign.training import train_round

    folder = tmp_path_factory.mktemp("trained")
    settings = build_settings(overrides={**QUICK, "training.steps": 2})
    with copy_study(made_study, folder) as project:
        train_round(project, settings, events=SilentEvents())
    return folder


@pytest.fixture
def study(made_study, tmp_path):
    """A copy of the study, open."""
    with copy_study(made_study, tmp_path) as project:
        yield project


@pytest.fixture
def trained(trained_study, tmp_path):
    """A copy of the study with a round that has a model, open."""
    with copy_study(trained_study, tmp_path) as project:
        yield project
