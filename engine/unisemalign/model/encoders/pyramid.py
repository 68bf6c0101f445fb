"""Convolutional and hierarchical encoders from timm."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unisemalign.model.encoders.encoder import Encoder


class PyramidEncoder(Encoder):
    """Any timm model with ``features_only``, tapped at the levels nearest strides 4 and 16."""

    def __init__(self, features: Any, *, pretrained: bool) -> None:
        super().__init__()
        self.features = features
        self.pretrained = pretrained
        self.low_channels, self.high_channels = features.feature_info.channels()
        self.low_stride, self.high_stride = features.feature_info.reduction()
        self.multiple = 32
        config = getattr(features, "pretrained_cfg", None) or {}
        self.mean = tuple(config.get("mean", self.mean))
        self.std = tuple(config.get("std", self.std))

    def extra_repr(self) -> str:
        """Return what the modules inside do not show."""
        return f"taps={self.features.feature_info.module_name()}"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to the shallow and the deep level."""
        low, high = self.features(images)
        return low, high
