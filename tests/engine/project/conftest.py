from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unisemalign.project import Project

DrawSlide = Callable[..., Path]


@pytest.fixture
def draw_slide(tmp_path: Path) -> DrawSlide:
    """Return a function that writes a small PNG slide."""

    def draw(name: str = "a.png", shape_yx: tuple[int, int] = (700, 900)) -> Path:
        path = tmp_path / "slides" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 255, (*shape_yx, 3), np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)
        return path

    return draw


@pytest.fixture
def project(tmp_path: Path, draw_slide: DrawSlide) -> Iterator[Project]:
    """A project of two classes with one slide, ``a``, of 700 × 900 pixels."""
    with Project.create(tmp_path / "study.unisem", classes=["background", "gland"]) as made:
        made.add_slide(draw_slide(), spacing_um=0.5)
        yield made
