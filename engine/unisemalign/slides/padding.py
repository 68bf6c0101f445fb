"""Reading past the edge of a slide."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect


class Readable(Protocol):
    """A slide at working spacing: :class:`SpacedSlide`, or what reads like one."""

    shape_yx: tuple[int, int]

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` of ``rect``."""
        ...


def read_padded(
    slide: Readable,
    rect: Rect,
    pad: Literal["reflect", "zero"],
    fill: tuple[int, int, int] = (0, 0, 0),
) -> NDArray[np.uint8]:
    """Read ``rect`` at working spacing as ``(h, w, 3)``, inventing what lies outside the slide.

    ``reflect`` mirrors the tissue at the edge, ``zero`` paints ``fill`` (methods.md A8 row 23).
    """
    height, width = slide.shape_yx
    if Rect(0, 0, height, width).contains(rect):
        return slide.read(rect)
    top, bottom, above, below = _mirrored(rect.y, rect.y1, height)
    left, right, before, after = _mirrored(rect.x, rect.x1, width)
    pixels = slide.read(Rect(top, left, bottom - top, right - left))
    margins = ((above, below), (before, after), (0, 0))
    if pad == "reflect":
        pixels = np.pad(pixels, margins, mode="symmetric")
    else:
        canvas = np.empty(
            (pixels.shape[0] + above + below, pixels.shape[1] + before + after, 3), np.uint8
        )
        canvas[:] = fill
        canvas[above : above + pixels.shape[0], before : before + pixels.shape[1]] = pixels
        pixels = canvas
    y, x = rect.y - top + above, rect.x - left + before
    return np.ascontiguousarray(pixels[y : y + rect.h, x : x + rect.w])


def _mirrored(start: int, stop: int, length: int) -> tuple[int, int, int, int]:
    """Return what to read along one axis, and how much to pad before and after.

    What is read reaches inwards as far as the overhang reaches out: the mirror needs it.
    """
    before, after = max(0, -start), max(0, stop - length)
    first = max(0, min(start, length - after)) if start < length else max(0, length - after)
    last = min(length, max(stop, before))
    return first, last, before, after
