"""From words to token ids, as each tower was taught to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from unisemalign.errors import SettingsError, WeightsError
from unisemalign.weights.places import find_tokenizer, tokenizer_sentence
from unisemalign.weights.registry import Published

CONTEXT_WORD = "x"
"""Stands for one context token in a prompt: a single token in every tokenizer here."""

_CONCH_TOKENS = {"<pad>": 0, "<start_of_text>": 1, "<end_of_text>": 2}
_CONCH_READS = {
    "x x x x background": [1, 1410, 1410, 1410, 1410, 1078, 2],
    "x x x x gland": [1, 1410, 1410, 1410, 1410, 1245, 2],
}
"""What the published tokenizer makes of two prompts; padding follows (methods.md G)."""


def write_prompts(class_words: Sequence[str], context_tokens: int) -> list[str]:
    """Return ``x … x NAME`` for each class (methods.md A4)."""
    return [" ".join([CONTEXT_WORD] * context_tokens + [words]) for words in class_words]


def read_prompts(entry: Published, prompts: Sequence[str], weights: Path | None) -> Tensor:
    """Return the token ids ``(C, L)`` of ``prompts``.

    Parameters
    ----------
    weights
        File of the tower's weights; its tokenizer is looked for beside it first.

    Raises
    ------
    WeightsError
        If the tokenizer is not on this machine or is another model's.
    """
    length = int(entry.arguments["context_length"])
    if entry.tokenizer == "clip":
        ids: Tensor = open_clip.SimpleTokenizer(context_length=length)(list(prompts))
        return ids
    place = find_tokenizer(entry, weights)
    if place is None:
        raise WeightsError(tokenizer_sentence(entry, weights))
    tokenizer = _open(place)
    pad, pad_id = _padding(tokenizer, entry, place)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=pad_id, pad_token=pad)
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(prompts))])


def check_contexts(ids: Tensor, context_tokens: int, name: str) -> None:
    """Check that each context word became one token, right after the start.

    Raises
    ------
    SettingsError
        If it did not: contexts would overwrite the class's own name.
    """
    contexts = ids[:, 1 : 1 + context_tokens]
    if context_tokens and (contexts != contexts[0, 0]).any():
        raise SettingsError(
            f"The tokenizer of '{name}' does not write '{CONTEXT_WORD}' as one token, so no room "
            f"for contexts can be made. Train with --set model.context_tokens=0."
        )


def check_reading(entry: Published, weights: Path | None) -> None:
    """Check that the tokenizer on this machine reads as its publisher's does, where that is known.

    Known are CONCH's ids: another tokenizer may have its special tokens and still take every word
    for another. The other towers' tokenizers are taken as they are.

    Raises
    ------
    WeightsError
        If it is absent, or gives other ids.
    """
    if entry.tokenizer != "conch":
        return
    for prompt, wanted in _CONCH_READS.items():
        row = read_prompts(entry, [prompt], weights)[0]
        found = row[: max(len(wanted), int((row != 0).sum()))].tolist()
        if found != wanted:
            raise WeightsError(
                f"'{find_tokenizer(entry, weights)}' needs to be CONCH's tokenizer and to read "
                f"'{prompt}' as {wanted}, found {found}: the tower would take words for others. "
                f"Take the file from the 'conch' package."
            )


def _open(place: Path) -> Any:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    try:
        if place.suffix == ".txt":
            return BertWordPieceTokenizer(str(place), lowercase=True)
        return Tokenizer.from_file(str(place))
    except Exception as error:  # the library raises nothing finer
        raise WeightsError(
            f"Cannot read the tokenizer '{place}': {error}. Fetch it again."
        ) from error


def _padding(tokenizer: Any, entry: Published, place: Path) -> tuple[str, int]:
    """Return the padding token and its id; CONCH's three special ids are checked."""
    if entry.tokenizer == "conch":
        found = {token: tokenizer.token_to_id(token) for token in _CONCH_TOKENS}
        if found != _CONCH_TOKENS:
            raise WeightsError(
                f"'{place}' needs to be CONCH's tokenizer, with {_CONCH_TOKENS}, found {found}. "
                f"Take the file from the 'conch' package."
            )
        return "<pad>", 0
    pad_id = tokenizer.token_to_id("[PAD]")
    if pad_id is None:
        raise WeightsError(
            f"'{place}' needs to be a BERT tokenizer, found no '[PAD]' in it. "
            f"Take the file from the page of {entry.title}."
        )
    return "[PAD]", int(pad_id)
