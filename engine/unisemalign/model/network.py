"""The network UniSemAlign and its yardsticks share. Source: methods.md A1–A5."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.errors import SettingsError
from unisemalign.model.decoder import Decoder, conv_bn_relu
from unisemalign.model.encoders import Encoder
from unisemalign.model.semantic import SemanticHead, cosines, stretched_cosines
from unisemalign.model.text import build_text_tower
from unisemalign.model.token_cache import TokenCache
from unisemalign.settings import ModelSettings


@dataclass(frozen=True)
class Features:
    """Projected features of a batch.

    ``low`` ``(B, C, h, w)`` and ``high`` ``(B, C', h', w')``, ``stem`` the extra high-resolution
    map or ``None``, ``size`` the image's ``(H, W)``.
    """

    low: Tensor
    high: Tensor
    stem: Tensor | None
    size: tuple[int, int]

    def with_dropout(self, share: float) -> Features:
        """Return a copy with channels of ``low`` and ``high`` dropped (L_c, methods.md A5)."""
        return Features(
            F.dropout2d(self.low, share), F.dropout2d(self.high, share), self.stem, self.size
        )

    def with_complements(self) -> Features:
        """Return a copy in which the batch's two halves, views of the same crops, share channels.

        Of each crop, the first view keeps a random half of ``low``'s and ``high``'s channels,
        doubled, the second the other half; for half of the crops nothing is dropped in either map
        (UniMatch V2). Where both maps have as many channels, the same ones are kept in both.
        """
        half = len(self.low) // 2
        whole = torch.randperm(half, device=self.low.device)[: half // 2]
        masks: dict[int, Tensor] = {}

        def shared(maps: Tensor) -> Tensor:
            width = maps.shape[1]
            if width not in masks:
                mask = 2 * torch.bernoulli(maps.new_full((half, width, 1, 1), 0.5))
                mask[whole] = 1.0
                masks[width] = torch.cat([mask, 2 - mask])
            return maps * masks[width]

        return Features(shared(self.low), shared(self.high), self.stem, self.size)

    def rows(self, start: int, stop: int) -> Features:
        """Return samples ``start…stop`` of the batch."""
        stem = None if self.stem is None else self.stem[start:stop]
        return Features(self.low[start:stop], self.high[start:stop], stem, self.size)


@dataclass(frozen=True)
class Logits:
    """Class logits ``(B, C, H, W)`` of the three branches, at image size.

    ``prototype`` and ``text`` are cosines divided by the temperature; the text branch and the
    prototypes are ``None`` where they were not asked for.
    """

    decoder: Tensor
    prototype: Tensor
    text: Tensor

    def fused(self, eta_prototype: float, eta_text: float) -> Tensor:
        """Return S_f = S_dl + η_p·S_p + η_t·S_t (methods.md A5)."""
        return self.decoder + eta_prototype * self.prototype + eta_text * self.text

    def rows(self, start: int, stop: int) -> Logits:
        """Return samples ``start…stop`` of the batch."""
        return Logits(self.decoder[start:stop], self.prototype[start:stop], self.text[start:stop])

    def plus(self, prior: Tensor) -> Logits:
        """Return the logits with ``prior`` ``(C,)`` added to each branch."""
        added = prior.view(1, -1, 1, 1)
        return Logits(self.decoder + added, self.prototype + added, self.text + added)

    def detached(self) -> Logits:
        """Return the same logits, which no gradient passes."""
        return Logits(self.decoder.detach(), self.prototype.detach(), self.text.detach())


class Network(nn.Module):
    """Encoder, projections, decoder and semantic head.

    Parameters
    ----------
    encoder
        Frozen when ``train_encoder`` is false: it then runs without gradient, in evaluation mode.
    class_words
        Words of each class, in class order.
    settings
        Widths, dilations and the other numbers of the model.
    text_weights
        Whether the text tower loads its published weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        class_words: Sequence[str],
        settings: ModelSettings,
        *,
        train_encoder: bool,
        text_weights: bool = True,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.n_classes = len(class_words)
        self.train_encoder = train_encoder
        self.encoder = encoder.requires_grad_(train_encoder)
        self.tokens: TokenCache | None = None
        self.low = _projection(encoder.low_channels, settings.low_dim)
        self.high = _projection(encoder.high_channels, settings.high_dim)
        self.stem = _stem(settings.stem_dim) if settings.stem_dim else None
        self.decoder: nn.Module = Decoder(
            settings.low_dim,
            settings.high_dim,
            settings.skip_dim,
            settings.decoder_dim,
            self.n_classes,
            settings.dilations,
            settings.stem_dim,
        )
        text = build_text_tower(
            settings.text,
            class_words,
            context_tokens=settings.context_tokens,
            pooling=settings.text_pooling,
            masks=settings.text_masks,
            weights=text_weights,
        )
        self.semantic = SemanticHead(
            settings.high_dim,
            settings.embed_dim,
            self.n_classes,
            text,
            train_projection=settings.train_text_projection,
        )
        self.register_buffer("mean", torch.tensor(encoder.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Network:
        """Set the mode; a frozen encoder and the text tower stay in evaluation mode."""
        super().train(mode)
        if not self.train_encoder:
            self.encoder.eval()
        self.semantic.text.eval()
        return self

    def copied(self) -> Network:
        """Return a copy of every part that is trained; what is frozen is shared, not copied.

        Shared are a frozen encoder, the tokens kept of it, and the text tower.
        """
        frozen = [getattr(self.semantic.text, "tower", None)]
        if not self.train_encoder:
            frozen += [self.encoder, self.tokens]
        shared = {id(part): part for part in frozen if part is not None}
        return copy.deepcopy(self, memo=shared)

    @torch.no_grad()
    def redraw(self, seed: int) -> None:
        """Draw projections, stem and decoder anew from ``seed``; encoder and texts stay.

        Torch's own generator is left where it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for part in (self.stem, self.decoder):
                for module in [] if part is None else part.modules():
                    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                        module.reset_parameters()
            for projection in (self.low, self.high):
                _draw_projection(projection)

    def with_encoder(self, encoder: Encoder) -> Network:
        """Return a copy with another encoder and projections of its own.

        The encoder learns unless its weights are someone else's.
        """
        other = self.copied()
        other.train_encoder = encoder.ours or not encoder.pretrained
        device = self.mean.device
        other.encoder = encoder.to(device).requires_grad_(other.train_encoder)
        other.tokens = None
        other.low = _projection(encoder.low_channels, self.settings.low_dim).to(device)
        other.high = _projection(encoder.high_channels, self.settings.high_dim).to(device)
        for name in ("mean", "std"):
            value = torch.tensor(getattr(encoder, name), device=device).view(1, 3, 1, 1)
            other.register_buffer(name, value, persistent=False)
        return other.train(self.training)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images ``(B, 3, H, W)`` in 0…1; no gradient through a frozen encoder."""
        pixels = self._zoomed(images)
        if self.tokens is not None:
            low, high = self.tokens(self.encoder, pixels)
            return self._averaged(low), high
        with torch.set_grad_enabled(self.train_encoder and torch.is_grad_enabled()):
            low, high = self.encoder(pixels)
        return self._averaged(low), high

    def keep_tokens(self, tokens: TokenCache) -> None:
        """Let what the frozen encoder says be kept; the averaged teacher shares it.

        Raises
        ------
        SettingsError
            If the encoder is trained: what it says changes with every step.
        """
        if self.train_encoder:
            raise SettingsError(
                "Keeping tokens needs an encoder that does not change, this one is trained. Use "
                "--set training.cache_gb=0, or freeze it with --set model.train_encoder=no."
            )
        self.tokens = tokens

    def project(self, encoded: tuple[Tensor, Tensor], images: Tensor) -> Features:
        """Return the projected features of what :meth:`encode` gave for ``images``."""
        stem = None if self.stem is None else self.stem(self._zoomed(images))
        height, width = images.shape[2:]
        return Features(self.low(encoded[0]), self.high(encoded[1]), stem, (height, width))

    def features(self, images: Tensor) -> Features:
        """Encode and project images ``(B, 3, H, W)`` in 0…1."""
        return self.project(self.encode(images), images)

    def decode(self, features: Features) -> Tensor:
        """Return the decoder's logits S_dl ``(B, C, H, W)`` at image size, float32."""
        logits = self.decoder(features.low, features.high, features.stem)
        return self._to_image(logits.float(), features)

    def words(self) -> Tensor:
        """Return the class texts as unit vectors ``(C, D)``, float32: run once a step, share."""
        with _full_precision(self.mean):
            return self.semantic.unit_words()

    def semantics(
        self, features: Features, words: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return S_p and S_t ``(B, C, H, W)`` at image size, cosines over ``temperature``, float32.

        In half the digits a cosine divided by a temperature of 0.1 would be off by 0.04.
        """
        embedded = self.semantic.pixels(features.high).float()
        both = torch.cat([self.semantic.unit_prototypes(), words])
        with _full_precision(embedded):
            if self.settings.semantic_upsample == "features":
                scores = stretched_cosines(
                    embedded, both, features.size, align_corners=self.settings.align_corners
                )
            else:
                scores = self._to_image(cosines(F.normalize(embedded, dim=1), both), features)
            scores = scores / temperature
        return scores[:, : self.n_classes], scores[:, self.n_classes :]

    def logits(self, features: Features, words: Tensor, temperature: float) -> Logits:
        """Return all three branches at image size."""
        return Logits(self.decode(features), *self.semantics(features, words, temperature))

    def _averaged(self, low: Tensor) -> Tensor:
        step = self.settings.low_stride // self.encoder.low_stride
        return F.avg_pool2d(low, step) if step > 1 else low

    def _zoomed(self, images: Tensor) -> Tensor:
        """Normalise, and bring to the encoder's scale and a size it can take."""
        images = (images - self.mean) / self.std
        step, zoom = self.encoder.multiple, self.settings.zoom
        sides = [int(side) for side in images.shape[2:]]  # numbers also where a graph is traced
        size = [max(1, round(side * zoom / step)) * step for side in sides]
        if size == sides:
            return images
        if all(side == 2 * small for side, small in zip(sides, size, strict=True)):
            return F.avg_pool2d(images, 2)
        return F.interpolate(
            images, size=size, mode="bilinear", align_corners=False, antialias=zoom < 1
        )

    def _to_image(self, maps: Tensor, features: Features) -> Tensor:
        return F.interpolate(
            maps, size=features.size, mode="bilinear", align_corners=self.settings.align_corners
        )


def _full_precision(like: Tensor) -> AbstractContextManager[None]:
    """Compute in float32 inside the block, whatever the precision around it."""
    device = like.device.type
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def _projection(channels_in: int, channels_out: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels_out, 1)
    _draw_projection(conv)
    return conv


def _draw_projection(conv: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]


def _stem(channels: int) -> nn.Module:
    """Return a light path at stride 2, for encoders whose finest map is coarse (part E row 1)."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        conv_bn_relu(channels, channels, 3),
    )
