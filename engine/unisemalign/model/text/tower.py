"""What the semantic head asks of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from unisemalign.errors import WeightsError

Pooling = Literal["cls", "eos", "argmax"]


class TextTower(nn.Module):
    """Base of what gives one vector a class. A subclass sets ``dim``.

    ``weights_sha256`` is the SHA-256 of the published file, ``None`` where there is none.
    """

    dim: int
    weights_sha256: str | None = None
    reads_sentences: bool = False
    """Whether :meth:`sentences` answers."""

    def sentences(self, texts: Sequence[str]) -> Tensor:
        """Return ``(N, dim)`` of any sentences, as the published tower reads them; no gradient."""
        raise NotImplementedError

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


class PromptedTower(TextTower):
    """Base of frozen towers read through learnable, class-specific contexts (CoOp, methods.md A4).

    The prompt of a class is ``x … x NAME`` with one ``x`` a context token; the embeddings at
    positions 1…M are replaced by the learnable context. Only tokens that can reach the pooled one
    are computed: the answer is that of the full length.

    Parameters
    ----------
    tower
        The frozen network.
    token_ids
        ``(C, L)`` prompts as the tower's tokenizer writes them, start token first.
    context_tokens
        M; 0 reads the bare class names.
    width
        Of a token's embedding.
    pad_id
        Token that fills a prompt up.
    """

    def __init__(
        self,
        tower: nn.Module,
        token_ids: Tensor,
        context_tokens: int,
        *,
        width: int,
        pad_id: int,
    ) -> None:
        super().__init__()
        self.tower = tower.requires_grad_(False)
        # Not kept in checkpoints: a person may change the words between two rounds.
        self.register_buffer("token_ids", token_ids, persistent=False)
        self.context = nn.Parameter(torch.randn(len(token_ids), context_tokens, width) / width**0.5)
        self._pad_id = pad_id
        self.read_ids: Callable[[Sequence[str]], Tensor] | None = None
        """Makes token ids of sentences: the tower's tokenizer."""

    @property
    def reads_sentences(self) -> bool:  # type: ignore[override]
        """Whether its tokenizer is at hand."""
        return self.read_ids is not None

    @torch.no_grad()
    def sentences(self, texts: Sequence[str]) -> Tensor:
        """Return ``(N, dim)`` of sentences, read without learned contexts."""
        if self.read_ids is None:
            raise WeightsError(
                "Reading sentences needs the tower's tokenizer, found none. Put it beside the "
                "weights, or choose a method that reads no sentences."
            )
        ids = self.read_ids(texts).to(self.context.device)
        vectors: Tensor = self._reading(ids)()
        return vectors

    def _reading(self, token_ids: Tensor) -> PromptedTower:
        """Return a tower of the same parts that reads other ids, without contexts."""
        raise NotImplementedError

    def _lengths(self, ids: Tensor) -> Tensor:
        """Return ``(C,)``: tokens up to the last that is no padding, which is the end token."""
        places = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        return ((ids != self._pad_id) * places).amax(1)

    def _with_context(self, embedded: Tensor) -> Tensor:
        """Return token embeddings ``(C, L, width)`` with the contexts at positions 1…M."""
        m = self.context.shape[1]
        return torch.cat([embedded[:, :1], self.context, embedded[:, 1 + m :]], dim=1)
