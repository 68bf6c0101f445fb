"""Default colours of classes, told apart by colour-blind eyes as well."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe & Ito's palette without its black, strongest contrasts first.
_PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442")
_QUIET = "#999999"
_QUIET_NAMES = {"background", "glass", "other", "rest"}
_LIGHTNESS = (1.0, 0.6, 1.4, 0.8, 1.2, 0.45, 1.55, 0.7)


def default_colors(names: Sequence[str]) -> tuple[str, ...]:
    """Return one ``#rrggbb`` per class name; what is not of interest gets grey.

    After seven classes the colours come again, darker or lighter.
    """
    colors: list[str] = []
    strong = 0
    for name in names:
        if name.strip().lower() in _QUIET_NAMES and _QUIET not in colors:
            colors.append(_QUIET)
            continue
        color = _shade(strong)
        while color in colors:
            strong += 1
            color = _shade(strong)
        strong += 1
        colors.append(color)
    return tuple(colors)


def rgb(color: str) -> tuple[int, int, int]:
    """Return ``#rrggbb`` as three numbers 0…255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _shade(index: int) -> str:
    turn, which = divmod(index, len(_PALETTE))
    lap, step = divmod(turn, len(_LIGHTNESS))
    factor = _LIGHTNESS[step]
    channels = []
    for value in rgb(_PALETTE[which]):
        shaded = value * factor if factor <= 1 else 255 - (255 - value) * (2 - factor)
        channels.append(max(0, min(255, round(shaded) + 7 * lap)))
    return "#{:02x}{:02x}{:02x}".format(*channels)
