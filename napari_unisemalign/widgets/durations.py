"""Durations in words."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Return ``95`` as ``1 min 35 s``, and nothing for nothing."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 90:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
