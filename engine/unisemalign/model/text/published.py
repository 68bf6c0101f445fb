"""Text towers of the registry: built, and loaded by name and shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from open_clip.transformer import QuickGELU, TextTransformer
from torch import nn

from unisemalign.errors import WeightsError
from unisemalign.model.reading import (
    State,
    assign_parts,
    check_fit,
    read_checkpoint,
    wanted_parts,
)
from unisemalign.model.text.bert import Bert, PromptedBert
from unisemalign.model.text.layouts import bert_from_transformers, clip_from_transformers
from unisemalign.model.text.prompted import PromptedText
from unisemalign.model.text.tokens import (
    check_contexts,
    check_reading,
    read_prompts,
    write_prompts,
)
from unisemalign.model.text.tower import Pooling, PromptedTower
from unisemalign.weights.hashes import known_sha256
from unisemalign.weights.places import absent_sentence, find_weights
from unisemalign.weights.registry import Published


def build_tower(entry: Published) -> nn.Module:
    """Return the text side of ``entry``, with random numbers."""
    arguments: dict[str, Any] = {"width": entry.width, "layers": entry.depth, **entry.arguments}
    if entry.layout == "bert":
        del arguments["context_length"]  # how many tokens its tokenizer writes, not a shape
        return Bert(**arguments)
    if entry.quick_gelu:
        arguments["act_layer"] = QuickGELU
    tower: nn.Module = TextTransformer(**arguments)
    return tower


def load_tower(entry: Published, path: Path) -> nn.Module:
    """Return the text side of ``entry`` with the numbers in the file ``path``.

    Raises
    ------
    WeightsError
        If the file does not fit by name and shape.
    """
    state: State = wanted_parts(read_checkpoint(path), entry.name, entry.keys, entry.left_out)
    if entry.layout == "hf_clip":
        state = clip_from_transformers(state)
    elif entry.layout == "bert":
        state = bert_from_transformers(state)
    with torch.device("meta"):
        tower = build_tower(entry)
    check_fit(state, tower.state_dict(), entry.name)
    assign_parts(tower, state)
    if isinstance(tower, TextTransformer):
        tower.attn_mask = tower.build_causal_mask()  # a buffer no file holds: it was left on meta
    return tower


def load_text(
    entry: Published,
    path: Path | None,
    class_words: Sequence[str],
    *,
    context_tokens: int,
    pooling: Pooling,
    masks: bool,
    weights: bool,
) -> PromptedTower:
    """Return the tower of ``entry``, reading these classes.

    Raises
    ------
    WeightsError
        If its weights or its tokenizer are not here, are not what was fetched, or do not fit.
    """
    found = find_weights(entry, path)
    if weights and found is None:
        raise WeightsError(absent_sentence(entry))
    ids = read_prompts(entry, write_prompts(class_words, context_tokens), found)
    if weights:
        check_reading(entry, found)
    check_contexts(ids, context_tokens, entry.name)
    digest = known_sha256(found) if weights and found else None
    tower = load_tower(entry, found) if weights and found else build_tower(entry)
    text: PromptedTower
    if isinstance(tower, Bert):
        text = PromptedBert(tower.eval(), ids, context_tokens, pooling, masks=masks)
    else:
        text = PromptedText(tower.eval(), ids, context_tokens, pooling, masks=masks)
    text.weights_sha256 = digest
    text.read_ids = partial(read_prompts, entry, weights=found)
    return text
