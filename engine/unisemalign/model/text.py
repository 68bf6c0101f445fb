"""Class vectors: free ones, or class names read by a frozen text tower. Source: METHODS A4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import open_clip
import torch
from torch import Tensor, nn

from unisemalign.errors import SettingsError, WeightsError

Pooling = Literal["cls", "eos", "argmax"]


class TextTower(nn.Module):
    """Base of what gives one vector a class. A subclass sets ``dim``."""

    dim: int

    def forward(self) -> Tensor:
        """Return ``(C, dim)``, not normalised; gradients reach what is learnable."""
        raise NotImplementedError


class FreeVectors(TextTower):
    """One learnable vector a class: no words are read.

    Stands in for a text tower where none is at hand; the interface says so.
    """

    def __init__(self, n_classes: int, dim: int = 512) -> None:
        super().__init__()
        self.dim = dim
        self.vectors = nn.Parameter(torch.randn(n_classes, dim) / dim**0.5)

    def forward(self) -> Tensor:
        """Return the vectors ``(C, dim)``."""
        return self.vectors


class PromptedText(TextTower):
    """A frozen open_clip text transformer read through learnable, class-specific contexts (CoOp).

    The prompt of a class is ``x … x NAME`` with one ``x`` a context token; the embeddings at
    positions 1…M are replaced by the learnable context. Only tokens that can reach the pooled one
    are computed: the answer is that of the full length.

    Parameters
    ----------
    tower
        ``open_clip.TextTransformer``, or a CLIP model with the same parts at its root.
    token_ids
        ``(C, L)`` prompts as the tower's tokenizer writes them, start token first.
    context_tokens
        M; 0 reads the bare class names.
    pooling
        ``cls``: the class embedding where the tower has one, else the tower's own choice;
        ``eos``: the end token; ``argmax``: the highest token id (CLIP's trick).
    masks
        Use the tower's causal and padding masks. Off reproduces METHODS A8 row 10.
    """

    def __init__(
        self,
        tower: Any,
        token_ids: Tensor,
        context_tokens: int,
        pooling: Pooling = "cls",
        *,
        masks: bool = True,
    ) -> None:
        super().__init__()
        self.tower = tower.requires_grad_(False)
        # Not kept in checkpoints: a person may change the words between two rounds.
        self.register_buffer("token_ids", token_ids, persistent=False)
        width = tower.token_embedding.weight.shape[1]
        self.context = nn.Parameter(torch.randn(len(token_ids), context_tokens, width) / width**0.5)
        self.pooling = pooling
        self.masks = masks
        # Columns of padding no kept token can see are dropped: all but one after the longest.
        longest = int((token_ids != self._pad_id()).sum(1).max())
        self.kept_columns = longest + 1 if masks else token_ids.shape[1]
        self.dim = int(_projection_dim(tower, width))

    def forward(self) -> Tensor:
        """Return ``(C, dim)``."""
        tower, ids = self.tower, self._kept_ids()
        tokens = tower.token_embedding(ids)
        m = self.context.shape[1]
        tokens = torch.cat([tokens[:, :1], self.context, tokens[:, 1 + m :]], dim=1)
        positions = tower.positional_embedding[: tokens.shape[1]]
        class_embedding = getattr(tower, "cls_emb", None)
        if class_embedding is not None:
            tokens = torch.cat([tokens, class_embedding.expand(len(ids), 1, -1)], dim=1)
            positions = torch.cat([positions, tower.positional_embedding[-1:]])
        hidden = tower.transformer(tokens + positions, attn_mask=self._mask(ids, tokens))
        pooled = tower.ln_final(hidden[torch.arange(len(ids)), self._pooled_at(ids)])
        projection = tower.text_projection
        if projection is not None:
            linear = isinstance(projection, nn.Linear)
            pooled = projection(pooled) if linear else pooled @ projection
        vectors: Tensor = pooled
        return vectors

    def _pad_id(self) -> int:
        return int(getattr(self.tower, "pad_id", 0))

    def _kept_ids(self) -> Tensor:
        ids: Tensor = self.token_ids  # type: ignore[assignment]
        return ids[:, : self.kept_columns]

    def _mask(self, ids: Tensor, tokens: Tensor) -> Tensor | None:
        if not self.masks:
            return None
        n = tokens.shape[1]
        causal = torch.full((n, n), float("-inf"), device=tokens.device).triu(1)
        if getattr(self.tower, "cls_emb", None) is None:
            return causal
        # CONCH was trained with the class row's padding mask shifted by one (open_clip issue 549):
        # of n real tokens the class token sees positions 0…n and not itself.
        mask = causal.repeat(len(ids), 1, 1)
        real = (ids != self._pad_id()).sum(1)
        seen = torch.arange(n, device=tokens.device)[None] <= real[:, None]
        mask[:, -1] = torch.where(seen, 0.0, float("-inf"))
        heads = int(self.tower.transformer.resblocks[0].attn.num_heads)
        return mask.repeat_interleave(heads, 0)

    def _pooled_at(self, ids: Tensor) -> Tensor:
        if self.pooling == "cls" and getattr(self.tower, "cls_emb", None) is not None:
            return torch.full((len(ids),), ids.shape[1], device=ids.device)
        if self.pooling == "eos":
            return (ids != self._pad_id()).sum(1) - 1
        return ids.argmax(1)


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
        ``free`` for learnable vectors, or an open_clip model: ``ViT-B-16``,
        ``ViT-B-16/TAG``, ``hf-hub:OWNER/NAME``.
    class_words
        One name or description a class, in class order.
    weights
        Load published weights, from the local cache. Without them: random, for a checkpoint to be
        loaded into, and for tests.

    Raises
    ------
    SettingsError, WeightsError
        If open_clip knows no such model, or its weights are not on this machine.
    """
    if name == "free":
        return FreeVectors(len(class_words))
    model_name, _, tag = (name, "", "") if name.startswith("hf-hub:") else name.partition("/")
    if not name.startswith("hf-hub:") and model_name not in open_clip.list_models():
        raise SettingsError(
            f"Wanted the text tower '{name}', found no model of that name in open_clip. "
            f"Use 'free' or a name from open_clip.list_models()."
        )
    if weights and not tag and not name.startswith("hf-hub:"):
        known = open_clip.list_pretrained_tags_by_model(model_name)
        tag = known[0] if known else ""
    try:
        model = open_clip.create_model(model_name, pretrained=(tag or None) if weights else None)
        tower = getattr(model, "text", model)
        _check_readable(tower, name)
        tokenizer = open_clip.get_tokenizer(model_name)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"The weights of the text tower '{name}' are not on this machine. Run 'unisemalign "
            f"weights get {name}' where there is a network, or use 'free', which needs none."
        ) from error
    prompts = [" ".join(["x"] * context_tokens + [words]) for words in class_words]
    if tower is model:
        del tower.visual  # a plain CLIP holds its text parts at the root; its eyes are not needed
    return PromptedText(tower, tokenizer(prompts), context_tokens, pooling, masks=masks)


def _check_readable(tower: Any, name: str) -> None:
    """Refuse towers whose reading is not the one :class:`PromptedText` repeats."""
    parts = ("token_embedding", "positional_embedding", "transformer", "ln_final")
    pools = getattr(tower, "pool_type", getattr(tower, "text_pool_type", "argmax"))
    causal = getattr(tower, "attn_mask", None) is not None
    if not all(hasattr(tower, part) for part in parts) or not causal or pools != "argmax":
        raise SettingsError(
            f"A text tower wants causal attention and the end token's answer, as CLIP and CoCa "
            f"have; '{name}' reads another way, which is not supported yet. Use 'free' or another "
            f"open_clip model."
        )


def _projection_dim(tower: Any, width: int) -> int:
    projection = tower.text_projection
    if projection is None:
        return width
    return projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]
