"""The encoder that needs no download: small, hybrid, trained with the head."""

from __future__ import annotations

import timm
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from unisemalign.model.encoders.encoder import Encoder

CHANNELS = (32, 64, 128, 128)
BLOCKS = 2


class EmbeddedEncoder(Encoder):
    """Three residual convolution stages to stride 16, then self-attention over the 1/16 map.

    The convolution stages (a thin timm ResNet-10-t) find borders; the attention blocks (timm's
    ViT blocks, without position embedding, so any size works) let a gland's lumen speak to its
    rim. Nothing is pretrained: it learns from the person's own tissue.
    """

    low_channels = CHANNELS[0]
    high_channels = CHANNELS[2]
    low_stride = 4
    high_stride = 16
    multiple = 16
    pretrained = False

    def __init__(self) -> None:
        super().__init__()
        self.stages = timm.create_model(
            "resnet10t",
            pretrained=False,
            features_only=True,
            out_indices=(1, 3),
            channels=CHANNELS,
            stem_width=16,
            stem_type="deep",
        )
        self.blocks = nn.Sequential(
            *(Block(CHANNELS[2], num_heads=4, init_values=1e-2) for _ in range(BLOCKS))
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to ``(B, 32, H/4, W/4)`` and ``(B, 128, H/16, W/16)``."""
        low, high = self.stages(images)
        tokens = self.blocks(high.flatten(2).transpose(1, 2))
        return low, tokens.transpose(1, 2).reshape(high.shape)
