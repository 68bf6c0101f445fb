"""Class words compared with tissue by a vision–language pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from unisemalign.errors import SettingsError
from unisemalign.guess.network import GuessNetwork
from unisemalign.model.image_tower import load_image_tower
from unisemalign.model.text.published import load_text
from unisemalign.project import ClassInfo
from unisemalign.weights import PUBLISHED, Published, find_published, is_here, split_name

PROMPTS = ("{}.", "an H&E image of {}.", "a histopathology image showing {}.")
"""Sentences each of a class's words is said in; their vectors are averaged."""

_TEMPERATURE = 0.01
"""CLIP divides cosines by this once it is trained; the pairs here were taught alike."""


def find_pair(words: str | None, text: str) -> tuple[Published, Path | None] | None:
    """Return the vision–language pair to use and the person's own file of it, if any.

    Parameters
    ----------
    words
        ``NAME`` or ``NAME=PATH`` the person asks for; ``None``: whatever pair is here.
    text
        The project's text tower, which comes first where it has an image tower.

    Returns
    -------
    tuple or None
        ``None`` if nothing was asked for and no pair is on this machine.

    Raises
    ------
    SettingsError
        If what was asked for is no pair.
    """
    if words is not None:
        plain, path = split_name(words)
        entry = find_published(plain, "text")
        if entry is None or entry.image_tower is None:
            names = ", ".join(each.name for each in PUBLISHED if each.image_tower)
            raise SettingsError(
                f"A first guess from words needs a vision-language pair, found '{words}'. "
                f"Use one of {names}; or clusters, which need none: --clusters 4."
            )
        return entry, path
    own, _, _ = text.partition("=")
    pairs = sorted((e for e in PUBLISHED if e.image_tower), key=lambda e: e.name != own)
    for entry in pairs:
        if entry.name == own and "=" in text:
            return entry, split_name(text)[1]
        if is_here(entry):
            return entry, None
    return None


def words_network(
    pair: Published, path: Path | None, classes: Sequence[ClassInfo], spacing_um: float
) -> tuple[GuessNetwork, int]:
    """Return the network that compares tissue with the classes' words, and its window's side.

    The side is in pixels of the encoder's input.

    Raises
    ------
    WeightsError
        If the pair's weights or tokenizer are not here or do not fit.
    """
    encoder = load_image_tower(pair, path)
    network = GuessNetwork(
        encoder,
        class_vectors(pair, path, classes),
        range(len(classes)),
        zoom=spacing_um / (pair.image_tower.spacing_um if pair.image_tower else spacing_um),
        temperature=_TEMPERATURE,
    )
    return network, encoder.multiple


@torch.inference_mode()
def class_vectors(pair: Published, path: Path | None, classes: Sequence[ClassInfo]) -> Tensor:
    """Return one unit vector a class, ``(C, D)``: the mean over its words and :data:`PROMPTS`."""
    said = [
        [prompt.format(word) for word in (each.words or (each.name,)) for prompt in PROMPTS]
        for each in classes
    ]
    tower = load_text(
        pair,
        path,
        [sentence for group in said for sentence in group],
        context_tokens=0,
        pooling="cls",
        masks=True,
        weights=True,
    )
    vectors = F.normalize(tower.eval()(), dim=1)
    groups = torch.split(vectors, [len(group) for group in said])
    return F.normalize(torch.stack([group.mean(0) for group in groups]), dim=1).clone()
