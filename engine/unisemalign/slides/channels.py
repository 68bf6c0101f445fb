"""Stored values of any axis order and depth, seen as ``(y, x, 3)`` of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.slide import WHITE, flatten_alpha

CONVERT = "Convert to 8-bit RGB, for example to a pyramidal TIFF, and open that."


@dataclass(frozen=True)
class Colours:
    """What stored values mean.

    Attributes
    ----------
    channels
        1 (gray), 3 (RGB) or 4 (RGBA).
    bits
        Significant bits a channel: the largest value is white.
    inverted
        The largest value is black (gray only).
    premultiplied
        Colours were multiplied with alpha.
    """

    channels: int
    bits: int = 8
    inverted: bool = False
    premultiplied: bool = False

    @classmethod
    def find(cls, name: str, dtype: Any, channels: int) -> Colours:
        """Return what values of ``dtype`` mean.

        Raises
        ------
        SlideError
            Unless they are 8 or 16 bits in 1, 3 or 4 channels.
        """
        if channels not in (1, 3, 4):
            raise SlideError(
                f"A slide wants 1 channel (gray), 3 (RGB) or 4 (RGBA); '{name}' has {channels}. "
                f"{CONVERT}"
            )
        if np.dtype(dtype) not in (np.uint8, np.uint16):
            raise SlideError(
                f"A slide wants 8 or 16 bits a channel; '{name}' has values of type "
                f"{np.dtype(dtype)}. {CONVERT}"
            )
        return cls(channels, np.dtype(dtype).itemsize * 8)

    def with_bits(self, bits: int | None) -> Colours:
        """Return the same with the significant bits a file states; 8-bit values stay as they are.

        A statement that cannot be is passed over.
        """
        return replace(self, bits=bits) if bits and 8 < bits < self.bits else self

    @property
    def remarks(self) -> list[str]:
        """What a person should know."""
        if self.bits == 8:
            return []
        return [
            f"Its {self.bits} bits a channel are read as 8: the value {2**self.bits - 1} is white. "
            f"If it looks black, its values span less: convert it to 8 bits."
        ]

    def rgb8(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` of ``(h, w, channels)``; what is transparent becomes white."""
        block: NDArray[np.uint8] = self._scaled[stored] if self.bits > 8 else stored
        if self.inverted:
            block = np.bitwise_not(block)
        if self.channels == 1:
            return np.repeat(block, 3, axis=2)
        if self.channels == 3:
            return block
        if self.premultiplied:
            lit = block[..., :3].astype(np.uint16) + (WHITE - block[..., 3:])
            return np.asarray(np.minimum(lit, WHITE), np.uint8)
        return flatten_alpha(block)

    @cached_property
    def _scaled(self) -> NDArray[np.uint8]:
        most = 2**self.bits - 1
        values = np.arange(2**16, dtype=np.uint32)
        return np.asarray(np.minimum((values * WHITE + most // 2) // most, WHITE), np.uint8)


@dataclass(frozen=True)
class ChannelAxes:
    """Where ``y``, ``x`` and the colour lie in a stored array; every other axis has one entry.

    ``colour`` is ``None`` for a gray image without an axis for it.
    """

    y: int
    x: int
    colour: int | None
    ndim: int

    @classmethod
    def find(cls, name: str, axes: Sequence[str], shape: Sequence[int]) -> ChannelAxes:
        """Find the axes by name (``y``, ``x``, and ``s`` or ``c`` for colour; upper case too).

        Raises
        ------
        SlideError
            If there is no plane, or more than one.
        """
        names = [axis.lower() for axis in axes]
        if "y" not in names or "x" not in names or len(names) != len(shape):
            raise SlideError(
                f"A slide wants an image with the axes y and x; '{name}' has '{''.join(names)}'. "
                f"{CONVERT}"
            )
        # Files may have both samples and channels; the colour is the one with 3 or 4 entries.
        colours = [i for i, axis in enumerate(names) if axis in "sc"]
        colours.sort(key=lambda i: (shape[i] not in (3, 4), shape[i] == 1))
        colour = colours[0] if colours else None
        found = cls(names.index("y"), names.index("x"), colour, len(names))
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

    def channels(self, shape: Sequence[int]) -> int:
        """Return how many channels a stored shape has."""
        return 1 if self.colour is None else int(shape[self.colour])

    def read(self, array: Any, rect: Rect) -> NDArray[Any]:
        """Return ``rect`` of a stored array as ``(h, w, channels)``."""
        key: list[Any] = [0] * self.ndim
        key[self.y], key[self.x] = rect.slices
        if self.colour is not None:
            key[self.colour] = slice(None)
        block = np.asarray(array[tuple(key)])
        order = [axis for axis in (self.y, self.x, self.colour) if axis is not None]
        block = block.transpose([sorted(order).index(axis) for axis in order])
        return block if self.colour is not None else block[..., None]
