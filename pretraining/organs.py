"""Fields of many organs without masks: read, given a kind each, and cut at many scales."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

LONGEST_PX = 1024
_MANY_OF_A_KIND = {
    "oral": r"(Normal|OSCC)_(100|400)x",
    "osteosarcoma": r"(Non-Tumor|Viable)?",
    "brecahad": "",
    "dsb2018": "",
}


@dataclass(frozen=True)
class Organs:
    """Fields ``(3, H, W)`` uint8, each with its half-size copy; the kind of each; shares in all."""

    fields: list[tuple[Tensor, Tensor]]
    kinds: Tensor
    shares: np.ndarray

    @property
    def n_kinds(self) -> int:
        """How many kinds there are."""
        return int(self.kinds.max()) + 1


def read_organs(root: Path) -> Organs:
    """Read every JPEG below ``root``, at most 1024 px long.

    A field is a kind of its own, but where a folder shows one tissue many times, its fields are
    one kind, or one for each word its names begin with (tumour or not, magnification). A kind of
    n fields is drawn √n times as often as a single one.
    """
    names: list[str] = []
    fields = []
    for path in sorted(root.rglob("*.jpg")):
        image = Image.open(path).convert("RGB")
        image.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.BOX)
        names.append(_kind(path))
        fields.append((_tensor(image), _tensor(image.reduce(2))))
    known = {name: i for i, name in enumerate(sorted(set(names)))}
    counts = {name: names.count(name) for name in known}
    shares = np.array([counts[name] ** -0.5 for name in names])
    kinds = torch.tensor([known[name] for name in names])
    return Organs(fields, kinds, shares / shares.sum())


def _kind(path: Path) -> str:
    folder = path.parent.name
    if folder not in _MANY_OF_A_KIND:
        return f"{folder}/{path.stem}"
    found = re.match(_MANY_OF_A_KIND[folder], path.stem)
    return f"{folder}/{found.group() if found else ''}"


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def cut(
    organs: Organs,
    picked: np.ndarray,
    side: int,
    scales: tuple[float, float],
    rng: np.random.Generator,
) -> Tensor:
    """Return crops ``(B, 3, side, side)`` in 0…1, turned by any angle, mirrored, scaled."""
    crops = []
    for index in picked:
        scale = math.exp(rng.uniform(math.log(scales[0]), math.log(scales[1])))
        full, half = organs.fields[index]
        field, ratio = (full, scale) if scale > 0.7 else (half, 2 * scale)
        height, width = field.shape[1:]
        # Only a window of the field is made float: what any turn of the crop can reach.
        reach = math.ceil(side / ratio * 1.45)
        y = int(rng.integers(max(1, height - reach + 1)))
        x = int(rng.integers(max(1, width - reach + 1)))
        window = field[:, y : y + reach, x : x + reach].float()[None] / 255
        angle = rng.uniform(0, 2 * math.pi)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        c, s = math.cos(angle) * side / ratio, math.sin(angle) * side / ratio
        h, w = window.shape[2:]
        theta = torch.tensor([[[mirror * c / w, -s / w, 0.0], [mirror * s / h, c / h, 0.0]]])
        grid = F.affine_grid(theta, [1, 3, side, side], align_corners=False)
        crops.append(F.grid_sample(window, grid, padding_mode="reflection", align_corners=False))
    return torch.cat(crops)
