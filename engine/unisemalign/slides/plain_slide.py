"""PNG, JPEG and other everyday images, read by Pillow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import CONVERT, Colours
from unisemalign.slides.levels import pyramid_advice
from unisemalign.slides.profiles import profile_remarks
from unisemalign.slides.slide import OneProcess, UnreadableTileError, checked_level, on_white
from unisemalign.slides.spacing import spacing_from_resolution

_READ_AS = {"RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA", "P": "RGBA", "PA": "RGBA", "CMYK": "RGB"}
_READ_AS |= {"YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "L": "L", "LA": "RGBA", "La": "RGBA"}
_READ_AS |= {"I;16": "I;16", "I;16B": "I;16", "I;16L": "I;16"}


class PlainSlide(OneProcess):
    """One level held in memory. Transparent pixels are set on white; gray is read as RGB.

    The pixel size comes from the image's resolution where that can be a microscope's (below 25 µm);
    72, 96 or 300 dpi count as absent.

    Raises
    ------
    SlideError
        If Pillow cannot decode the file, it is too large to hold, or it is neither gray nor colour.
    """

    def __init__(self, path: Path, spacing_um: float | None = None) -> None:
        self.path = path
        self._pixels, own, remarks = _decode(path)
        h, w = self._pixels.shape[:2]
        self.shape_yx: tuple[int, int] = (h, w)
        self.level_shapes: tuple[tuple[int, int], ...] = (self.shape_yx,)
        self.level_tiles: tuple[tuple[int, int], ...] = ((1, 1),)
        self.level_downsamples: tuple[float, ...] = (1.0,)
        self.spacing_um = spacing_um if spacing_um is not None else own
        self.remarks: tuple[str, ...] = tuple(remarks)

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


def _decode(path: Path) -> tuple[NDArray[np.uint8], float | None, list[str]]:
    try:
        with Image.open(path) as image:
            if image.mode not in _READ_AS:
                raise SlideError(
                    f"A slide wants gray or RGB of 8 or 16 bits; '{path.name}' has pixels of "
                    f"Pillow's mode '{image.mode}'. {CONVERT}"
                )
            stored = np.asarray(image.convert(_READ_AS[image.mode]))
            own = _own_spacing(image.info)
            remarks = profile_remarks(image.info.get("icc_profile"))
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
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's answers to torn files
        raise SlideError(
            f"Cannot read the pixels of '{path.name}': {error}. "
            f"The file is probably damaged: copy it again from its source."
        ) from error
    if stored.ndim == 2:
        stored = stored[..., None]
    colours = Colours.find(path.name, stored.dtype, stored.shape[2])
    return colours.rgb8(stored), own, [*colours.remarks, *remarks]


def _own_spacing(info: dict[Any, Any]) -> float | None:
    dpi = info.get("dpi")
    if dpi is None:
        return None
    return spacing_from_resolution(float(dpi[1]), float(dpi[0]), "inch")
