"""CSDS: colour and structure students. Source: PMLR 316, abstract; the rest in methods.md C."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unisemalign.methods.consistency import labels_from, unlabelled_of
from unisemalign.methods.labelled import detached
from unisemalign.methods.losses import confident_ce, entropy, summed
from unisemalign.methods.method import Batch, Needs
from unisemalign.methods.teacher import Teacher
from unisemalign.methods.two_networks import TwinNetworksMethod
from unisemalign.methods.unisemalign import PseudoLabels
from unisemalign.metrics import IGNORE
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.csds import CSDSSettings

_COARSE = 16
"""The elastic displacement is drawn on a grid this many times coarser than the crop."""


class CSDS(TwinNetworksMethod):
    """One student sees changed colours, one bent shapes; a teacher averages both and labels.

    Validation keeps the best of the three networks.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        super().__init__(network, settings)
        self.own = settings.method_as(CSDSSettings)
        self.teacher = Teacher(network, self.own.ema)
        self.needs = Needs(unlabelled=True, strong_views=1)

    def candidates(self) -> dict[str, Network]:
        """Return both students and the teacher."""
        return {
            "colour student": self.first,
            "structure student": self.second,
            "teacher": self.teacher.network,
        }

    def after_step(self) -> None:
        """Count the step; the teacher follows the mean of both students."""
        super().after_step()
        self.teacher.follow(self.first, self.second)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return both labelled losses + w·ramp·[colour student + structure student], and parts."""
        u, _ = unlabelled_of(batch)
        n = len(batch.images)
        images = torch.cat([batch.images, u.weak])
        bend = Bend.drawn(images, self.own.bend)
        bent = bend.image(images)
        bent_labels = bend.plane(batch.labels, n, IGNORE)
        colour = self.first.decode(self.first.features(recoloured(images, self.own.colour_change)))
        shape = self.second.decode(self.second.features(bent))
        parts = self.labelled_parts(colour[:n], shape[:n], batch.labels, bent_labels)
        weight = self.cross_weight()
        valid = bend.plane(u.valid.long(), len(u.valid), 0, last=True) > 0
        for name, decoded, crops, seen, weights in (
            ("colour", colour[n:], u.weak, u.valid, self.colour_doubt),
            ("structure", shape[n:], bent[n:], valid, self.structure_doubt),
        ):
            taught = self._taught(crops, seen)
            counts = self._counts(weights(entropy(taught.decoder), crops))
            parts[name] = weight * confident_ce(decoded, taught.label, counts, seen)
        return summed(parts), detached(parts)

    def colour_doubt(self, doubt: Tensor, crops: Tensor) -> Tensor:
        """Return Ũ_C = U(1 + λ_C·1[V̂ > τ_c]): doubt grows where colours vary."""
        varied = F.avg_pool2d(crops.var(1, correction=0).unsqueeze(1), 3, 1, 1).squeeze(1)
        return doubt * (1 + self.own.weight_colour * _above(varied, self.own.colour_above))

    def structure_doubt(self, doubt: Tensor, crops: Tensor) -> Tensor:
        """Return Ũ_S = Ũ_C(1 + λ_S·1[Ê > τ_s]): it grows more where an edge is strong."""
        grey = F.pad(crops.mean(1), (0, 1, 0, 1), mode="replicate")
        down = grey[:, 1:, :-1] - grey[:, :-1, :-1]
        right = grey[:, :-1, 1:] - grey[:, :-1, :-1]
        edge = (down**2 + right**2).sqrt()
        more = self.own.weight_structure * _above(edge, self.own.edge_above)
        return self.colour_doubt(doubt, crops) * (1 + more)

    def _counts(self, doubt: Tensor) -> Tensor:
        return doubt if self.own.doubt == "more" else torch.exp(-doubt)

    @torch.no_grad()
    def _taught(self, crops: Tensor, valid: Tensor) -> PseudoLabels:
        network = self.teacher.network
        return labels_from(network.decode(network.features(crops)), valid)


@dataclass(frozen=True)
class Bend:
    """One elastic displacement for each crop of a batch.

    ``grid`` ``(B, H, W, 2)``: where each pixel comes from, ``x, y`` in −1…1.
    """

    grid: Tensor

    @staticmethod
    def drawn(like: Tensor, reach: float) -> Bend:
        """Draw displacements for ``(B, 3, H, W)``; the largest is ``reach`` of the crop."""
        count, _, height, width = like.shape
        coarse = (count, 2, max(2, height // _COARSE), max(2, width // _COARSE))
        field = torch.randn(coarse, device=like.device)
        field = F.interpolate(field, size=(height, width), mode="bicubic", align_corners=True)
        field = field / field.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-6)
        still = F.affine_grid(
            torch.eye(2, 3, device=like.device).expand(count, 2, 3),
            [count, 1, height, width],
            align_corners=False,
        )
        return Bend(still + 2 * reach * field.permute(0, 2, 3, 1))

    def image(self, images: Tensor) -> Tensor:
        """Return bent images ``(B, 3, H, W)``; beyond the border they are mirrored."""
        return F.grid_sample(
            images, self.grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )

    def plane(self, plane: Tensor, count: int, outside: int, *, last: bool = False) -> Tensor:
        """Return a bent plane of numbers ``(count, H, W)``: the batch's first, or last, crops.

        What comes from outside a crop is ``outside``.
        """
        grid = self.grid[-count:] if last else self.grid[:count]
        bent = F.grid_sample(
            plane.unsqueeze(1).float(), grid, mode="nearest", align_corners=False
        ).squeeze(1)
        inside = (grid.abs() <= 1).all(-1)
        return torch.where(inside, bent.round().long(), torch.full_like(plane, outside))


def recoloured(images: Tensor, reach: float) -> Tensor:
    """Return images ``(B, 3, H, W)`` in 0…1 of another brightness, contrast and saturation."""
    shape = (len(images), 1, 1, 1)
    brightness, contrast, saturation = (
        1 + reach * (2 * torch.rand(shape, device=images.device) - 1) for _ in range(3)
    )
    images = images * brightness
    images = (images - images.mean((1, 2, 3), keepdim=True)) * contrast + images.mean(
        (1, 2, 3), keepdim=True
    )
    grey = images.mean(1, keepdim=True)
    return ((images - grey) * saturation + grey).clamp(0, 1)


def _above(plane: Tensor, share: float) -> Tensor:
    """Return 1 where ``(B, H, W)`` is above ``share`` of its crop's largest value, else 0."""
    largest = plane.amax((1, 2), keepdim=True)
    return ((plane > share * largest) & (largest > 0)).to(plane.dtype)
