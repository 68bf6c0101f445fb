"""Stored values of any axis order and depth, seen as ``(y, x, 3)`` of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.profiles import Inks, ProfileTransform, find_profile
from unisemalign.slides.slide import WHITE, flatten_alpha

CONVERT = "Convert to 8-bit RGB, for example to a pyramidal TIFF, and open that."


@dataclass(frozen=True)
class Colours:
    """What stored values mean.

    Attributes
    ----------
    channels
        1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGBA, or CMYK where ``inks`` says so).
    bits
        Significant bits a channel: the largest value is white.
    inverted
        The largest value is black (gray only).
    premultiplied
        Colours were multiplied with alpha.
    opaque
        The last of 2 or 4 channels is no alpha and is left out.
    cmyk
        The four channels are inks: cyan, magenta, yellow and black, 0 = none.
    palette
        ``(n, 3)``: the colours that stored values are numbers of.
    transform
        Turns stored colours into sRGB.
    remarks
        What a person should know.
    """

    channels: int
    bits: int = 8
    inverted: bool = False
    premultiplied: bool = False
    opaque: bool = False
    cmyk: bool = False
    palette: NDArray[np.uint8] | None = None
    transform: ProfileTransform | None = None
    remarks: tuple[str, ...] = field(default=())

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
                f"A slide needs 1 channel (gray), 3 (RGB) or 4 (RGBA); '{name}' has {channels}. "
                f"{CONVERT}"
            )
        if np.dtype(dtype) not in (np.uint8, np.uint16):
            raise SlideError(
                f"A slide needs 8 or 16 bits a channel; '{name}' has values of type "
                f"{np.dtype(dtype)}. {CONVERT}"
            )
        return cls(channels, np.dtype(dtype).itemsize * 8)._told_bits()

    def with_bits(self, bits: int | None) -> Colours:
        """Return the same with the significant bits a file states.

        A statement that cannot be is passed over.
        """
        if not bits or not 0 < bits < self.bits:
            return self
        return replace(self, bits=bits, remarks=())._told_bits()

    def with_profile(self, profile: bytes | None, *, apply: bool) -> Colours:
        """Return the same with the colour profile of the file; see :func:`find_profile`."""
        inks: Inks = "CMYK" if self.cmyk else "L" if self._gray else "RGB"
        transform, remarks = find_profile(profile, inks, apply=apply)
        if self.cmyk and transform is None:
            remarks.append(
                "Its colours are inks (CMYK) and are turned into RGB by rule of thumb: they may be "
                "off. Convert it to RGB with its colour profile to be sure."
            )
        return replace(self, transform=transform, remarks=(*self.remarks, *remarks))

    def _told_bits(self) -> Colours:
        if self.bits == 8:
            return self
        told = (
            f"Its {self.bits} bits a channel are read as 8: the value {2**self.bits - 1} is white."
        )
        if self.bits > 8:
            told += " If it looks black, its values span less: convert it to 8 bits."
        return replace(self, remarks=(*self.remarks, told))

    @property
    def _gray(self) -> bool:
        return self.channels <= 2 and self.palette is None

    def rgb8(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` of ``(h, w, channels)``; what is transparent becomes white."""
        if self.palette is not None:
            return self._in_rgb(self._looked_up(stored))
        block: NDArray[np.uint8] = self._scaled[stored] if self.bits != 8 else stored
        if self.channels in (1, 3) or self.cmyk:
            return self._in_rgb(block)
        colour, alpha = block[..., :-1], block[..., -1:]
        if self.opaque:
            return self._in_rgb(colour)
        if self.premultiplied:
            lit = np.minimum(colour.astype(np.uint16) + (WHITE - alpha), WHITE)
            return self._in_rgb(lit.astype(np.uint8))
        return flatten_alpha(np.concatenate([self._in_rgb(colour), alpha], axis=2))

    def _in_rgb(self, colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.inverted:
            colour = np.bitwise_not(colour)
        if self.transform is not None:
            return self.transform.rgb(colour)
        if self.cmyk:
            return cmyk_rgb(colour)
        return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour

    def _looked_up(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        palette = np.zeros((0, 3), np.uint8) if self.palette is None else self.palette
        if not len(palette):
            return np.zeros((*stored.shape[:2], 3), np.uint8)
        colours: NDArray[np.uint8] = palette[np.minimum(stored[..., 0], len(palette) - 1)]
        return colours

    @cached_property
    def _scaled(self) -> NDArray[np.uint8]:
        most = 2**self.bits - 1
        values = np.arange(2 ** (16 if self.bits > 8 else 8), dtype=np.uint32)
        return np.asarray(np.minimum((values * WHITE + most // 2) // most, WHITE), np.uint8)


def cmyk_rgb(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``(h, w, 3)`` of ``(h, w, 4)`` inks, 0 = none, without a profile."""
    paper = (WHITE - inks[..., :3]).astype(np.uint16) * (WHITE - inks[..., 3:])
    return ((paper + WHITE // 2) // WHITE).astype(np.uint8)


def named_colours(names: Sequence[str]) -> bool | None:
    """Tell whether channels called ``names`` are red, green and blue (and alpha), in that order.

    Returns
    -------
    bool or None
        ``None`` where the names say nothing.
    """
    said = [name.strip().lower() for name in names]
    if not any(said) or all(_numbered(name) for name in said):
        return None
    meant = ("red", "green", "blue", "alpha")
    return len(said) in (3, 4) and all(
        name in (colour, colour[0]) for name, colour in zip(said, meant, strict=False)
    )


def _numbered(name: str) -> bool:
    """Tell whether a name is none: ``Channel 0``, ``C:1``, ``3``, ``Channel:0:1``."""
    plain = name.replace(":", " ").replace("_", " ").strip()
    words = plain.split()
    return all(word.isdecimal() or word in {"channel", "channels", "ch", "c"} for word in words)


def check_named(name: str, names: Sequence[str], channels: int, *, sure: bool) -> list[str]:
    """Return a remark where channels may be no colours; :class:`SlideError` where they are none.

    Parameters
    ----------
    names
        What the file calls its channels; may be empty.
    sure
        Whether the file says by other means that they are colours.
    """
    colours = named_colours(names)
    if colours or (sure and colours is None) or channels == 1:
        return []
    listed = ", ".join(f"'{each}'" for each in names[:6] if each.strip())
    if colours is False:
        raise SlideError(
            f"A slide needs red, green and blue; the channels of '{name}' are {listed}. {CONVERT}"
        )
    if channels == 4:
        raise SlideError(
            f"A slide needs red, green and blue; '{name}' has 4 channels and does not say that "
            f"they are colours (RGBA). {CONVERT}"
        )
    return ["It does not say that its 3 channels are red, green and blue: they are read as that."]


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
                f"A slide needs an image with the axes y and x; '{name}' has '{''.join(names)}'. "
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
                    f"A slide needs one plane; '{name}' has {length} along the axis '{axis}'. "
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
