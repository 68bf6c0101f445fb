"""What every slide can do, and what the backends share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect

WHITE = 255


@dataclass(frozen=True)
class Opening:
    """How a slide was opened, beside its path and pixel size: needed to open it alike again.

    Attributes
    ----------
    series
        Which image of a file that holds several, counted from 0; ``None``: the largest.
    profile
        Whether a colour profile in the file is applied.
    """

    series: int | None = None
    profile: bool = True


class UnreadableTileError(SlideError):
    """Some pixels of a slide cannot be decoded; the slide's other pixels can.

    Attributes
    ----------
    slide
        The file's name.
    rect
        What is missing, in the pixels of whoever was asked: those of the level for
        :meth:`Slide.read_level`, working pixels for :meth:`SpacedSlide.read`.
    grid
        Names those pixels in the sentence: ``level 2``, ``0.5 µm``.
    reason
        What the decoder said.
    """

    def __init__(self, slide: str, rect: Rect, grid: str, reason: str) -> None:
        super().__init__(slide, rect, grid, reason)
        self.slide = slide
        self.rect = rect
        self.grid = grid
        self.reason = reason

    @classmethod
    def collecting(
        cls, path: Path, level: int, unreadable: list[UnreadableTileError] | None
    ) -> Callable[[Rect, Exception], None]:
        """Return what a backend tells each bad tile to: it joins ``unreadable``, or is raised."""

        def on_bad(rect: Rect, error: Exception) -> None:
            found = cls(path.name, rect, f"level {level}", str(error))
            if unreadable is None:
                raise found from error
            unreadable.append(found)

        return on_bad

    def moved(self, rect: Rect, grid: str) -> UnreadableTileError:
        """Return the same fault in the pixels of another grid."""
        return UnreadableTileError(self.slide, rect, grid, self.reason)

    def __str__(self) -> str:
        return (
            f"Slide '{self.slide}' cannot be decoded at {self.rect} (y, x, height and width at "
            f"{self.grid}): {self.reason}. The file is damaged there, the rest of it can be read: "
            f"copy it again from its source."
        )


class Slide(Protocol):
    """One image file with a pyramid of one or more levels, read as 8-bit RGB.

    A slide belongs to the process that opened it: it refuses to be pickled, so that no file handle
    crosses a fork. Send ``path``, ``spacing_um`` and ``opening`` and open it again with
    :func:`reopen_slide`:
    opening reads headers and a tile at most, never the pixels (but for a plain image, which is
    decoded whole). Within a process, several threads may read.
    """

    path: Path
    shape_yx: tuple[int, int]
    """Pixels of level 0."""
    spacing_um: float | None
    """µm per pixel of level 0; ``None`` when the file does not say."""
    level_downsamples: tuple[float, ...]
    """Ascending; the first is 1.0."""
    level_shapes: tuple[tuple[int, int], ...]
    level_tiles: tuple[tuple[int, int], ...]
    """``(height, width)`` of what is decoded at a time in each level, in a grid from 0, 0; one
    pixel where any part can be had by itself."""
    remarks: tuple[str, ...]
    """Sentences about the slide for the person who adds it: a colour profile, a level that
    contradicts the others, an end that is missing. They do not name the file."""
    opening: Opening

    def read_level(
        self, level: int, rect: Rect, unreadable: list[UnreadableTileError] | None = None
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` RGB; ``rect`` is in pixels of ``level``; outside is white.

        Parameters
        ----------
        unreadable
            Takes one error for each tile under ``rect`` that cannot be decoded; those pixels are
            then white. ``None``: the first such tile is raised.

        Raises
        ------
        UnreadableTileError
            If a tile there cannot be decoded and ``unreadable`` was not given.
        SlideError
            If there is no such level, or the file can no longer be read at all.
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


def checked_level(slide: Slide, level: int) -> int:
    """Return ``level``; SlideError when the slide has no such level."""
    if not 0 <= level < len(slide.level_shapes):
        raise SlideError(
            f"Slide '{slide.path.name}' has {len(slide.level_shapes)} level(s), counted from 0; "
            f"level {level} was asked for. Use one that is there."
        )
    return level


def gone(path: Path, error: object) -> SlideError:
    """Return what to say when an open file stops answering: no tile's fault."""
    return SlideError(
        f"The slide '{path}' was opened but can no longer be read ({error}). Check that its disk "
        f"or network drive is connected, then start again."
    )


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
