"""A slide as a multiscale RGB layer in micrometres."""

from __future__ import annotations

from typing import Any

from unisemalign.slides import Slide, pyramid_levels

LayerData = tuple[Any, dict[str, Any], str]
METADATA_KEY = "unisemalign"


def slide_layer(slide: Slide, *, name: str | None = None) -> LayerData:
    """Return the layer that shows ``slide``: world units are µm, its top-left edge is at 0, 0.

    A slide that does not say how large its pixels are is shown in pixels.
    """
    spacing = slide.spacing_um or 1.0
    keywords: dict[str, Any] = {
        "name": name or slide.path.stem,
        "rgb": True,
        "multiscale": True,
        "scale": (spacing, spacing),
        "translate": (spacing / 2, spacing / 2),
        "metadata": {METADATA_KEY: {"path": str(slide.path)}},
    }
    if slide.spacing_um is not None:
        keywords["units"] = ("um", "um")
    return pyramid_levels(slide), keywords, "image"
