"""Colours that the plugin chooses itself."""

from __future__ import annotations

import colorsys


def cluster_color(number: int) -> str:
    """Return the colour of a cluster: far from its neighbours', paler than a class's."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + 0.381966 * number) % 1.0, 0.55, 0.95)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
