from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def real_slides() -> Path:
    """Real slides beside the repository; never part of it."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "slides"
    if not folder.is_dir():
        pytest.skip(f"the real slides are not here ({folder})")
    return folder


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (150, 101, 3), np.uint8)
