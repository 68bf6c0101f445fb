"""PNG, JPEG and other everyday images, read by Pillow."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import CONVERT, Colours
from unisemalign.slides.files import open_picture
from unisemalign.slides.levels import pyramid_advice
from unisemalign.slides.orientation import (
    ORIENTATION_TAG,
    orientation_of,
    orientation_remarks,
    turned,
)
from unisemalign.slides.slide import (
    OneProcess,
    Opening,
    UnreadableTileError,
    checked_level,
    on_white,
)
from unisemalign.slides.spacing import Sizes, settle, sizes_from_resolution

_READ_AS = {"RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA", "CMYK": "CMYK", "YCbCr": "RGB"}
_READ_AS |= {"P": "RGB", "PA": "RGBA", "L": "L", "LA": "LA", "La": "RGBA", "RGBa": "RGBA"}
_READ_AS |= {"I;16": "I;16", "I;16B": "I;16", "I;16L": "I;16"}
_LINEAR_GAMMA = 0.6
"""Files for screens state 0.45455; far above it their numbers are no colours as screens show."""


class PlainSlide(OneProcess):
    """One level held in memory, turned upright. Transparent pixels are set on white.

    The pixel size comes from the image's resolution where that can be a microscope's (below 25 µm);
    72, 96 or 300 dpi count as absent.

    Parameters
    ----------
    path
        The file.
    spacing_um
        µm per pixel; overrules what the file says.
    opening
        Which picture of several (the first, unless said) and whether a colour profile is applied.

    Raises
    ------
    SlideError
        If Pillow cannot decode the file, it is too large to hold, or it is neither gray nor colour.
    """

    def __init__(
        self, path: Path, spacing_um: float | None = None, opening: Opening | None = None
    ) -> None:
        self.path = path
        self.opening = opening or Opening()
        self._pixels, sizes, remarks = _decode(path, self.opening)
        h, w = self._pixels.shape[:2]
        self.shape_yx: tuple[int, int] = (h, w)
        self.level_shapes: tuple[tuple[int, int], ...] = (self.shape_yx,)
        self.level_tiles: tuple[tuple[int, int], ...] = ((1, 1),)
        self.level_downsamples: tuple[float, ...] = (1.0,)
        own, said = (spacing_um, []) if spacing_um is not None else settle(path.name, sizes)
        self.spacing_um = own
        self.remarks: tuple[str, ...] = (*remarks, *said)

    def read_level(
        self,
        level: int,
        rect: Rect,
        unreadable: list[UnreadableTileError] | None = None,  # noqa: ARG002  all was decoded
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        shape = self.level_shapes[checked_level(self, level)]
        return on_white(rect, shape, lambda inside: self._pixels[inside.slices].copy())

    def close(self) -> None:
        """Do nothing: the file was closed when it had been read."""


def _decode(path: Path, opening: Opening) -> tuple[NDArray[np.uint8], Sizes | None, list[str]]:
    try:
        with open_picture(path) as image:
            remarks = _choose_picture(image, opening.series, path.name)
            if image.mode not in _READ_AS:
                raise SlideError(
                    f"A slide needs gray or RGB of 8 or 16 bits; '{path.name}' has pixels of "
                    f"Pillow's mode '{image.mode}'. {CONVERT}"
                )
            sizes, profile = _sizes(image.info), image.info.get("icc_profile")
            remarks += _gamma_remarks(image.info)
            mode = "RGBA" if image.has_transparency_data else _READ_AS[image.mode]
            orientation = orientation_of(image.getexif().get(ORIENTATION_TAG))
            stored = np.asarray(image.convert(mode))
    except UnidentifiedImageError as error:
        raise SlideError(
            f"Cannot open '{path.name}': it is no slide or image in a format known here. "
            f"Check that the copy is complete, or convert it to a pyramidal TIFF or a PNG."
        ) from error
    except Image.DecompressionBombError as error:
        found = re.search(r"\d+", str(error))
        raise SlideError(
            f"The image '{path.name}' is too large to be held in memory as one piece "
            f"({int(found.group()) / 1e6 if found else 0:.0f} megapixels). {pyramid_advice()}"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        # Pillow's answers to torn files
        raise SlideError(
            f"Cannot read the pixels of '{path.name}': {error}. "
            f"The file is probably damaged: copy it again from its source."
        ) from error
    stored = stored[..., None] if stored.ndim == 2 else stored
    colours = _colours(path.name, stored, mode).with_profile(profile, apply=opening.profile)
    upright = np.ascontiguousarray(turned(colours.rgb8(stored), orientation))
    remarks += [*orientation_remarks(orientation), *colours.remarks]
    return upright, sizes, remarks


def _colours(name: str, stored: NDArray[Any], mode: str) -> Colours:
    if mode == "LA":
        return Colours(2)
    return replace(Colours.find(name, stored.dtype, stored.shape[2]), cmyk=mode == "CMYK")


def _choose_picture(image: Image.Image, number: int | None, name: str) -> list[str]:
    """Turn to the picture asked for, the first unless said; return a remark on the others."""
    count = getattr(image, "n_frames", 1)
    if number is not None and not 0 <= number < count:
        raise SlideError(
            f"'{name}' holds {count} picture(s), counted from 0; picture {number} was asked for. "
            f"Use one that is there."
        )
    if count == 1:
        return []
    image.seek(number or 0)
    return [
        f"It holds {count} pictures: picture {number or 0} is read, counted from 0. "
        f"`unisemalign add --series N` takes another."
    ]


def _gamma_remarks(info: dict[Any, Any]) -> list[str]:
    gamma = info.get("gamma")
    if not isinstance(gamma, float) or gamma < _LINEAR_GAMMA or "srgb" in info:
        return []
    return [
        f"It states a gamma of {gamma:.3g}, which is not applied: it may look darker than in other "
        f"programs. Convert it to sRGB."
    ]


def _sizes(info: dict[Any, Any]) -> Sizes | None:
    dpi = info.get("dpi")
    try:
        x, y = (float(each) for each in dpi or ())
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return sizes_from_resolution(y, x, "inch")
