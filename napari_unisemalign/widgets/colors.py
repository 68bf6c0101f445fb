"""Colours of the dock."""

from __future__ import annotations

ACCENT = "#2f7de1"
ERROR = "#e5605a"
