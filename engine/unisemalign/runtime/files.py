"""Writes that are either whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unisemalign.errors import ProjectError


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well it replaces ``path``.

    If the block raises, ``path`` is as it was and nothing is left beside it.

    Raises
    ------
    ProjectError
        If the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{uuid.uuid4().hex}.part"
    try:
        with disk_full_told(path):
            part.touch()
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def disk_full_told(path: Path) -> Iterator[None]:
    """Turn "no space left" inside the block into a sentence naming ``path``'s folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise ProjectError(
            f"Cannot write '{path.name}': the disk that holds '{path.parent}' is full. "
            f"What was saved before is intact. Free some space there, then repeat the last step."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with write_atomically(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the JSON value in ``path``, or ``None`` when the file is absent or torn."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # neither JSON nor, perhaps, UTF-8
        return json.loads(path.read_text(encoding="utf-8"))
    return None
