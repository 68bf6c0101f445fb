"""From the names of transformers' vision models to timm's. One rule a line, nothing guessed.

Sources: the module names of transformers' ``ViTModel``, ``Dinov2Model`` and
``Dinov2WithRegistersModel``, and of timm's ``VisionTransformer``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_SHARED = {
    "embeddings.cls_token": "cls_token",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_BLOCK = {
    "hf_vit": {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    },
    "hf_dinov2": {
        "norm1": "norm1",
        "norm2": "norm2",
        "attention.output.dense": "attn.proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
        "mlp.weights_in": "mlp.fc1",
        "mlp.weights_out": "mlp.fc2",
        "layer_scale1": "ls1",
        "layer_scale2": "ls2",
    },
}
# Only training needs them: the token that stood for masked patches, the head over the class token.
_TRAINING_ONLY = ("embeddings.mask_token", "pooler.")
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.([a-z0-9]+)$")
_QKV = re.compile(r"attention\.attention\.(query|key|value)$")


def to_timm(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Return ``state`` under timm's names; a name without a rule keeps its own, and will not fit.

    Query, key and value are joined. With registers, timm adds positions to patches alone: the
    class token's position is added to it here, once.
    """
    out: dict[str, Tensor] = {}
    joined: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith(_TRAINING_ONLY):
            continue
        layer = _LAYER.match(name)
        if layer is None:
            out[_SHARED.get(name, name)] = value
            continue
        block, part, leaf = layer.groups()
        if qkv := _QKV.match(part):
            joined.setdefault(f"blocks.{block}.attn.qkv.{leaf}", {})[qkv.group(1)] = value
        elif part in _BLOCK[layout]:
            leaf = "gamma" if leaf == "lambda1" else leaf
            out[f"blocks.{block}.{_BLOCK[layout][part]}.{leaf}"] = value
        else:
            out[name] = value
    for name, three in joined.items():
        if three.keys() == {"query", "key", "value"}:
            out[name] = torch.cat([three["query"], three["key"], three["value"]])
    if {"reg_token", "cls_token", "pos_embed"} <= out.keys():
        out["cls_token"] = out["cls_token"] + out["pos_embed"][:, :1]
        out["pos_embed"] = out["pos_embed"][:, 1:]
    return out
