"""The encoder that needs no download: small, hybrid, its weights inside the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import timm
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.model.encoders.encoder import Encoder
from unisemalign.model.encoders.feature_pyramid import smoothing
from unisemalign.model.encoders.packaged import packaged_weights

if TYPE_CHECKING:
    from timm.models._features import FeatureInfo

STEM = 24
CHANNELS = (48, 96, 192)
TOP_DOWN = (48, 64, 64)
BLOCKS = 3
HEADS = 6


class EmbeddedEncoder(Encoder):
    """A thin ResNet-18-D to stride 16, self-attention there, and a way back to stride 2.

    The convolutions find borders; the attention blocks (timm's ViT blocks, without position
    embedding, so any size works) let a gland's rim depend on its lumen; the top-down path (feature
    pyramid, Lin et al. 2017) adds the deep map to the finer ones.

    Parameters
    ----------
    weights
        Start from the weights in the package (``pretraining/``), else from random numbers.
    """

    low_channels = TOP_DOWN[0]
    high_channels = CHANNELS[-1]
    low_stride = 2
    high_stride = 16
    multiple = 16
    ours = True

    def __init__(self, *, weights: bool = True) -> None:
        super().__init__()
        self.pretrained = weights
        self.stages = timm.create_model(
            "resnet18d",
            pretrained=False,
            features_only=True,
            out_indices=(0, 1, 2, 3),
            channels=(*CHANNELS, CHANNELS[-1]),
            stem_width=STEM,
        )
        self.blocks = nn.Sequential(
            *(Block(CHANNELS[-1], num_heads=HEADS, init_values=1e-2) for _ in range(BLOCKS))
        )
        given = cast("FeatureInfo", self.stages.feature_info).channels()
        self.laterals = nn.ModuleList(
            nn.Conv2d(c, t, 1) for c, t in zip(given[:3], TOP_DOWN, strict=True)
        )
        self.downs = nn.ModuleList(
            nn.Conv2d(c, t, 1) for c, t in zip((*TOP_DOWN[1:], CHANNELS[-1]), TOP_DOWN, strict=True)
        )
        self.smooth = nn.ModuleList(smoothing(t) for t in TOP_DOWN)
        if weights:
            self.load_state_dict(packaged_weights("embedded"))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to ``(B, 48, H/2, W/2)`` and ``(B, 192, H/16, W/16)``."""
        *fine, deep = self.stages(images)
        tokens = self.blocks(deep.flatten(2).transpose(1, 2))
        high = tokens.transpose(1, 2).reshape(deep.shape)
        top = high
        for level in (2, 1, 0):
            down = F.interpolate(self.downs[level](top), size=fine[level].shape[2:])
            top = self.smooth[level](self.laterals[level](fine[level]) + down)
        return top, high
