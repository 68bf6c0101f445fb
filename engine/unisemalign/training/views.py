"""Weak and strong views of a crop. Source: methods.md A6 and part E rows 6–7.

Images here are float32 tensors ``(3, H, W)`` in 0…1; every random number comes from the
generator handed in, so a step's crops depend on the seed and the step alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from unisemalign.settings import ViewSettings

_TO_STAINS = torch.tensor(np.asarray(hed_from_rgb), dtype=torch.float32)
_FROM_STAINS = torch.tensor(np.asarray(rgb_from_hed), dtype=torch.float32)
_SHIFT_SHARE = 0.1


def turned(
    arrays: list[NDArray[np.uint8]], views: ViewSettings, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Mirror, and where wanted turn, arrays ``(H, W, …)`` alike."""
    mirror = rng.random() < 0.5
    quarter = int(rng.integers(4)) if views.turns else 0
    out = []
    for array in arrays:
        moved = array[:, ::-1] if mirror else array
        out.append(np.ascontiguousarray(np.rot90(moved, quarter)))
    return out


def weak_view(pixels: NDArray[np.uint8], views: ViewSettings, rng: np.random.Generator) -> Tensor:
    """Return the weak view of ``(H, W, 3)`` pixels: only the stain varies a little."""
    image = torch.tensor(pixels).permute(2, 0, 1).float() / 255
    return stain_jitter(image, views.stain_weak, rng)


def strong_view(weak: Tensor, views: ViewSettings, rng: np.random.Generator) -> Tensor:
    """Return the strong view of a weak one: stain, colour, grey, blur."""
    image = stain_jitter(weak, views.stain_strong, rng)
    if rng.random() < views.jitter_probability:
        image = _colour_jitter(image, views, rng)
    if rng.random() < views.gray_probability:
        image = TF.rgb_to_grayscale(image, num_output_channels=3)
    if rng.random() < views.blur_probability:
        sigma = float(rng.uniform(views.blur_min, views.blur_max))
        kernel = 2 * max(1, round(3 * sigma)) + 1
        image = TF.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
    return image


def stain_jitter(image: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Scale and shift the haematoxylin, eosin and residual densities of ``(3, H, W)``.

    Optical density is unmixed with the vectors of Ruifrok & Johnston (2001); each stain is
    multiplied by U(1−share, 1+share) and shifted by a tenth of that (Tellez et al. 2018).
    """
    if share == 0:
        return image
    scale = torch.tensor(rng.uniform(1 - share, 1 + share, 3), dtype=torch.float32)
    shift = torch.tensor(rng.uniform(-share, share, 3) * _SHIFT_SHARE, dtype=torch.float32)
    # In matrix form: unmix, scale, mix again is one 3 × 3 product; the shift is one 3-vector.
    mix = _TO_STAINS @ torch.diag(scale) @ _FROM_STAINS
    density = -torch.log(image.clamp(min=1e-3)).permute(1, 2, 0)
    density = density @ mix + shift @ _FROM_STAINS
    return torch.exp(-density).clamp(0, 1).permute(2, 0, 1).contiguous()


def cutmix_box(side: int, views: ViewSettings, rng: np.random.Generator) -> Tensor:
    """Return a ``(side, side)`` mask, true inside the donor's box; all false when there is none.

    The area is drawn once, the aspect anew until the box fits; after 100 tries it is cut to the
    crop. So large boxes are as frequent as small ones.
    """
    box = torch.zeros(side, side, dtype=torch.bool)
    if rng.random() >= views.cutmix_probability or views.cutmix_area_max == 0:
        return box
    area = rng.uniform(views.cutmix_area_min, views.cutmix_area_max) * side * side
    for _ in range(100):
        aspect = rng.uniform(views.cutmix_aspect_min, 1 / views.cutmix_aspect_min)
        h, w = (max(1, round(length**0.5)) for length in (area * aspect, area / aspect))
        if h <= side and w <= side:
            break
    h, w = min(h, side), min(w, side)
    y, x = int(rng.integers(side - h + 1)), int(rng.integers(side - w + 1))
    box[y : y + h, x : x + w] = True
    return box


def _colour_jitter(image: Tensor, views: ViewSettings, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue, in a random order."""

    def factor() -> float:
        return float(rng.uniform(1 - views.jitter, 1 + views.jitter))

    hue = float(rng.uniform(-views.hue, views.hue))
    changes = [
        lambda im: TF.adjust_brightness(im, factor()),
        lambda im: TF.adjust_contrast(im, factor()),
        lambda im: TF.adjust_saturation(im, factor()),
        lambda im: TF.adjust_hue(im, hue) if views.hue > 0 else im,
    ]
    for index in rng.permutation(len(changes)):
        image = changes[index](image)
    return image
