"""Published weights: list, fetch, prove."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from unisemalign.errors import SettingsError, UnisemalignError, WeightsError
from unisemalign.protocol import FetchedFile, Message, WeightsGetDone
from unisemalign.runtime import Events
from unisemalign.weights import (
    PUBLISHED,
    Published,
    find_published,
    find_weights,
    is_here,
    split_name,
)

_WORDS = ["background", "gland"]
_SIDE_PX = 224


def list_weights() -> list[dict[str, Any]]:
    """Return the registry's encoders and text towers; any timm or open_clip name works too."""
    return [describe(entry) for entry in PUBLISHED]


def describe(entry: Published) -> dict[str, Any]:
    """Return what a person needs to know of an entry before choosing it."""
    weights = find_weights(entry) if entry.repo else None
    return {
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind,
        "licence": entry.licence,
        "gated": entry.gated,
        "here": is_here(entry),
        "megabytes": entry.megabytes,
        "megabytes_here": round(weights.stat().st_size / 1e6, 1) if weights else 0,
        "memory_megabytes": entry.memory_megabytes,
        "parameters_m": entry.parameters_m,
        "page": entry.page,
        "patch": entry.patch,
        "width": entry.width,
        "spacing_um": entry.spacing_um,
        "speed": entry.speed,
    }


def state_of(row: dict[str, Any]) -> str:
    """Say in few words whether an entry can be used, and what it needs if not."""
    if row["here"]:
        return "here"
    if row["megabytes_here"]:
        return "weights here, tokenizer missing"
    return f"licence to accept at {row['page']}" if row["gated"] else "to fetch"


def get_weights(name: str, events: Events) -> WeightsGetDone:
    """Fetch the files ``name`` needs, and return what they are: the one verb that goes online.

    Raises
    ------
    SettingsError, WeightsError
        If nobody knows the name, or the hub does not give the files.
    """
    from unisemalign.weights.fetching import fetch_entry, fetch_files
    from unisemalign.weights.places import tokenizer_sentence

    plain, path = split_name(name)
    if path is not None:
        raise SettingsError(f"'{name}' is a file you have: there is nothing to fetch.")
    entry = find_published(plain)
    if entry is None:
        from unisemalign.model.hub_files import hub_files

        repo, wanted = hub_files(plain)
        files = fetch_files(repo, wanted, name=plain, events=events)
    elif entry.repo is None:
        events.emit(Message(text=f"'{name}' needs no download."))
        files = []
    else:
        events.emit(Message(text=f"{entry.title}: {entry.licence}, terms at {entry.page}"))
        files = fetch_entry(entry, events=events)
    here = entry is None or is_here(entry)
    if entry is not None and not here:
        events.emit(Message(text=tokenizer_sentence(entry, files[0])))
    return WeightsGetDone(name=name, here=here, files=tuple(_about(file) for file in files))


def check_weights(name: str) -> dict[str, Any]:
    """Read the file of ``name`` again, load it, run one forward pass, and return what came out.

    Raises
    ------
    SettingsError, WeightsError
        If nobody knows the name, its weights are absent, changed, or of another shape, or its
        tokenizer is known to read otherwise.
    """
    import torch

    from unisemalign.model import Encoder
    from unisemalign.weights.hashes import known_sha256

    plain, path = split_name(name)
    entry = find_published(plain)
    if entry is not None and entry.repo:
        file = find_weights(entry, path)
        if file is not None:
            known_sha256(file, again=True)
    started = time.monotonic()
    part = _build(name)
    loaded = time.monotonic()
    with torch.inference_mode():
        if isinstance(part, Encoder):
            side = _SIDE_PX // part.multiple * part.multiple
            maps = part.eval()(torch.zeros(1, 3, side, side))
            shapes = [list(each.shape) for each in maps]
        else:
            shapes = [list(part.eval()().shape)]
    done = time.monotonic()
    return {
        "name": name,
        "ok": True,
        "here": True,
        "kind": "encoder" if isinstance(part, Encoder) else "text",
        "output": shapes[-1],
        "outputs": shapes,
        "parameters": sum(p.numel() for p in part.parameters()),
        "seconds_to_load": round(loaded - started, 2),
        "seconds": round(done - loaded, 3),
        "sha256": getattr(part, "weights_sha256", None),
    }


def check_all(names: list[str]) -> list[dict[str, Any]]:
    """Return a row for each name; one that fails says why and does not stop the others."""
    rows = []
    for name in names:
        try:
            rows.append(check_weights(name))
        except UnisemalignError as error:
            rows.append({"name": name, "ok": False, "text": str(error)})
    return rows


def _about(file: Path) -> FetchedFile:
    from unisemalign.weights.hashes import known_sha256

    return FetchedFile(
        file=file.name,
        megabytes=round(file.stat().st_size / 1e6, 3),
        sha256=known_sha256(file),
    )


def _build(name: str) -> Any:
    from unisemalign.model import build_encoder, build_text_tower

    entry = find_published(name.partition("=")[0])
    if entry is not None and entry.kind == "text":
        return build_text_tower(name, _WORDS)
    if entry is not None:
        return build_encoder(name)
    try:
        return build_encoder(name)
    except (SettingsError, WeightsError) as error:
        try:
            return build_text_tower(name, _WORDS)
        except SettingsError:
            raise error from None
