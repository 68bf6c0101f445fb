"""What follows the sum of two levels of a feature pyramid."""

from __future__ import annotations

from torch import nn


def smoothing(channels: int) -> nn.Module:
    """Return a 3 × 3 convolution, batch norm and ReLU of as many channels in as out."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
