"""Image towers of vision–language pairs: one vector a patch, in the space of the words.

A pair was taught to compare a whole image with a sentence. Its last attention gathers the patches
into one vector; here each patch is let through that attention by itself, by way of the value and
output maps alone. Source: Zhou et al., *Extract free dense labels from CLIP* (ECCV 2022).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import timm
import torch
from open_clip.transformer import AttentionalPooler, QuickGELU, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.errors import WeightsError
from unisemalign.model.encoders import Encoder
from unisemalign.model.reading import assign_parts, check_fit, read_checkpoint, wanted_parts
from unisemalign.model.text.layouts import image_tower_from_transformers
from unisemalign.weights.hashes import known_sha256
from unisemalign.weights.places import absent_sentence, find_weights
from unisemalign.weights.registry import ImageTower, Published

_CONCH_HEADS = 8


class ClipImageTower(nn.Module):
    """open_clip's ``VisionTransformer``, as OpenAI's CLIP, PLIP and QuiltNet have it."""

    def __init__(self, image_tower: ImageTower) -> None:
        super().__init__()
        self.tower = VisionTransformer(
            image_size=image_tower.image_px,
            patch_size=image_tower.patch,
            width=image_tower.width,
            layers=image_tower.depth,
            heads=image_tower.heads,
            mlp_ratio=4.0,
            output_dim=image_tower.output_dim,
            act_layer=QuickGELU if image_tower.quick_gelu else nn.GELU,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, D, h, w)`` of normalised images ``(B, 3, S, S)``."""
        tower: Any = self.tower
        patches = tower.conv1(images)
        grid = patches.shape[2:]
        patches = patches.flatten(2).transpose(1, 2)
        first = tower.class_embedding.expand(len(patches), 1, -1)
        tokens = tower.ln_pre(torch.cat([first, patches], 1) + tower.positional_embedding)
        *before, last = tower.transformer.resblocks
        for block in before:
            tokens = block(tokens)
        weight, bias = last.attn.in_proj_weight.chunk(3)[2], last.attn.in_proj_bias.chunk(3)[2]
        tokens = last.attn.out_proj(F.linear(last.ln_1(tokens[:, 1:]), weight, bias))
        vectors: Tensor = tower.ln_post(tokens) @ tower.proj
        return vectors.transpose(1, 2).reshape(len(vectors), -1, *grid)


