"""Colour profiles (ICC): applied, so that colours are what the scanner's maker meant them to be.

A scanner's profile says which colour its numbers stand for; sRGB is what screens show and what
everyday images hold.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Inks = Literal["RGB", "L", "CMYK"]

_SPACES: dict[Inks, str] = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
_ROW_PX = 512


class ProfileTransform:
    """Turns stored colours into sRGB. Threads may share one."""

    def __init__(self, profile: Any, inks: Inks) -> None:
        self._inks: Inks = inks
        self._transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            inks,
            "RGB",
            renderingIntent=ImageCms.Intent(ImageCms.getDefaultIntent(profile)),
        )

    def rgb(self, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` sRGB of ``(h, w, n)``: n is 3, for grey 1, for CMYK 4."""
        if stored.size == 0:
            return np.zeros((*stored.shape[:2], 3), np.uint8)
        pixels = np.ascontiguousarray(stored[..., 0] if self._inks == "L" else stored)
        h, w = pixels.shape[:2]
        image = Image.frombytes(self._inks, (w, h), pixels.tobytes())
        return np.asarray(ImageCms.applyTransform(image, self._transform))


def find_profile(
    profile: bytes | None, inks: Inks, *, apply: bool
) -> tuple[ProfileTransform | None, list[str]]:
    """Return what applies the colour profile of a file, and what a person is to know of it.

    Parameters
    ----------
    profile
        As the file holds it; ``None`` or empty where it has none.
    inks
        What the file's channels are.
    apply
        Whether it is wanted; ``False``: it is told and left alone.
    """
    if not profile:
        return None, []
    try:
        opened = ImageCms.getOpenProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(opened).strip()
        if "srgb" in name.lower() and inks == "RGB":
            return None, []
        space = opened.profile.xcolor_space.strip()
        if space != _SPACES[inks]:
            return None, [
                f"Its colour profile ('{name}') is for other colours ({space}) and "
                f"is not applied: pixels are read as they are stored."
            ]
        if not apply:
            return None, [
                f"Its colour profile ('{name}') is not applied, as asked: pixels are read as they "
                f"are stored."
            ]
        transform = ProfileTransform(opened, inks)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return None, [
            f"Its colour profile cannot be read ({error}) and is not applied: pixels are read as "
            f"they are stored."
        ]
    return transform, [
        f"Its colour profile ('{name}') is applied: colours are turned into sRGB, as viewers that "
        f"know profiles show them. `unisemalign add --no-profile` reads them as stored."
    ]
