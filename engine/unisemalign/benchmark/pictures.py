"""What a segmentation got right and wrong, as pictures a page can hold."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from unisemalign.metrics import IGNORE
from unisemalign.project.colors import rgb

TRUTH_COLOR, PREDICTED_COLOR = "#000000", "#ffe600"
"""Outlines: dark and light, so that both are told apart on any stain, and in grey."""

ERROR_COLORS = {
    "elsewhere, right": "#f2f2f2",
    "right": "#b4b4b4",
    "missed": "#d55e00",
    "too much": "#0072b2",
    "not judged": "#ffffff",
}
"""Colours of :func:`error_map`'s values 0…4, in words."""

_TRUTH_PX, _PREDICTED_PX = 6, 3


@dataclass(frozen=True)
class Example:
    """One image beside its truth and what was predicted.

    Attributes
    ----------
    name
        The image's name.
    mdice, class_dice
        The image's own, in 0…1; ``None``: not there, neither true nor predicted.
    image
        ``(Y, X, 3)`` uint8.
    predicted, truth
        Class indices ``(Y, X)`` uint8: 1 the class shown, 0 any other; 255 = neither.
    """

    name: str
    mdice: float
    class_dice: float | None
    image: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def draw_outlines(example: Example) -> NDArray[np.uint8]:
    """Return the image with wide true and, on top, narrow predicted outlines: ``(Y, X, 3)``."""
    drawn = example.image.copy()
    for mask, width, color in (
        (example.truth == 1, _TRUTH_PX, TRUTH_COLOR),
        (example.predicted == 1, _PREDICTED_PX, PREDICTED_COLOR),
    ):
        drawn[_outline(mask, width)] = rgb(color)
    return drawn


def error_map(example: Example) -> NDArray[np.uint8]:
    """Return ``(Y, X)``: the place in :data:`ERROR_COLORS` of every pixel.

    What was not predicted counts as background.
    """
    truth, predicted = example.truth == 1, example.predicted == 1
    kinds = np.select([truth & predicted, truth, predicted], [1, 2, 3], 0)
    return np.where(example.truth == IGNORE, 4, kinds).astype(np.uint8)


def jpeg_uri(pixels: NDArray[np.uint8]) -> str:
    """Return ``(Y, X, 3)`` pixels as a data address of a JPEG."""
    return _uri(Image.fromarray(pixels), "jpeg", quality=88, subsampling=0)


def error_map_uri(kinds: NDArray[np.uint8]) -> str:
    """Return an error map as a data address of a PNG of few colours."""
    image = Image.fromarray(kinds, mode="P")
    image.putpalette([channel for color in ERROR_COLORS.values() for channel in rgb(color)])
    return _uri(image, "png", optimize=True)


def _uri(image: Image.Image, kind: str, **options: int) -> str:
    memory = io.BytesIO()
    image.save(memory, kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(memory.getvalue()).decode()}"


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    # Half inside, half outside; the image's own edge is no border of an object.
    inner = ndimage.binary_erosion(mask, iterations=max(1, width // 2), border_value=1)
    outer = ndimage.binary_dilation(mask, iterations=width - width // 2)
    ring: NDArray[np.bool_] = outer & ~inner
    return ring
