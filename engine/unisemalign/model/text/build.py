"""From a name to a text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pickle import UnpicklingError
from typing import Any

import open_clip

from unisemalign.errors import SettingsError, WeightsError, shortened
from unisemalign.model.text.prompted import PromptedText
from unisemalign.model.text.published import load_text
from unisemalign.model.text.tokens import check_contexts, write_prompts
from unisemalign.model.text.tower import FreeVectors, Pooling, TextTower
from unisemalign.weights.registry import PUBLISHED, Published, find_published, split_name


def build_text_tower(
    name: str,
    class_words: Sequence[str],
    *,
    context_tokens: int = 4,
    pooling: Pooling = "cls",
    masks: bool = True,
    weights: bool = True,
) -> TextTower:
    """Return the text tower called ``name`` for these classes.

    Parameters
    ----------
    name
        ``free`` for learnable vectors, a name of the registry (``conch``, ``quiltnet-b-16``, …),
        ``NAME=PATH`` for the person's own copy of its file, or an open_clip model: ``ViT-B-16``,
        ``ViT-B-16/TAG``, ``hf-hub:OWNER/NAME``.
    class_words
        One name or description a class, in class order.
    weights
        Load published weights, from the local cache. Without them: random, for a checkpoint to be
        loaded into, and for tests.

    Raises
    ------
    SettingsError, WeightsError
        If neither the registry nor open_clip knows such a model, or its weights or its tokenizer
        are not on this machine.
    """
    if name == "free":
        return FreeVectors(len(class_words))
    plain, path = split_name(name)
    entry = find_published(plain, "text") or _by_repository(plain)
    if entry is not None:
        return load_text(
            entry,
            path,
            class_words,
            context_tokens=context_tokens,
            pooling=pooling,
            masks=masks,
            weights=weights,
        )
    on_hub = plain.startswith("hf-hub:")
    model_name, _, tag = (plain, "", "") if on_hub else plain.partition("/")
    if not on_hub and model_name not in open_clip.list_models():
        raise SettingsError(
            f"The text tower '{plain}' needs to be a model of open_clip, found none of that name. "
            f"Use one of {_names()}, or a name from open_clip.list_models()."
        )
    if path is not None:
        tag = str(path)
    elif weights and not tag and not on_hub:
        known = open_clip.list_pretrained_tags_by_model(model_name)
        tag = known[0] if known else ""
    try:
        model = open_clip.create_model(model_name, pretrained=(tag or None) if weights else None)
        tower = getattr(model, "text", model)
        _check_readable(tower, name)
        tokenizer = open_clip.get_tokenizer(model_name)
    except (OSError, RuntimeError, UnpicklingError) as error:
        if path is not None:
            raise WeightsError(
                f"A file of weights needs to fit '{plain}', found '{path}': "
                f"{shortened(str(error))} Name the file that its publisher gives for this tower."
            ) from error
        if "transformers" in str(error):
            raise SettingsError(_unreadable(name)) from error
        raise WeightsError(
            f"The weights of the text tower '{name}' are not on this machine. Run 'unisemalign "
            f"weights get {name}' where there is a network, or use 'free', which needs none."
        ) from error
    ids = tokenizer(write_prompts(class_words, context_tokens))
    check_contexts(ids, context_tokens, name)
    if tower is model:
        del tower.visual  # a plain CLIP holds its text parts at the root
    text = PromptedText(tower, ids, context_tokens, pooling, masks=masks)
    text.read_ids = tokenizer
    return text


def _by_repository(name: str) -> Published | None:
    """Return the registry's entry for a hub name: its file is read here, not by open_clip."""
    repo = name.removeprefix("hf-hub:") if name.startswith("hf-hub:") else None
    return next((e for e in PUBLISHED if repo and e.repo == repo and e.kind == "text"), None)


def _names() -> str:
    return ", ".join(entry.name for entry in PUBLISHED if entry.kind == "text")


def _check_readable(tower: Any, name: str) -> None:
    """Refuse towers whose reading is not the one :class:`PromptedText` repeats."""
    parts = ("token_embedding", "positional_embedding", "transformer", "ln_final")
    pools = getattr(tower, "pool_type", getattr(tower, "text_pool_type", "argmax"))
    causal = getattr(tower, "attn_mask", None) is not None
    if not all(hasattr(tower, part) for part in parts) or not causal or pools != "argmax":
        raise SettingsError(_unreadable(name))


def _unreadable(name: str) -> str:
    return (
        f"A text tower needs causal attention and the end token's answer, as CLIP and CoCa have, "
        f"or to be one of {_names()}; '{name}' reads another way, which is not supported yet. "
        f"Choose another."
    )
