"""Text towers for measuring, beside those that the product knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from open_clip.transformer import TextTransformer

from unisemalign.model import network
from unisemalign.model.text import PromptedText, TextTower
from unisemalign.model.text.tower import Pooling

RANDOM = "random"
CONTEXT_WORD, CLASS_WORDS, START, END = 1410, (1078, 1245), 1, 2
"""CONCH's tokens of "x", of "background" and "gland", and of the ends (methods.md G)."""


def random_tower(
    classes: int, *, context_tokens: int = 4, pooling: Pooling = "cls", masks: bool = True
) -> PromptedText:
    """Return a tower of CONCH's size with random weights, the same ones at every call.

    What it costs is what CONCH's costs; what it says of a class means nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = TextTransformer(127, 32007, 768, 12, 12, output_dim=512, embed_cls=True, pad_id=0)
    ids = torch.zeros(classes, 127, dtype=torch.long, device="cpu")
    ids[:, 0], ids[:, 1 : 1 + context_tokens] = START, CONTEXT_WORD
    ids[:, 1 + context_tokens] = torch.tensor(CLASS_WORDS[:classes], device="cpu")
    ids[:, 2 + context_tokens] = END
    return PromptedText(tower, ids, context_tokens, pooling, masks=masks)


def offer_tower(name: str, make: Callable[..., TextTower]) -> None:
    """Let a project of this process have the text tower ``name``.

    ``make`` gets the classes' words, and as keywords ``context_tokens``, ``pooling``, ``masks``.
    """
    known = network.build_text_tower

    def build(
        wanted: str, class_words: Sequence[str], *, weights: bool, **how: object
    ) -> TextTower:
        if wanted == name:
            return make(class_words, **how)
        tower: TextTower = known(wanted, class_words, weights=weights, **how)
        return tower

    network.build_text_tower = build
