"""Class names read by CLIP's and CoCa's text transformers. Source: methods.md A4."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unisemalign.model.text.tower import Pooling, PromptedTower


class PromptedText(PromptedTower):
    """A frozen open_clip text transformer behind learnable contexts.

    Parameters
    ----------
    tower
        ``open_clip.TextTransformer``, or a CLIP model with the same parts at its root.
    token_ids, context_tokens
        As in :class:`PromptedTower`.
    pooling
        ``cls``: the class embedding where the tower has one, else the tower's own choice;
        ``eos``: the end token; ``argmax``: the highest token id (CLIP's trick).
    masks
        Use the tower's causal and padding masks. Off reproduces methods.md A8 row 10: padding is
        read too, and a class embedding that is not pooled is left out, one more pad in its place.
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
        width = tower.token_embedding.weight.shape[1]
        pad_id = int(getattr(tower, "pad_id", 0))
        super().__init__(tower, token_ids, context_tokens, width=width, pad_id=pad_id)
        self.pooling = pooling
        self.masks = masks
        # Columns of padding no kept token can see are dropped: all but one after the longest.
        longest = int(self._lengths(token_ids).max())
        self.kept_columns = longest + 1 if masks else token_ids.shape[1]
        has_class = getattr(tower, "cls_emb", None) is not None
        self.reads_class = has_class and (masks or pooling == "cls")
        if has_class and not self.reads_class:
            self.token_ids = nn.functional.pad(token_ids, (0, 1), value=pad_id)
            self.kept_columns += 1
        self.dim = int(_projection_dim(tower, width))

    def forward(self) -> Tensor:
        """Return ``(C, dim)``."""
        tower: Any = self.tower
        ids = self._kept_ids()
        tokens = self._with_context(tower.token_embedding(ids))
        positions = tower.positional_embedding[: tokens.shape[1]]
        if self.reads_class:
            tokens = torch.cat([tokens, tower.cls_emb.expand(len(ids), 1, -1)], dim=1)
            positions = torch.cat([positions, tower.positional_embedding[-1:]])
        hidden = tower.transformer(tokens + positions, attn_mask=self._mask(ids, tokens))
        pooled = tower.ln_final(hidden[torch.arange(len(ids)), self._pooled_at(ids)])
        projection = tower.text_projection
        if projection is not None:
            linear = isinstance(projection, nn.Linear)
            pooled = projection(pooled) if linear else pooled @ projection
        vectors: Tensor = pooled
        return vectors

    def _reading(self, token_ids: Tensor) -> PromptedText:
        return PromptedText(self.tower, token_ids, 0, "cls", masks=True).to(token_ids.device)

    def _kept_ids(self) -> Tensor:
        ids: Tensor = self.token_ids
        return ids[:, : self.kept_columns]

    def _mask(self, ids: Tensor, tokens: Tensor) -> Tensor | None:
        if not self.masks:
            return None
        tower: Any = self.tower
        n = tokens.shape[1]
        causal = torch.full((n, n), float("-inf"), device=tokens.device).triu(1)
        if not self.reads_class:
            return causal
        # CONCH was trained with the class row's padding mask shifted by one (open_clip issue 549):
        # of n real tokens the class token sees positions 0…n and not itself.
        mask = causal.repeat(len(ids), 1, 1)
        seen = torch.arange(n, device=tokens.device)[None] <= self._lengths(ids)[:, None]
        mask[:, -1] = torch.where(seen, 0.0, float("-inf"))
        heads = int(tower.transformer.resblocks[0].attn.num_heads)
        return mask.repeat_interleave(heads, 0)

    def _pooled_at(self, ids: Tensor) -> Tensor:
        if self.pooling == "cls" and self.reads_class:
            return torch.full((len(ids),), ids.shape[1], device=ids.device)
        if self.pooling == "eos":
            return self._lengths(ids) - 1
        return ids.argmax(1)


def _projection_dim(tower: Any, width: int) -> int:
    projection = tower.text_projection
    if projection is None:
        return width
    return projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]
