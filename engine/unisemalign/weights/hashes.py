"""What a file of weights hashed to, so that a later load knows it is the same file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from unisemalign.errors import ProjectError, WeightsError
from unisemalign.runtime.files import read_json, write_json

_CHUNK = 1 << 22
_SHA256_DIGITS = 64


def file_sha256(path: Path, *, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of ``path``; ``on_bytes`` is told how much each step read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if on_bytes:
                on_bytes(len(chunk))
    return digest.hexdigest()


def known_sha256(path: Path, *, again: bool = False) -> str:
    """Return the SHA-256 of ``path``, from the record while size and time are the recorded ones.

    The hub's cache names a file by its hash; a file there that no longer has it is refused.
    ``again`` reads the file whatever the record says.

    Raises
    ------
    WeightsError
        If the file is not what was fetched.
    """
    real = path.resolve()
    stat = real.stat()
    stamp = [stat.st_size, stat.st_mtime_ns]
    record: dict[str, Any] = read_json(_record()) or {}
    known = record.get(str(real))
    if known and known["stamp"] == stamp and not again:
        return str(known["sha256"])
    found = file_sha256(real)
    named = real.parent.name == "blobs" and len(real.name) == _SHA256_DIGITS
    if named and found != real.name:
        raise WeightsError(
            f"'{path.name}' is not the file that was fetched: its SHA-256 should be "
            f"{real.name[:12]}…, found {found[:12]}…. Delete '{real}' and fetch it again."
        )
    remember_sha256(real, found)
    return found


def remember_sha256(path: Path, sha256: str) -> None:
    """Record the SHA-256 of ``path`` as it is now."""
    real = path.resolve()
    stat = real.stat()
    record: dict[str, Any] = read_json(_record()) or {}
    record[str(real)] = {"stamp": [stat.st_size, stat.st_mtime_ns], "sha256": sha256}
    # A cache on a disk that takes no writing still serves; the file is then hashed each time.
    with suppress(OSError, ProjectError):
        write_json(_record(), record)


def _record() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "unisemalign" / "weights.json"
