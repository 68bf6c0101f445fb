"""A round to segment with."""

import pytest

from tests.engine.conftest import QUICK
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import train_round


@pytest.fixture
def trained(study):
    settings = build_settings(overrides={**QUICK, "training.steps": 2})
    train_round(study, settings, events=SilentEvents())
    return study
