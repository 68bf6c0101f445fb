"""Validation scores over steps, as one SVG element."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from unisemalign.protocol import Event, Validation

_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 48
_KEY_LEFT, _KEY_WIDTH, _KEY_COLUMNS, _KEY_HEIGHT = 186, 104, 5, 18
_COLORS, _DASHES = 4, ("none", "7 4", "2 3")
_MANY_POINTS = 40


def validation_points(log: Iterable[Event]) -> list[tuple[int, float]]:
    """Return (step, mDice in per cent) of every validation in a round's log, in order.

    A round that was resumed may have validated a step twice: the later one counts.
    """
    found = {
        event.step: 100 * event.mdice
        for event in log
        if isinstance(event, Validation) and event.mdice is not None
    }
    return sorted(found.items())


def draw_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], across: str = "step", each: str = "seed"
) -> str:
    """Return an ``<svg>`` of a line a curve, or ``""`` when no curve has a point.

    Parameters
    ----------
    curves
        Name → points (step, val mDice in per cent), in order. Colours are classes ``s0``…``s3`` of
        the page.
    across, each
        What the points lie over, and what a line is of.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    top = _TOP + _KEY_HEIGHT * ((len(curves) - 1) // _KEY_COLUMNS)
    height = _HEIGHT - _TOP + top
    x_ticks = _ticks(0, max(x for x, _ in points))
    y_ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
    x0, x1 = x_ticks[0], max(x_ticks[-1], max(x for x, _ in points))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x0) / (x1 - x0)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(height - _BOTTOM - up * (height - top - _BOTTOM), 1),
        )

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Mean Dice on the val images over each {across}, one line a {each}">',
        f'<text x="{_LEFT}" y="16">val mDice (%)</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{height - 8}" text-anchor="end">{across}</text>',
    ]
    for tick in y_ticks:
        _, y = place(x0, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    base = height - _BOTTOM
    parts.append(
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>'
    )
    for tick in x_ticks:
        x, _ = place(tick, y_ticks[0])
        parts.append(f'<text x="{x}" y="{base + 20}" text-anchor="middle">{tick:g}</text>')
    for index, (name, curve) in enumerate(curves.items()):
        color = f"s{index % _COLORS}"
        look = f'class="curve {color}" stroke-dasharray="{_dash(index)}"'
        line = " ".join(f"{x},{y}" for x, y in (place(*point) for point in curve))
        parts.append(f'<polyline {look} points="{line}"/>')
        if len(curve) <= _MANY_POINTS:
            parts += [
                f'<circle class="{color}" fill="currentColor" r="2.5" cx="{x}" cy="{y}"/>'
                for x, y in (place(*point) for point in curve)
            ]
        key_x = _KEY_LEFT + _KEY_WIDTH * (index % _KEY_COLUMNS)
        key_y = 12 + _KEY_HEIGHT * (index // _KEY_COLUMNS)
        parts.append(f'<polyline {look} points="{key_x},{key_y} {key_x + 24},{key_y}"/>')
        parts.append(f'<text x="{key_x + 30}" y="{key_y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])


def _dash(index: int) -> str:
    return _DASHES[index // _COLORS % len(_DASHES)]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers from at most ``low`` to at least ``high``, about five."""
    span = max(high - low, 1)
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
