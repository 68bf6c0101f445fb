"""Places and sizes the plugin's tests share."""

from __future__ import annotations

import sys
from pathlib import Path

SIZE_PX = 1024
PATIENCE_MS = 120_000
"""What comes in a second comes late where many processes share a core; only a fault never comes."""
FAKE_ENGINE = (sys.executable, "-u", str(Path(__file__).with_name("fake_engine.py")))
SHARED_SLIDES = Path(__file__).parents[2].parent / "shared" / "data" / "slides"
