"""DeepLabV3+ decoder. Source: methods.md A2."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn_relu(channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> nn.Module:
    """Return convolution (no bias), batch norm and ReLU; the size is kept."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(
            channels_in, channels_out, kernel, padding=padding, dilation=dilation, bias=False
        ),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class PooledBranch(nn.Module):
    """The image-level branch of the pyramid pooling: one value a channel, spread out again."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.project = conv_bn_relu(channels_in, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H, W)``, constant over each image."""
        pooled: Tensor = self.project(F.adaptive_avg_pool2d(features, 1))
        return pooled.expand(-1, -1, *features.shape[2:])


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling: 1×1, three dilated 3×3, image level; joined by a 1×1."""

    def __init__(
        self, channels_in: int, channels_out: int, dilations: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_bn_relu(channels_in, channels_out, 1),
                *(conv_bn_relu(channels_in, channels_out, 3, d) for d in dilations),
                PooledBranch(channels_in, channels_out),
            ]
        )
        self.join = conv_bn_relu(5 * channels_out, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H, W)``."""
        joined: Tensor = self.join(torch.cat([b(features) for b in self.branches], dim=1))
        return joined


class Decoder(nn.Module):
    """Pyramid pooling on the deep map, joined with the shallow one, to class logits.

    Parameters
    ----------
    low_channels, high_channels
        Channels of the shallow and the deep features.
    skip_channels
        What the shallow features are squeezed to.
    channels
        Width of everything else.
    n_classes
        Classes, background included.
    dilations
        Of the three dilated branches.
    stem_channels
        Channels of an extra high-resolution map; 0: there is none.
    """

    def __init__(
        self,
        low_channels: int,
        high_channels: int,
        skip_channels: int,
        channels: int,
        n_classes: int,
        dilations: tuple[int, int, int],
        stem_channels: int = 0,
    ) -> None:
        super().__init__()
        self.pooling = PyramidPooling(high_channels, channels, dilations)
        self.skip = conv_bn_relu(low_channels, skip_channels, 1)
        self.fuse = nn.Sequential(
            conv_bn_relu(channels + skip_channels, channels, 3),
            conv_bn_relu(channels, channels, 3),
        )
        self.refine = conv_bn_relu(channels + stem_channels, channels, 3) if stem_channels else None
        self.classify = nn.Conv2d(channels, n_classes, 1)

    def forward(self, low: Tensor, high: Tensor, stem: Tensor | None = None) -> Tensor:
        """Return logits ``(B, C, h, w)`` at the resolution of ``stem``, else of ``low``."""
        deep = F.interpolate(
            self.pooling(high), size=low.shape[2:], mode="bilinear", align_corners=False
        )
        features = self.fuse(torch.cat([deep, self.skip(low)], dim=1))
        if self.refine is not None and stem is not None:
            features = F.interpolate(
                features, size=stem.shape[2:], mode="bilinear", align_corners=False
            )
            features = self.refine(torch.cat([features, stem], dim=1))
        logits: Tensor = self.classify(features)
        return logits
