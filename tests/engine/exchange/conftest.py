from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project

SHAPE = (300, 620)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Three classes; slide ``a`` of 600 × 1240 pixels is 300 × 620 at working spacing."""
    with Project.create(tmp_path / "p", classes=["background", "gland", "stroma"]) as made:
        Image.new("RGB", (1240, 600)).save(tmp_path / "a.png")
        made.add_slide(tmp_path / "a.png", spacing_um=0.25)
        yield made


@pytest.fixture
def labelled(project: Project) -> tuple[Project, NDArray[np.uint8]]:
    """The project with patchy labels 0…3 on its slide, and those labels."""
    labels = patches(SHAPE, 0)
    rect = Rect(0, 0, *SHAPE)
    project.write_labels("a", rect, labels, Origin.DRAWN, action="draw")
    return project, labels


def patches(shape_yx: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Return patches of 0…3 with holes, corners that touch, and single pixels."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (30, 31), np.uint8), np.ones((10, 20), np.uint8))
    labels[40:100] = np.kron(rng.integers(0, 4, (60, 31), np.uint8), np.ones((1, 20), np.uint8))
    labels[100:140, 300:340] = rng.integers(0, 4, (40, 40), np.uint8)
    return labels[: shape_yx[0], : shape_yx[1]]
