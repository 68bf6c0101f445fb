"""Reading past the edge of a slide."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.slides.spaced import SpacedSlide


def read_padded(
    slide: SpacedSlide,
    rect: Rect,
    pad: Literal["reflect", "zero"],
    fill: tuple[int, int, int] = (0, 0, 0),
) -> NDArray[np.uint8]:
    """Read ``rect`` at working spacing as ``(h, w, 3)``, inventing what lies outside the slide.

    ``reflect`` mirrors the tissue at the edge, ``zero`` paints ``fill`` (METHODS A8 row 23).
    """
    inside = rect.intersect(Rect(0, 0, *slide.shape_yx))
    pixels = slide.read(inside)
    if inside == rect:
        return pixels
    margins = (
        (inside.y - rect.y, rect.y1 - inside.y1),
        (inside.x - rect.x, rect.x1 - inside.x1),
        (0, 0),
    )
    if pad == "reflect" and inside.area > 0:
        return np.pad(pixels, margins, mode="symmetric")
    canvas = np.empty((rect.h, rect.w, 3), np.uint8)
    canvas[:] = fill
    if inside.area > 0:
        ys, xs = inside.relative_to(rect).slices
        canvas[ys, xs] = pixels
    return canvas