class TimmImageTower(nn.Module):
    """A timm vision transformer, and what takes its tokens into the space of the words.

    ``head``: ``pooler`` (CONCH's attentional pooler), ``linear`` (BiomedCLIP) or ``mlp`` (KEEP).
    """

    def __init__(self, image_tower: ImageTower) -> None:
        super().__init__()
        self.trunk = timm.create_model(
            str(image_tower.architecture),
            pretrained=False,
            num_classes=0,
            img_size=image_tower.image_px,
            **image_tower.arguments,
        )
        self.kind, width, dim = image_tower.head, image_tower.width, image_tower.output_dim
        self.head: nn.Module
        if self.kind == "pooler":
            self.attn_pool_contrast = AttentionalPooler(dim, width, _CONCH_HEADS, n_queries=1)
            self.ln_contrast = nn.LayerNorm(dim)
            self.proj_contrast = nn.Parameter(torch.zeros(dim, dim))
        elif self.kind == "linear":
            self.head = nn.ModuleDict({"proj": nn.Linear(width, dim, bias=False)})
        else:
            self.head = nn.Sequential(nn.Linear(width, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, D, h, w)`` of normalised images ``(B, 3, S, S)``."""
        vectors = self._pooled_alone(images) if self.kind == "pooler" else self._alone(images)
        return vectors.permute(0, 3, 1, 2)

    def _pooled_alone(self, images: Tensor) -> Tensor:
        """Let each token of the whole trunk through the pooler by itself, ``(B, h, w, D)``."""
        tokens = self._tokens(images, len(cast("nn.Sequential", self.trunk.blocks)) - 1, norm=True)
        pool = self.attn_pool_contrast
        bias = pool.attn.in_proj_bias.chunk(3)[2]
        values = F.linear(pool.ln_k(tokens), pool.attn.v_proj_weight, bias)
        vectors: Tensor = self.ln_contrast(pool.attn.out_proj(values)) @ self.proj_contrast
        return vectors

    def _alone(self, images: Tensor) -> Tensor:
        """Let each token through the last block's attention by itself, ``(B, h, w, D)``."""
        trunk: Any = self.trunk
        tokens = self._tokens(images, len(trunk.blocks) - 2, norm=False)
        last = trunk.blocks[-1]
        values = last.attn.qkv(last.norm1(tokens)).chunk(3, dim=-1)[2]
        tokens = trunk.norm(last.ls1(last.attn.proj(values)))
        head: Any = self.head
        vectors: Tensor = head["proj"](tokens) if self.kind == "linear" else head(tokens)
        return vectors

    def _tokens(self, images: Tensor, block: int, *, norm: bool) -> Tensor:
        trunk: Any = self.trunk
        (tokens,) = trunk.forward_intermediates(
            images, indices=[block], norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        return torch.as_tensor(tokens).permute(0, 2, 3, 1)


class PatchEncoder(Encoder):
    """An image tower as an encoder: both maps are its patch vectors, at its one image size."""

    pretrained = True

    def __init__(self, inner: ClipImageTower | TimmImageTower, image_tower: ImageTower) -> None:
        super().__init__()
        self.inner = inner
        self.low_channels = self.high_channels = image_tower.output_dim
        self.low_stride = self.high_stride = image_tower.patch
        self.multiple = image_tower.image_px
        self.mean, self.std = image_tower.mean, image_tower.std

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(B, 3, H, W)``, sides multiples of the image size, to ``(B, D, h, w)`` twice."""
        side = self.multiple
        rows = [self._row(row) for row in torch.split(images, side, 2)]
        vectors = torch.cat(rows, 2)
        return vectors, vectors

    def _row(self, images: Tensor) -> Tensor:
        return torch.cat([self.inner(tile) for tile in torch.split(images, self.multiple, 3)], 3)


def build_image_tower(image_tower: ImageTower) -> ClipImageTower | TimmImageTower:
    """Return the image tower, with random numbers."""
    return (
        TimmImageTower(image_tower) if image_tower.layout == "timm" else ClipImageTower(image_tower)
    )


def load_image_tower(entry: Published, path: Path | None = None) -> PatchEncoder:
    """Return the image tower of ``entry``, read from the file that holds its words too.

    Parameters
    ----------
    path
        The person's own copy of the file, or the folder it lies in; ``None`` looks into the cache.

    Raises
    ------
    WeightsError
        If it has no image tower, or its file is not here, is not what was fetched, or does not fit.
    """
    image_tower = entry.image_tower
    if image_tower is None:
        raise WeightsError(
            f"A first guess needs words and an image tower taught together, '{entry.name}' has "
            f"words alone. Use conch, plip or quiltnet-b-16."
        )
    found = find_weights(entry, path)
    if found is None:
        raise WeightsError(absent_sentence(entry))
    digest = known_sha256(found)
    state = read_image_tower(read_checkpoint(found), entry.name, image_tower)
    with torch.device("meta"):
        inner = build_image_tower(image_tower)
    check_fit(state, inner.state_dict(), f"{entry.name} (image_tower)")
    assign_parts(inner, state)
    encoder = PatchEncoder(inner.eval(), image_tower)
    encoder.weights_sha256 = digest
    return encoder


def read_image_tower(
    state: dict[str, Tensor], name: str, image_tower: ImageTower
) -> dict[str, Tensor]:
    """Return the parts of a pair's file that are its image tower, under the names used here."""
    state = wanted_parts(state, name, "", image_tower.left_out)
    if image_tower.layout == "hf_clip":
        state = image_tower_from_transformers(state)
    renamed = {}
    for part, value in state.items():
        source = next((key for key in image_tower.parts if part.startswith(key)), None)
        target = part if source is None else image_tower.parts[source] + part.removeprefix(source)
        renamed[target] = value
    return renamed
