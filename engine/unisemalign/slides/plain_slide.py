"""PNG, JPEG and other everyday images, read by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import CONVERT, check_rgb8
from unisemalign.slides.slide import OneProcess, checked_level, flatten_alpha, on_white
from unisemalign.slides.spacing import spacing_from_resolution

_READ_AS = {"RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA", "P": "RGBA", "PA": "RGBA", "CMYK": "RGB"}
_READ_AS |= {"YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}


class PlainSlide(OneProcess):
    """One level held in memory. Transparent pixels are set on white; ICC profiles are ignored.

    The pixel size comes from the image's resolution where that can be a microscope's (below 25 µm);
    72, 96 or 300 dpi count as absent.

    Raises
    ------
    SlideError
        If Pillow cannot decode the file, it is too large to hold, or it is not 8-bit colour.
    """

    def __init__(self, path: Path, spacing_um: float | None = None) -> None:
        self.path = path
        self._pixels, own = _decode(path)
        h, w = self._pixels.shape[:2]
        self.shape_yx: tuple[int, int] = (h, w)
        self.level_shapes: tuple[tuple[int, int], ...] = (self.shape_yx,)
        self.level_downsamples: tuple[float, ...] = (1.0,)
        self.spacing_um = spacing_um if spacing_um is not None else own

    def read_level(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        shape = self.level_shapes[checked_level(self, level)]
        return on_white(rect, shape, lambda inside: self._pixels[inside.slices].copy())

    def close(self) -> None:
        """Do nothing: the file was closed when it had been read."""


def _decode(path: Path) -> tuple[NDArray[np.uint8], float | None]:
    try:
        with Image.open(path) as image:
            _check_mode(path.name, image.mode)
            pixels = np.asarray(image.convert(_READ_AS[image.mode]))
            own = _own_spacing(image.info)
    except UnidentifiedImageError as error:
        raise SlideError(
            f"Cannot open '{path.name}': it is no slide or image in a format known here. "
            f"Check that the copy is complete, or convert it to a pyramidal TIFF or a PNG."
        ) from error
    except Image.DecompressionBombError as error:
        raise SlideError(
            f"The image '{path.name}' is too large to be held in memory as one piece ({error}). "
            f"Convert it to a pyramidal tiled TIFF and open that."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's answers to torn files
        raise SlideError(
            f"Cannot read the pixels of '{path.name}': {error}. "
            f"The file is probably damaged: copy it again from its source."
        ) from error
    return (flatten_alpha(pixels) if pixels.shape[2] == 4 else pixels), own


def _check_mode(name: str, mode: str) -> None:
    if mode in _READ_AS:
        return
    if mode.startswith(("I", "F")):
        raise SlideError(
            f"A slide wants 8 bits a channel and colour; '{name}' has one channel of "
            f"{16 if '16' in mode else 32} bits. {CONVERT}"
        )
    check_rgb8(name, np.uint8, 1)


def _own_spacing(info: dict[Any, Any]) -> float | None:
    dpi = info.get("dpi")
    if dpi is None:
        return None
    return spacing_from_resolution(float(dpi[1]), float(dpi[0]), "inch")
