"""MPAMatch's network: up-blocks, and pixels that look at visual and textual prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.model.decoder import conv_bn_relu
from unisemalign.model.encoders import Encoder
from unisemalign.model.network import Features, Logits, Network
from unisemalign.model.semantic import cosines
from unisemalign.settings import ModelSettings

_WIDE = 64
"""Channels where pixels are embedded and look at the prototypes."""
_HEADS = 4


class UpBlocks(nn.Module):
    """Four doublings from the deep map to class logits, with the shallow map joined on the way.

    Widths are ``2d, d, d/2 (64 at least), 64, 16`` for ``d`` of ``model.decoder_dim``: the
    published 512, 256, 128, 64, 16 for 256.

    Parameters
    ----------
    low_channels, high_channels
        Channels of the projected maps.
    channels
        ``d``.
    n_classes
        Classes, background included.
    """

    def __init__(self, low_channels: int, high_channels: int, channels: int, n_classes: int):
        super().__init__()
        widths = (2 * channels, channels, max(_WIDE, channels // 2), _WIDE, 16)
        self.squeeze = conv_bn_relu(high_channels, widths[0], 3)
        given = (widths[0], widths[1], widths[2] + low_channels, widths[3])
        self.blocks = nn.ModuleList(
            nn.Sequential(conv_bn_relu(before, after, 3), conv_bn_relu(after, after, 3))
            for before, after in zip(given, widths[1:], strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.classify = nn.Conv2d(widths[-1], n_classes, 1)

    def wide(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the map of 64 channels, eight times as fine as ``high``."""
        found: Tensor = self.squeeze(high)
        for level, block in enumerate(self.blocks[:3]):
            found = F.interpolate(found, scale_factor=2, mode="bilinear", align_corners=False)
            if level == 2:
                skip = F.interpolate(
                    low, size=found.shape[2:], mode="bilinear", align_corners=False
                )
                found = torch.cat([found, skip], 1)
            found = block(found)
        return found

    def answer(self, wide: Tensor) -> Tensor:
        """Return logits ``(B, C, h, w)``, twice as fine as the map of 64 channels."""
        finer = F.interpolate(wide, scale_factor=2, mode="bilinear", align_corners=False)
        logits: Tensor = self.classify(self.blocks[3](finer))
        return logits


class MPANetwork(Network):
    """Pixels of the 64-channel map attend to visual and textual prototypes before the logits.

    Parameters
    ----------
    prototypes
        Visual prototypes a class, K.

    Attributes
    ----------
    visual
        ``(C, K, D)`` unit vectors; moved by clustering, not by gradient.
    """

    visual: Tensor
    decoder: UpBlocks

    def __init__(
        self,
        encoder: Encoder,
        class_words: Sequence[str],
        settings: ModelSettings,
        *,
        train_encoder: bool,
        text_weights: bool = True,
        prototypes: int = 4,
    ) -> None:
        super().__init__(
            encoder, class_words, settings, train_encoder=train_encoder, text_weights=text_weights
        )
        # The plain network's prototypes and its embedding of the deep map are not used here.
        self.semantic.pixels = nn.Sequential()
        self.semantic.prototypes.requires_grad_(False)
        dim = settings.embed_dim
        self.decoder = UpBlocks(
            settings.low_dim, settings.high_dim, settings.decoder_dim, self.n_classes
        )
        self.embed = nn.Conv2d(_WIDE, dim, 1)
        self.attend = nn.MultiheadAttention(_WIDE, _HEADS, kdim=dim, vdim=dim, batch_first=True)
        drawn = nn.init.trunc_normal_(torch.empty(self.n_classes, prototypes, dim), std=0.02)
        self.register_buffer("visual", F.normalize(drawn, dim=2))

    def decode(self, features: Features, words: Tensor | None = None) -> Tensor:
        """Return the logits ``(B, C, H, W)``; ``words`` where the caller has them at hand."""
        return self.decode_and_embed(features, self.words() if words is None else words)[0]

    def decode_and_embed(self, features: Features, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, C, H, W)`` and unit pixel embeddings ``(B, D, h, w)``."""
        wide = self.decoder.wide(features.low, features.high)
        embedded = F.normalize(self.embed(wide).float(), dim=1)
        keys = torch.cat([self.visual.flatten(0, 1), words]).to(wide.dtype)
        pixels = wide.flatten(2).transpose(1, 2)
        looked, _ = self.attend(
            pixels, *(keys.expand(len(pixels), -1, -1),) * 2, need_weights=False
        )
        wide = wide + looked.transpose(1, 2).reshape(wide.shape)
        return self._to_image(self.decoder.answer(wide).float(), features), embedded

    def semantics(
        self, features: Features, words: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return cosines with the nearest visual prototype and the text of each class."""
        wide = self.decoder.wide(features.low, features.high)
        embedded = F.normalize(self.embed(wide).float(), dim=1)
        return self._cosines(embedded, features, words, temperature)

    def logits(self, features: Features, words: Tensor, temperature: float) -> Logits:
        """Return all three branches at image size, in one pass."""
        decoded, embedded = self.decode_and_embed(features, words)
        return Logits(decoded, *self._cosines(embedded, features, words, temperature))

    def _cosines(
        self, embedded: Tensor, features: Features, words: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        near = cosines(embedded, self.visual.flatten(0, 1))
        near = near.reshape(len(near), *self.visual.shape[:2], *near.shape[2:]).amax(2)
        text = cosines(embedded, words)
        return (
            self._to_image(near / temperature, features),
            self._to_image(text / temperature, features),
        )

    @torch.no_grad()
    def move_prototypes(self, pixels: Tensor, labels: Tensor, kept: float) -> None:
        """Move each prototype towards the mean of the pixels that are nearest to it.

        Parameters
        ----------
        pixels
            Unit vectors ``(N, D)``.
        labels
            Their classes ``(N,)``.
        kept
            Share μ of the old prototype: P ← unit(μP + (1 − μ)·unit(mean)). A prototype no pixel
            is nearest to stays.
        """
        for c in range(self.n_classes):
            mine = pixels[labels == c]
            if len(mine) == 0:
                continue
            nearest = (mine @ self.visual[c].T).argmax(1)
            for k in sorted(set(nearest.tolist())):
                mean = F.normalize(mine[nearest == k].mean(0), dim=0)
                self.visual[c, k] = F.normalize(kept * self.visual[c, k] + (1 - kept) * mean, dim=0)
