"""A round to segment with, and a slide without a file."""

import pytest

from tests.engine.conftest import QUICK
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import train_round


class ArraySlide:
    """A slide held in memory, at working spacing."""

    spacing_um = 0.5

    def __init__(self, pixels):
        self.pixels = pixels
        self.shape_yx = pixels.shape[:2]

    def read(self, rect, unreadable=None):
        return self.pixels[rect.slices]


@pytest.fixture
def trained(study):
    settings = build_settings(overrides={**QUICK, "training.steps": 2})
    train_round(study, settings, events=SilentEvents())
    return study
