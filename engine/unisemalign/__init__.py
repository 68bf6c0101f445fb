"""unisemalign: teach a computer to segment histology slides, round after round.

The names below are the public face. They load on first use: importing the package loads neither
torch nor a viewer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisemalign.active import rank_regions
    from unisemalign.errors import UnisemalignError
    from unisemalign.exchange import export_labels, import_geojson, import_mask
    from unisemalign.geometry import Rect
    from unisemalign.inference import load_predictor, score_split, segment_slide
    from unisemalign.project import Project
    from unisemalign.settings import Settings, build_settings
    from unisemalign.slides import open_slide
    from unisemalign.training import train_round

_HOME = {
    "Project": "project",
    "Rect": "geometry",
    "Settings": "settings",
    "UnisemalignError": "errors",
    "build_settings": "settings",
    "export_labels": "exchange",
    "import_geojson": "exchange",
    "import_mask": "exchange",
    "load_predictor": "inference",
    "open_slide": "slides",
    "rank_regions": "active",
    "score_split": "inference",
    "segment_slide": "inference",
    "train_round": "training",
}

__all__ = [
    "Project",
    "Rect",
    "Settings",
    "UnisemalignError",
    "build_settings",
    "export_labels",
    "import_geojson",
    "import_mask",
    "load_predictor",
    "open_slide",
    "rank_regions",
    "score_split",
    "segment_slide",
    "train_round",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'unisemalign' has no attribute '{name}'")
    return getattr(import_module(f"unisemalign.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
