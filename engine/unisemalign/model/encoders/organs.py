"""The encoder of many organs: EfficientNet-Lite0 with a way back, its weights in the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import timm
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.model.encoders.encoder import Encoder
from unisemalign.model.encoders.feature_pyramid import smoothing
from unisemalign.model.encoders.packaged import packaged_weights

if TYPE_CHECKING:
    from timm.models._features import FeatureInfo

ARCHITECTURE = "tf_efficientnet_lite0"
TOP_DOWN = (32, 64, 96, 192)


class OrgansEncoder(Encoder):
    """EfficientNet-Lite0 to stride 32 and a way back to stride 2.

    The trunk (timm's, without the classifier) began with ImageNet's weights and went on with
    tissue of many organs (``pretraining/``); the top-down path (feature pyramid, Lin et al. 2017)
    carries what the deep levels know to the fine ones. The deep tap is the pyramid's level at
    stride 16, the shallow one that at stride 2. It has no attention: what it says of a place does
    not depend on where a window ends far from it.

    Parameters
    ----------
    weights
        Start from the weights in the package, else from random numbers.
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    low_channels = TOP_DOWN[0]
    high_channels = TOP_DOWN[-1]
    low_stride = 2
    high_stride = 16
    multiple = 32
    ours = True
    pace = 5.0

    def __init__(self, *, weights: bool = True) -> None:
        super().__init__()
        self.pretrained = weights
        self.stages = timm.create_model(ARCHITECTURE, pretrained=False, features_only=True)
        *given, deepest = cast("FeatureInfo", self.stages.feature_info).channels()
        self.laterals = nn.ModuleList(
            nn.Conv2d(c, t, 1) for c, t in zip(given, TOP_DOWN, strict=True)
        )
        self.downs = nn.ModuleList(
            nn.Conv2d(c, t, 1) for c, t in zip((*TOP_DOWN[1:], deepest), TOP_DOWN, strict=True)
        )
        self.smooth = nn.ModuleList(smoothing(t) for t in TOP_DOWN)
        if weights:
            self.load_state_dict(packaged_weights("organs"))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to ``(B, 32, H/2, W/2)`` and ``(B, 192, H/16, W/16)``."""
        *levels, top = self.stages(images)
        maps: list[Tensor] = []
        for level in (3, 2, 1, 0):
            down = F.interpolate(self.downs[level](top), size=levels[level].shape[2:])
            top = self.smooth[level](self.laterals[level](levels[level]) + down)
            maps.append(top)
        return maps[-1], maps[0]
