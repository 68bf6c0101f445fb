"""A network without training: it says which of some directions a feature is nearest to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from unisemalign.model import Encoder, Features, Network
from unisemalign.settings import ModelSettings


class GuessNetwork(Network):
    """Stands where a trained network stands, so that windows, blending and doubt are the same.

    The encoder's shallow features, smoothed, less ``centre`` and over ``scale``, are compared with
    directions. A direction's share is the softmax of the cosines over ``temperature``, an answer's
    the sum over the directions that stand for it. The three branches say the same.

    Parameters
    ----------
    encoder
        Its shallow map is what is looked at.
    directions
        ``(K, D)`` unit vectors.
    answers
        For each direction the answer it stands for, 0…A−1.
    zoom
        Images are scaled by this before the encoder.
    temperature
        What cosines are divided by.
    centre, scale
        ``(D,)``, by default 0 and 1.
    smooth_px
        Side, in feature pixels, of the square that features are averaged over (odd).
    """

    directions: Tensor
    grouping: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        encoder: Encoder,
        directions: Tensor,
        answers: Sequence[int],
        *,
        zoom: float,
        temperature: float,
        centre: Tensor | None = None,
        scale: Tensor | None = None,
        smooth_px: int = 1,
    ) -> None:
        # The parts that are trained elsewhere are made as small as may be, and never asked.
        small = ModelSettings(
            zoom=zoom, low_dim=8, high_dim=8, skip_dim=8, decoder_dim=8, embed_dim=8, text="free"
        )
        count = max(answers) + 1
        super().__init__(encoder, [""] * count, small, train_encoder=False)
        self.temperature = temperature
        self.smooth_px = smooth_px
        grouping = torch.full((count, len(answers)), float("-inf"))
        grouping[list(answers), range(len(answers))] = 0.0
        channels = encoder.low_channels
        self.register_buffer("directions", directions.float(), persistent=False)
        self.register_buffer("grouping", grouping, persistent=False)
        self.register_buffer(
            "centre", torch.zeros(channels) if centre is None else centre, persistent=False
        )
        self.register_buffer(
            "scale", torch.ones(channels) if scale is None else scale, persistent=False
        )

    def fingerprint(self) -> bytes:
        """Return a hash that tells this network from any other: encoder, directions and use."""
        asked = self.directions, self.grouping, self.centre, self.scale
        found = hashlib.sha256()
        for tensor in (*self.encoder.state_dict().values(), *asked):
            found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            found.update(tensor.detach().cpu().numpy().tobytes())
        found.update(f"{self.settings.zoom} {self.temperature} {self.smooth_px}".encode())
        return found.digest()

    def smoothed_features(self, images: Tensor) -> Tensor:
        """Return the smoothed features ``(B, D, h, w)`` of images ``(B, 3, H, W)`` in 0…1."""
        return self._smoothed(self.encode(images)[0])

    def project(self, encoded: tuple[Tensor, Tensor], images: Tensor) -> Features:
        """Return what each answer has for it, as the shallow features ``(B, A, h, w)``."""
        shape = (1, -1, 1, 1)
        features = self._smoothed(encoded[0]) - self.centre.view(shape)
        unit = F.normalize(features / self.scale.view(shape), dim=1)
        cosines = torch.einsum("bdhw,kd->bkhw", unit, self.directions)
        shares = (cosines / self.temperature).log_softmax(1)
        logits = torch.logsumexp(shares[:, None] + self.grouping[None, :, :, None, None], dim=2)
        height, width = images.shape[2:]
        return Features(logits, encoded[1], None, (height, width))

    def words(self) -> Tensor:
        """Return the directions: there are no other words."""
        return self.directions

    def decode(self, features: Features) -> Tensor:
        """Return the logits ``(B, A, H, W)`` at image size, float32."""
        return self._to_image(features.low.float(), features)

    def semantics(
        self,
        features: Features,
        words: Tensor,  # noqa: ARG002
        temperature: float,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Return the same logits twice: a guess has one branch, and nothing disagrees."""
        logits = self.decode(features)
        return logits, logits

    def _smoothed(self, features: Tensor) -> Tensor:
        side = self.smooth_px
        features = features.float()
        return F.avg_pool2d(features, side, 1, side // 2, count_include_pad=False)
