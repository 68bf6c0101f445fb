"""Class names read by a BERT, as BiomedCLIP, QuiltNet-PMB, KEEP and MiniLM have one."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from unisemalign.model.text.tower import Pooling, PromptedTower

_POSITIONS = 512
_KINDS = 2
_EPS = 1e-12


class Bert(nn.Module):
    """BERT's encoder (post-norm, GELU, two-way attention) and what makes a vector of its tokens.

    Written with torch's own layers: transformers is not needed. ``head`` is ``mlp`` (open_clip's
    two linear maps without bias), ``pooler`` (BERT's own: linear, tanh), both of the class token,
    or ``mean``: the mean over all tokens, as sentence-transformers take it.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        width: int,
        layers: int,
        heads: int,
        output_dim: int,
        head: Literal["mlp", "pooler", "mean"],
    ) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.averages = head == "mean"
        self.words = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(_POSITIONS, width)
        self.kinds = nn.Embedding(_KINDS, width)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                heads,
                4 * width,
                dropout=0.0,
                activation="gelu",
                layer_norm_eps=_EPS,
                batch_first=True,
            )
            for _ in range(layers)
        )
        if head == "mlp":
            between = (width + output_dim) // 2
            self.head = nn.Sequential(
                nn.Linear(width, between, bias=False),
                nn.GELU(),
                nn.Linear(between, output_dim, bias=False),
            )
        elif head == "pooler":
            self.head = nn.Sequential(nn.Linear(width, output_dim), nn.Tanh())
        else:
            self.head = nn.Sequential()

    def forward(self, embedded: Tensor, padding: Tensor | None) -> Tensor:
        """Return the last hidden states ``(C, L, width)`` of word embeddings ``(C, L, width)``.

        ``padding`` ``(C, L)`` is true where a token must not be seen.
        """
        places = torch.arange(embedded.shape[1], device=embedded.device)
        hidden = self.norm(embedded + self.positions(places) + self.kinds.weight[0])
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=padding)
        states: Tensor = hidden
        return states


class PromptedBert(PromptedTower):
    """A frozen BERT behind learnable contexts.

    Parameters
    ----------
    tower
        A :class:`Bert`.
    token_ids, context_tokens
        As in :class:`PromptedTower`.
    pooling
        ``cls``: the class token, which is the first, or the mean over all tokens where the tower
        was taught so; ``eos``: the separator; ``argmax``: the highest token id.
    masks
        Hide the padding. Off lets every pad be seen (methods.md A8 row 10).
    """

    def __init__(
        self,
        tower: Bert,
        token_ids: Tensor,
        context_tokens: int,
        pooling: Pooling = "cls",
        *,
        masks: bool = True,
        pad_id: int = 0,
    ) -> None:
        width = tower.words.embedding_dim
        super().__init__(tower, token_ids, context_tokens, width=width, pad_id=pad_id)
        self.pooling = pooling
        self.masks = masks
        self.dim = tower.output_dim

    def forward(self) -> Tensor:
        """Return ``(C, dim)``."""
        tower: Any = self.tower
        ids: Tensor = self.token_ids  # type: ignore[assignment]
        lengths = self._lengths(ids)
        padding = None
        if self.masks:
            ids = ids[:, : int(lengths.max())]
            padding = torch.arange(ids.shape[1], device=ids.device)[None] >= lengths[:, None]
        hidden = tower(self._with_context(tower.words(ids)), padding)
        if tower.averages and self.pooling == "cls":
            pooled = hidden.mean(1) if padding is None else _mean_of_seen(hidden, padding)
        else:
            pooled = hidden[torch.arange(len(ids)), self._pooled_at(ids, lengths)]
        vectors: Tensor = tower.head(pooled)
        return vectors

    def _reading(self, token_ids: Tensor) -> PromptedBert:
        tower: Any = self.tower
        text = PromptedBert(tower, token_ids, 0, "cls", masks=True, pad_id=self._pad_id)
        return text.to(token_ids.device)

    def _pooled_at(self, ids: Tensor, lengths: Tensor) -> Tensor:
        if self.pooling == "cls":
            return torch.zeros_like(lengths)
        return lengths - 1 if self.pooling == "eos" else ids.argmax(1)


def _mean_of_seen(hidden: Tensor, padding: Tensor) -> Tensor:
    """Return the mean ``(C, width)`` over the tokens that are no padding."""
    seen = (~padding)[..., None].to(hidden.dtype)
    return (hidden * seen).sum(1) / seen.sum(1)
