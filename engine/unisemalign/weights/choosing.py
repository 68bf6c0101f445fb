"""What a person is told of an encoder or text tower while choosing it."""

from __future__ import annotations

from unisemalign.weights.places import is_here
from unisemalign.weights.registry import Kind, find_published

_LIBRARY = {"encoder": "timm", "text": "open_clip"}


def choice_sentence(name: str, kind: Kind) -> str:
    """Return the licence of ``name``, whether it is here, and what it needs if it is not.

    Nothing for our own, which need no file. Names outside the registry are timm's or open_clip's.
    """
    plain, own_file, _ = name.strip().partition("=")
    entry = find_published(plain, kind)
    if entry is None:
        return (
            f"'{plain}' is not in the list; it is looked up in {_LIBRARY[kind]} and may need "
            f"weights: unisemalign weights get {plain}"
        )
    if entry.repo is None:
        return ""
    licence = f"{entry.title} is under {entry.licence}; its terms: {entry.page}."
    if own_file or is_here(entry):
        return licence
    gate = "accept the terms on its page, then fetch it" if entry.gated else "fetch it"
    return (
        f"{licence} It is not on this machine ({entry.megabytes:.0f} MB): {gate} with Weights… in "
        f"the dock, or in a terminal: 'unisemalign weights get {entry.name}'."
    )
