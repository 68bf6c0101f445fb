"""XNet v2's network: the image beside its low- and high-frequency halves. Facts in methods.md C."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.errors import SettingsError
from unisemalign.model.decoder import conv_bn_relu
from unisemalign.model.encoders import Encoder
from unisemalign.model.network import Features, Network
from unisemalign.model.token_cache import TokenCache
from unisemalign.settings import ModelSettings

LOW_SHARES = (0.0, 0.4)
HIGH_SHARES = (0.5, 0.8)
LOW_SHARE, HIGH_SHARE = 0.2, 0.65
"""α and β, drawn between the former in training, the latter in evaluation mode."""


class XNetwork(Network):
    """One encoder sees image, low and high frequencies; the maps of three paths are fused.

    The shallow map is fused of image and high frequencies, the deep one of image and low ones. The
    image's path decodes both fused maps, and answers; in training the low path decodes its own
    shallow map, the high path its own deep one. Encoding costs three times the plain network's.
    """

    def __init__(
        self,
        encoder: Encoder,
        class_words: Sequence[str],
        settings: ModelSettings,
        *,
        train_encoder: bool,
        text_weights: bool = True,
    ) -> None:
        super().__init__(
            encoder, class_words, settings, train_encoder=train_encoder, text_weights=text_weights
        )
        self.fuse_low = conv_bn_relu(2 * settings.low_dim, settings.low_dim, 1)
        self.fuse_high = conv_bn_relu(2 * settings.high_dim, settings.high_dim, 1)
        self.low_decoder = _drawn_anew(self.decoder)
        self.high_decoder = _drawn_anew(self.decoder)

    def keep_tokens(self, tokens: TokenCache) -> None:
        """Refuse: the halves are other images at every step."""
        del tokens
        raise SettingsError(
            "Keeping tokens needs crops that come back; XNet v2 changes them at every step. Use "
            "--set training.cache_gb=0."
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode image, low and high frequencies; their maps lie side by side in the channels."""
        pixels = self._zoomed(images)
        halves = [
            F.interpolate(
                (half - self.mean) / self.std,
                size=pixels.shape[2:],
                mode="bilinear",
                align_corners=False,
            )
            for half in frequencies(images, *self._shares(images))
        ]
        with torch.set_grad_enabled(self.train_encoder and torch.is_grad_enabled()):
            low, high = self.encoder(torch.cat([pixels, *halves]))
        low = self._averaged(low)
        return torch.cat(low.chunk(3), 1), torch.cat(high.chunk(3), 1)

    def project(self, encoded: tuple[Tensor, Tensor], images: Tensor) -> Features:
        """Return the fused features of the image's path."""
        return self.paths(encoded, images)[0]

    def paths(
        self, encoded: tuple[Tensor, Tensor], images: Tensor
    ) -> tuple[Features, Features, Features]:
        """Return the features that the image's, the low and the high path decode."""
        lows = self.low(torch.cat(encoded[0].chunk(3, 1))).chunk(3)
        highs = self.high(torch.cat(encoded[1].chunk(3, 1))).chunk(3)
        fused_low = self.fuse_low(torch.cat([lows[0], lows[2]], 1))
        fused_high = self.fuse_high(torch.cat([highs[0], highs[1]], 1))
        stem = None if self.stem is None else self.stem(self._zoomed(images))
        size = (images.shape[2], images.shape[3])
        return (
            Features(fused_low, fused_high, stem, size),
            Features(lows[1], fused_high, stem, size),
            Features(fused_low, highs[2], stem, size),
        )

    def decode_paths(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits ``(B, C, H, W)`` of the image's, the low and the high path."""
        image, low, high = self.paths(self.encode(images), images)
        answers = [self.decode(image)]
        for decoder, path in ((self.low_decoder, low), (self.high_decoder, high)):
            logits = decoder(path.low, path.high, path.stem)
            answers.append(self._to_image(logits.float(), path))
        return answers[0], answers[1], answers[2]

    def _shares(self, images: Tensor) -> tuple[Tensor, Tensor]:
        shape = (len(images), 1, 1, 1)
        if not self.training:
            return images.new_full(shape, LOW_SHARE), images.new_full(shape, HIGH_SHARE)
        alpha, beta = (
            torch.rand(shape, device=images.device),
            torch.rand(shape, device=images.device),
        )
        return _between(LOW_SHARES, alpha), _between(HIGH_SHARES, beta)


def frequencies(images: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the low and the high half of images ``(B, 3, H, W)``, of half their size, in 0…1.

    Haar wavelets give LL, LH, HL, HH; each is stretched to 0…1 in each channel. The high half is
    their three high bands, summed and stretched, plus β·LL; the low half is LL plus α times those.
    Both are stretched again. A channel without contrast is 0.
    """
    images = F.pad(images, (0, images.shape[3] % 2, 0, images.shape[2] % 2), mode="replicate")
    a, b = images[:, :, 0::2, 0::2], images[:, :, 0::2, 1::2]
    c, d = images[:, :, 1::2, 0::2], images[:, :, 1::2, 1::2]
    low = stretched((a + b + c + d) / 2)
    bands = ((a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2)
    high = stretched(sum((stretched(band) for band in bands), torch.zeros_like(a)))
    return stretched(low + alpha * high), stretched(high + beta * low)


def stretched(images: Tensor) -> Tensor:
    """Return each channel of each image stretched to 0…1; one without contrast becomes 0."""
    least = images.amin((2, 3), keepdim=True)
    reach = images.amax((2, 3), keepdim=True) - least
    return (images - least) / reach.clamp(min=1e-6)


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def _drawn_anew(decoder: nn.Module) -> nn.Module:
    other = copy.deepcopy(decoder)
    for module in other.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.reset_parameters()
    return other
