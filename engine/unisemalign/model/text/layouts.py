"""From the names of transformers' CLIP and BERT to those of the towers used here.

Sources: the module names of transformers' ``CLIPModel`` and ``BertModel``, of open_clip's
``TextTransformer`` and ``HFTextEncoder``, and of torch's ``TransformerEncoderLayer``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Rules:
    """``single``: a name for a name. ``layer``: a part of a block. ``joined``: of three, one."""

    block: re.Pattern[str]
    target: str
    single: dict[str, str]
    layer: dict[str, str]
    joined: tuple[tuple[str, str, str], str]


_HF_CLIP = _Rules(
    block=re.compile(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$"),
    target="transformer.resblocks",
    single={
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
        "text_projection.weight": "text_projection",
    },
    layer={
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    },
    joined=(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attn.in_proj"),
)
_HF_CLIP_EYES = _Rules(
    block=re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$"),
    target="transformer.resblocks",
    single={
        "vision_model.embeddings.class_embedding": "class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "positional_embedding",
        "vision_model.pre_layrnorm.weight": "ln_pre.weight",
        "vision_model.pre_layrnorm.bias": "ln_pre.bias",
        "vision_model.post_layernorm.weight": "ln_post.weight",
        "vision_model.post_layernorm.bias": "ln_post.bias",
        "visual_projection.weight": "proj",
    },
    layer=_HF_CLIP.layer,
    joined=_HF_CLIP.joined,
)
_BERT = _Rules(
    block=re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)$"),
    target="layers",
    single={
        "embeddings.word_embeddings.weight": "words.weight",
        "embeddings.position_embeddings.weight": "positions.weight",
        "embeddings.token_type_embeddings.weight": "kinds.weight",
        "embeddings.LayerNorm.weight": "norm.weight",
        "embeddings.LayerNorm.bias": "norm.bias",
        "pooler.dense.weight": "head.0.weight",
        "pooler.dense.bias": "head.0.bias",
        "proj.0.weight": "head.0.weight",
        "proj.2.weight": "head.2.weight",
    },
    layer={
        "attention.output.dense": "self_attn.out_proj",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "linear1",
        "output.dense": "linear2",
        "output.LayerNorm": "norm2",
    },
    joined=(
        ("attention.self.query", "attention.self.key", "attention.self.value"),
        "self_attn.in_proj",
    ),
)


def clip_from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a ``CLIPModel``'s text side under ``TextTransformer``'s names."""
    out = _renamed(state, _HF_CLIP)
    if "text_projection" in out:
        out["text_projection"] = out["text_projection"].T
    return out


def image_tower_from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a ``CLIPModel``'s image side under the names of ``ClipImageTower``."""
    inner = _renamed(state, _HF_CLIP_EYES)
    if "proj" in inner:
        inner["proj"] = inner["proj"].T
    return {f"tower.{name}": value for name, value in inner.items()}


def bert_from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a ``BertModel``'s state, alone or inside open_clip, under ``Bert``'s names."""
    inner = {name.removeprefix("transformer."): value for name, value in state.items()}
    return _renamed(inner, _BERT)


def _renamed(state: Mapping[str, Tensor], rules: _Rules) -> dict[str, Tensor]:
    """Apply the rules; a name without a rule keeps its own, and will not fit."""
    out: dict[str, Tensor] = {}
    joined: dict[str, dict[str, Tensor]] = {}
    three, one = rules.joined
    for name, value in state.items():
        match = rules.block.match(name)
        if match is None:
            out[rules.single.get(name, name)] = value
            continue
        block, part, leaf = match.groups()
        if part in three:
            joined.setdefault(f"{rules.target}.{block}.{one}_{leaf}", {})[part] = value
        elif part in rules.layer:
            out[f"{rules.target}.{block}.{rules.layer[part]}.{leaf}"] = value
        else:
            out[name] = value
    for name, parts in joined.items():
        if parts.keys() == set(three):
            out[name] = torch.cat([parts[each] for each in three])
    return out
