"""What the embedded encoder is worth: GlaS val scores of one head on several encoders.

    python benchmarks/encoders.py --data GLAS [--mobilenet DIR] [--fraction 10] [--seeds 0,1,2]

Rows: the embedded encoder frozen and trained on; the same untrained, learning and frozen; a filter
bank (scikit-image's multiscale features); ImageNet's MobileNetV2, frozen, where ``--mobilenet``
names the folder with ``mobilenetv2.py`` and its weights. The yardsticks live here and nowhere in
the package. Everything but the encoder is `recommended`.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from skimage.io import imread
from tables import print_row, print_table_head, row_settings, table_parser
from torch import Tensor
from torch.nn import functional as F

from unisemalign.model import build as building
from unisemalign.model.encoders import Encoder
from unisemalign.model.encoders.embedded import EmbeddedEncoder


class FilterBank(Encoder):
    """Colour, edges and texture at five scales; at stride 2, and averaged to stride 16."""

    low_channels = high_channels = 60
    low_stride, high_stride, multiple = 2, 16, 16
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    pretrained = True

    def __init__(self, images: list[NDArray[np.uint8]]) -> None:
        super().__init__()
        # Edges and texture are a hundredth of the colours: each on its own scale, or nothing
        # learns. One scale for all images: the stain's strength is information.
        found = [_filtered(image[::2, ::2] / np.float32(255)) for image in images]
        values = np.concatenate([one.reshape(-1, one.shape[-1])[::16] for one in found])
        self._center, self._spread = values.mean(0), values.std(0) + 1e-6

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Filter ``(B, 3, H, W)`` to ``(B, 60, H/2, W/2)`` and ``(B, 60, H/16, W/16)``."""
        maps = torch.stack([self._one(image) for image in images])
        return F.avg_pool2d(maps, 2), F.avg_pool2d(maps, 16)

    def _one(self, image: Tensor) -> Tensor:
        found = (_filtered(image.permute(1, 2, 0).cpu().numpy()) - self._center) / self._spread
        return torch.from_numpy(found.astype(np.float32)).permute(2, 0, 1)


def _filtered(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features ``(H, W, 60)`` of ``(H, W, 3)`` pixels in 0…1."""
    found: NDArray[np.float32] = multiscale_basic_features(
        pixels, channel_axis=-1, sigma_min=1, sigma_max=16, workers=1
    )
    return found


class MobileNet(Encoder):
    """ImageNet's MobileNetV2: strides 4 to 32 side by side at stride 4, and stride 16."""

    low_channels, high_channels = 24 + 32 + 96 + 320, 96
    low_stride, high_stride, multiple = 4, 16, 32
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    pretrained = True

    def __init__(self, folder: Path) -> None:
        super().__init__()
        spec = importlib.util.spec_from_file_location("mobilenetv2", folder / "mobilenetv2.py")
        if spec is None or spec.loader is None:
            raise SystemExit(f"--mobilenet needs a folder with mobilenetv2.py, found {folder}.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.features: Any = module.MobileNetV2Features()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to ``(B, 472, H/4, W/4)`` and ``(B, 96, H/16, W/16)``."""
        maps = self.features(images)[1:]
        size = maps[0].shape[2:]
        low = torch.cat([F.interpolate(m, size=size, mode="bilinear") for m in maps], dim=1)
        return low, maps[2]


def _labelled(data: Path, fraction: int) -> list[NDArray[np.uint8]]:
    part = tomllib.loads((data / "splits.toml").read_text())[f"glas_{fraction}"]
    return [imread(data / "images" / f"{name}.png")[..., :3] for name in part["labeled"]]


def main() -> None:
    """Read the command line, train what is missing, print the table."""
    parser = table_parser(__doc__)
    parser.add_argument("--mobilenet", type=Path, help="folder with mobilenetv2.py")
    given = parser.parse_args()
    yardsticks: dict[str, Callable[[], Encoder]] = {
        "untrained": lambda: EmbeddedEncoder(weights=False),
        "filter-bank": lambda: FilterBank(_labelled(given.data, given.fraction)),
    }
    rows: dict[str, tuple[str, tuple[str, ...]]] = {
        "embedded, frozen": ("embedded", ("model.train_encoder=no",)),
        "embedded, trained on": ("embedded", ()),
        "the same from scratch": ("untrained", ("training.backbone_rate=1.0",)),
        "the same, random and frozen": ("untrained", ("model.train_encoder=no",)),
        "filter bank": ("filter-bank", ()),
    }
    if given.mobilenet:
        yardsticks["mobilenetv2"] = lambda: MobileNet(given.mobilenet)
        rows["ImageNet MobileNetV2, frozen"] = ("mobilenetv2", ("model.zoom=1.0",))
    known = building.build_encoder

    def stand_in(name: str, *, weights: bool = True) -> Encoder:
        return yardsticks[name]() if name in yardsticks else known(name, weights=weights)

    building.build_encoder = stand_in
    print_table_head()
    for row, (encoder, overrides) in rows.items():
        if given.only and row not in given.only:
            continue
        settings = row_settings(given, overrides)
        print_row(row, settings, encoder, given)


if __name__ == "__main__":
    main()
