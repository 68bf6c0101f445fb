"""Colours as other stains, laboratories and scanners give them: in optical density."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

_FROM_STAINS = np.asarray(rgb_from_hed, np.float64)
_TO_STAINS = np.asarray(hed_from_rgb, np.float64)
# Optical density of red, green and blue, of unit length. Haematoxylin, eosin, DAB: Ruifrok &
# Johnston (2001). The others are hues chosen by eye, widened further by the jitter.
PALETTE = np.array(
    [
        [0.65, 0.70, 0.29],  # haematoxylin, violet
        [0.83, 0.53, 0.18],  # haematoxylin, blue
        [0.07, 0.99, 0.11],  # eosin
        [0.27, 0.57, 0.78],  # DAB, brown
        [0.90, 0.40, 0.15],  # aniline blue
        [0.80, 0.25, 0.55],  # light green
        [0.20, 0.80, 0.56],  # red of Masson and Sirius
        [0.18, 0.88, 0.45],  # PAS, magenta
        [0.10, 0.40, 0.91],  # orange G
        [0.58, 0.58, 0.57],  # silver, black
    ]
)


def restained(
    images: Tensor, rng: np.random.Generator, *, jitter: float, other: float, grey: float
) -> Tensor:
    """Return ``(B, 3, H, W)`` in 0…1 in changed stains.

    Parameters
    ----------
    jitter
        Each stain's strength is multiplied by U(1 − jitter, 1 + jitter), its colour turned by
        half of that; the whole density is raised to a power, and light is taken away.
    other
        Share of images whose first two stains become two others of :data:`PALETTE`.
    grey
        Share of images that lose their colour.
    """
    mixes, shifts, powers = [], [], []
    for _ in range(len(images)):
        stains = _FROM_STAINS.copy()
        if rng.random() < other:
            stains[:2] = PALETTE[rng.choice(len(PALETTE), 2, replace=False)]
        turned = stains * (1 + rng.uniform(-jitter / 2, jitter / 2, stains.shape))
        strength = rng.uniform(1 - jitter, 1 + jitter, 3) * rng.uniform(1 - jitter, 1 + jitter)
        mix = _TO_STAINS @ (strength[:, None] * turned)
        if rng.random() < grey:
            mix = mix.mean(1, keepdims=True) @ np.ones((1, 3))
        mixes.append(mix)
        shifts.append(rng.uniform(-jitter, jitter, 3) * 0.1 + rng.uniform(0, 0.43 * jitter))
        powers.append(np.exp(rng.uniform(-jitter, jitter) / 2))
    mix = torch.tensor(np.stack(mixes), dtype=torch.float32)
    shift = torch.tensor(np.stack(shifts), dtype=torch.float32)[..., None, None]
    power = torch.tensor(np.array(powers), dtype=torch.float32)[:, None, None, None]
    density = torch.einsum("bchw,bcd->bdhw", -torch.log(images.clamp(min=1e-3)), mix)
    density = density.clamp(min=0) ** power + shift
    return torch.exp(-density).clamp(0, 1)
