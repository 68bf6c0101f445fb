"""Stored arrays of any axis order, seen as ``(y, x, 3)`` of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.slide import flatten_alpha

CONVERT = "Convert to 8-bit RGB, for example to a pyramidal TIFF, and open that."


def check_rgb8(name: str, dtype: Any, channels: int) -> None:
    """Raise SlideError unless pixels are 8-bit with 3 (RGB) or 4 (RGBA) channels."""
    if channels not in (3, 4):
        raise SlideError(
            f"A slide wants 3 channels (red, green, blue); '{name}' has {channels}. {CONVERT}"
        )
    if np.dtype(dtype) != np.uint8:
        bits = np.dtype(dtype).itemsize * 8
        raise SlideError(
            f"A slide wants 8 bits a channel; '{name}' has {bits} ({np.dtype(dtype)}). {CONVERT}"
        )


@dataclass(frozen=True)
class ChannelAxes:
    """Where ``y``, ``x`` and the colour lie in a stored array; every other axis has one entry."""

    y: int
    x: int
    colour: int
    ndim: int

    @classmethod
    def find(cls, name: str, axes: Sequence[str], shape: Sequence[int], dtype: Any) -> ChannelAxes:
        """Find the axes by name (``y``, ``x``, and ``s`` or ``c`` for colour; upper case too).

        Raises
        ------
        SlideError
            If there is no plane, no 8-bit RGB, or more than one plane.
        """
        names = [axis.lower() for axis in axes]
        if "y" not in names or "x" not in names or len(names) != len(shape):
            raise SlideError(
                f"A slide wants an image with the axes y and x; '{name}' has '{''.join(names)}'. "
                f"{CONVERT}"
            )
        # Files may have both samples and channels; the colour is the one with 3 or 4 entries.
        colours = [i for i, axis in enumerate(names) if axis in "sc"]
        colours.sort(key=lambda i: shape[i] not in (3, 4))
        check_rgb8(name, dtype, shape[colours[0]] if colours else 1)
        found = cls(names.index("y"), names.index("x"), colours[0], len(names))
        found._check_one_plane(name, names, shape)
        return found

    def _check_one_plane(self, name: str, names: Sequence[str], shape: Sequence[int]) -> None:
        for index, (axis, length) in enumerate(zip(names, shape, strict=True)):
            if index not in (self.y, self.x, self.colour) and length != 1:
                raise SlideError(
                    f"A slide wants one plane; '{name}' has {length} along the axis '{axis}'. "
                    f"Save one of them as an image of its own and open that."
                )

    def shape_yx(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return ``(height, width)`` of a stored shape."""
        return int(shape[self.y]), int(shape[self.x])

    def read(self, array: Any, rect: Rect) -> NDArray[np.uint8]:
        """Return ``rect`` of a stored array as ``(h, w, 3)``; alpha is set on white."""
        key: list[Any] = [0] * self.ndim
        key[self.y], key[self.x], key[self.colour] = *rect.slices, slice(None)
        block = np.asarray(array[tuple(key)])
        kept = sorted((self.y, self.x, self.colour))
        block = block.transpose([kept.index(axis) for axis in (self.y, self.x, self.colour)])
        return flatten_alpha(block) if block.shape[2] == 4 else block
