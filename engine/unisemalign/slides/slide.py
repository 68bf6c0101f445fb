"""What every slide can do, and what the backends share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect

WHITE = 255


class Slide(Protocol):
    """One image file with a pyramid of one or more levels, read as 8-bit RGB.

    A slide belongs to the process that opened it: it refuses to be pickled, so that no file handle
    crosses a fork. Send ``path`` and open it again. Within a process, several threads may read.
    """

    path: Path
    shape_yx: tuple[int, int]
    """Pixels of level 0."""
    spacing_um: float | None
    """µm per pixel of level 0; ``None`` when the file does not say."""
    level_downsamples: tuple[float, ...]
    """Ascending; the first is 1.0."""
    level_shapes: tuple[tuple[int, int], ...]

    def read_level(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` RGB; ``rect`` is in pixels of ``level``; outside is white.

        Raises
        ------
        SlideError
            If there is no such level, or the pixels there cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Let go of the file. Closing twice is harmless."""
        ...


class OneProcess:
    """Refuses pickling: a handle on a file must not travel to another process."""

    path: Path

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            f"A slide stays in the process that opened it. "
            f"Send the path '{self.path}' instead and open it there."
        )


def level_downsamples(level_shapes: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Return how much coarser each level is than level 0.

    Writers halve and drop the odd row, so that 625 × 2 becomes 1250.5 / 625 = 2.0008: where a
    whole number explains both sides to within a pixel, it is the truth.
    """
    h0, w0 = level_shapes[0]
    downsamples = []
    for h, w in level_shapes:
        ratio = (h0 / h + w0 / w) / 2
        whole = max(1, round(max(h0 / h, w0 / w)))
        explains = all(
            abs(full / whole - part) < 1 or part == 1 for full, part in ((h0, h), (w0, w))
        )
        downsamples.append(float(whole) if explains else ratio)
    return tuple(downsamples)


def checked_level(slide: Slide, level: int) -> int:
    """Return ``level``; SlideError when the slide has no such level."""
    if not 0 <= level < len(slide.level_shapes):
        raise SlideError(
            f"Slide '{slide.path.name}' has {len(slide.level_shapes)} level(s), counted from 0; "
            f"level {level} was asked for. Use one that is there."
        )
    return level


def on_white(
    rect: Rect, shape_yx: tuple[int, int], read: Callable[[Rect], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Read the part of ``rect`` that lies inside ``shape_yx`` and set it on white.

    Parameters
    ----------
    rect
        What is wanted; may hang over any edge.
    shape_yx
        Extent of the level.
    read
        Takes a rectangle wholly inside and returns ``(h, w, 3)``.
    """
    inside = rect.intersect(Rect(0, 0, *shape_yx))
    if inside == rect and rect.area:
        return np.ascontiguousarray(read(rect))
    out = np.full((rect.h, rect.w, 3), WHITE, np.uint8)
    if inside.area:
        out[inside.relative_to(rect).slices] = read(inside)
    return out


def flatten_alpha(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Set ``(h, w, 4)`` with straight alpha on white; returns ``(h, w, 3)``."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if (alpha == WHITE).all():
        return rgba[..., :3]
    mixed = rgba[..., :3] * alpha + WHITE * (WHITE - alpha)
    return ((mixed + WHITE // 2) // WHITE).astype(np.uint8)
