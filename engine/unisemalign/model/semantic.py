"""The semantic head: pixels, prototypes and words in one space. Source: methods.md A3–A4."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.model.text import TextTower

_SHORTEST = 1e-12


class SemanticHead(nn.Module):
    """Pixel embedding, learnable class prototypes, and projected text features.

    Parameters
    ----------
    channels
        Channels of the deep features.
    embed_dim
        Dimension of the shared space.
    n_classes
        Classes, background included.
    text
        Gives one vector a class.
    train_projection
        Whether the projection of words into the shared space is trained.
    """

    def __init__(
        self,
        channels: int,
        embed_dim: int,
        n_classes: int,
        text: TextTower,
        *,
        train_projection: bool,
    ) -> None:
        super().__init__()
        self.pixels = nn.Sequential(
            nn.Conv2d(channels, embed_dim, 3, padding=1),
            nn.BatchNorm2d(embed_dim),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
        )
        self.prototypes = nn.Parameter(torch.randn(n_classes, embed_dim) / embed_dim**0.5)
        self.text = text
        self.project = nn.Linear(text.dim, embed_dim, bias=False)
        nn.init.normal_(self.project.weight, std=text.dim**-0.5)
        self.project.requires_grad_(train_projection)

    def unit_prototypes(self) -> Tensor:
        """Return the prototypes as unit vectors ``(C, D)``."""
        return F.normalize(self.prototypes, dim=1)

    def unit_words(self) -> Tensor:
        """Return the class texts as unit vectors ``(C, D)``. Runs the text tower: once a step."""
        return F.normalize(self.project(self.text()), dim=1)


def cosines(embedded: Tensor, classes: Tensor) -> Tensor:
    """Return ``(B, C, h, w)`` cosines of unit pixels ``(B, D, h, w)`` and classes ``(C, D)``."""
    return torch.einsum("bdhw,cd->bchw", embedded, classes)


def stretched_cosines(
    embedded: Tensor, classes: Tensor, size: tuple[int, int], *, align_corners: bool
) -> Tensor:
    """Return ``(B, C, H, W)`` cosines of ``embedded`` ``(B, D, h, w)``, stretched to ``size``.

    As if the embeddings were stretched first and made unit vectors there (methods.md A8 row 8), but
    no map of D channels is stretched. A product with a class may be stretched in its place. The
    squared length of a stretched embedding is a sum over the pixels around it of products of
    neighbours, each of which is a map of one channel.
    """
    rows, columns = (
        F.interpolate(
            torch.eye(length, device=embedded.device)[None],
            size=out,
            mode="linear",
            align_corners=align_corners,
        )[0].T
        for length, out in zip(embedded.shape[2:], size, strict=True)
    )
    up, down = embedded[:, :, :-1], embedded[:, :, 1:]
    upright = rows**2, 2 * rows[:, :-1] * rows[:, 1:]
    level = columns**2, 2 * columns[:, :-1] * columns[:, 1:]

    def product(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(1)

    crossed = product(up[..., :-1], down[..., 1:]) + product(up[..., 1:], down[..., :-1])
    squared = (
        upright[0] @ product(embedded, embedded) @ level[0].T
        + upright[0] @ product(embedded[..., :-1], embedded[..., 1:]) @ level[1].T
        + upright[1] @ product(up, down) @ level[0].T
        + upright[1] @ crossed @ level[1].T / 2
    )
    # As torch's normalize: a vector of no length stays as it is.
    length = squared.clamp_min(_SHORTEST**2).sqrt()
    return rows @ cosines(embedded, classes) @ columns.T / length[:, None]
