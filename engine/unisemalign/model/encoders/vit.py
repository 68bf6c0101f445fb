"""Vision transformers from timm: UNI and its kin."""

from __future__ import annotations

from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from unisemalign.model.encoders.encoder import Encoder


class ViTEncoder(Encoder):
    """A timm vision transformer tapped after two blocks (methods.md A1).

    The residual stream is taken raw (no final norm), prefix tokens are dropped, and blocks after
    the deepest tap are removed: their output would never be used.

    Parameters
    ----------
    vit
        A timm ``VisionTransformer``, made with ``dynamic_img_size=True``.
    taps
        0-based indices of the two blocks, shallow first; UniSemAlign's are 2 and 9.
    pretrained
        Whether ``vit`` carries weights.
    """

    def __init__(self, vit: Any, taps: tuple[int, int], *, pretrained: bool) -> None:
        super().__init__()
        self.taps = taps
        self.pretrained = pretrained
        vit.blocks = vit.blocks[: taps[1] + 1]
        self.vit = vit
        patch = int(vit.patch_embed.patch_size[0])
        self.low_channels = self.high_channels = int(vit.embed_dim)
        self.low_stride = self.high_stride = self.multiple = patch
        self.mean = tuple(vit.pretrained_cfg.get("mean", self.mean))
        self.std = tuple(vit.pretrained_cfg.get("std", self.std))

    def extra_repr(self) -> str:
        """Return what the modules inside do not show."""
        return f"taps={self.taps}"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)`` to two maps ``(B, dim, H/patch, W/patch)``."""
        low, high = self.vit.forward_intermediates(
            images, indices=list(self.taps), norm=False, intermediates_only=True, stop_early=True
        )
        return low, high


def small_transformer() -> ViTEncoder:
    """Return a transformer that starts from nothing: 6 blocks, 192 wide, patches of 8 px."""
    vit = VisionTransformer(
        img_size=128,
        patch_size=8,
        embed_dim=192,
        depth=6,
        num_heads=3,
        num_classes=0,
        dynamic_img_size=True,
    )
    vit.pretrained_cfg = {}  # type: ignore[assignment]  # what timm puts there
    return ViTEncoder(vit, (1, 5), pretrained=False)
