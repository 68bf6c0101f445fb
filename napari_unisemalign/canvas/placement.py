"""Where pixels lie on the canvas, in micrometres."""

from __future__ import annotations

from typing import Any

from unisemalign.geometry import Rect

UNITS = ("um", "um")


def place(rect: Rect, spacing_um: float) -> dict[str, Any]:
    """Return scale and translate (µm) of pixels of ``spacing_um`` whose corner is ``rect``'s.

    The slide's top-left edge lies at 0, 0, so a pixel's centre lies half a pixel further.
    """
    return {
        "scale": (spacing_um, spacing_um),
        "translate": ((rect.y + 0.5) * spacing_um, (rect.x + 0.5) * spacing_um),
        "units": UNITS,
    }
