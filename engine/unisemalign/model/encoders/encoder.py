"""What the network asks of an encoder."""

from __future__ import annotations

from torch import Tensor, nn


class Encoder(nn.Module):
    """Base of the encoders. A subclass sets the attributes and implements :meth:`forward`.

    Attributes
    ----------
    mean, std
        Per-channel statistics the images are normalised with, RGB in 0…1.
    low_channels, high_channels
        Channels of the two taps.
    low_stride, high_stride
        Image pixels per feature pixel.
    multiple
        Sides of an image must be multiples of this.
    pretrained
        Whether it starts from weights: then it is frozen unless the person asks otherwise.
    ours
        Whether its weights are this project's own: then they are written with a round's, and
        trained on unless the person asks otherwise.
    pace
        How fast it learns: a multiple of ``training.backbone_rate``.
    weights_sha256
        SHA-256 of the published file the weights came from; ``None`` where there is none.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    low_channels: int
    high_channels: int
    low_stride: int
    high_stride: int
    multiple: int
    pretrained: bool
    ours: bool = False
    pace: float = 1.0
    weights_sha256: str | None = None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode normalised images ``(B, 3, H, W)`` to ``(B, C, H/stride, W/stride)``, twice."""
        raise NotImplementedError
