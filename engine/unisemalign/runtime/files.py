"""Writes that are either whole or absent, and on the disk when they return; reads of bounded size.

A file that was renamed into place survives a power cut only when its folder has been flushed too;
flushing the file alone is not enough. This module is the one place that knows so, and that knows
what Windows does differently: it flushes only handles that may write, it cannot flush a folder, and
it refuses to replace or remove a file while somebody holds it open.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unisemalign.errors import ProjectError, UnwritableError

ON_WINDOWS = os.name == "nt"
PATIENCE_S = 5.0
"""How long a file that somebody holds open is waited for. Virus scanners let go within a second."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system answers when there is no room: the disk is full, or a person's share of it."""
_SMALL_CHANGE_BYTES = 256 * 1024
_NOTE_LIMIT_BYTES = 64 * 1024**2
ARCHIVE_LIMIT_BYTES = 512 * 1024**2
"""More than a draft or a correction of any slide: two planes of 16 000 × 16 000 pixels."""
BAD_ARCHIVE = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, OverflowError),
    *(MemoryError, zipfile.BadZipFile, zlib.error),
)
"""What reading arrays out of a damaged ``.npz`` file raises."""
_NO_FLUSH_OF_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}
"""What some network file systems answer, and folders that may be written but not read."""


@contextmanager
def write_atomically(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well it replaces ``path``.

    If the block raises, ``path`` is as it was and nothing is left beside it.

    Parameters
    ----------
    path
        The file. Its folder is made when it is missing.
    durable
        Return only when file and folder are on the disk: a power cut then takes nothing back.

    Raises
    ------
    ProjectError
        If the disk is full, or another program keeps ``path`` open.
    """
    part = part_beside(path)
    try:
        with explaining_full_disk(path):
            make_folder(path.parent)
            part.touch()
            yield part
            if durable:
                flush_file(part)
            put_in_place(part, path)
            if durable:
                flush_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def part_beside(path: Path) -> Path:
    """Return a name beside ``path`` that nobody else writes to."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex}.part"


def put_in_place(part: Path, path: Path) -> None:
    """Put ``part`` where ``path`` is or is to be, in one step.

    Raises
    ------
    ProjectError
        If another program keeps ``path`` open (Windows alone refuses then).
    """
    _patiently(path, "replace", lambda: part.replace(path))


def remove_file(path: Path) -> None:
    """Remove a file, if it is there, and wait until a power cut cannot bring it back.

    Raises
    ------
    ProjectError
        If another program keeps ``path`` open (Windows alone refuses then).
    """
    with contextlib.suppress(FileNotFoundError):
        take_away(path)
        flush_folder(path.parent)


def take_away(path: Path) -> None:
    """Remove a file without waiting for the disk; see :func:`remove_file`."""
    _patiently(path, "remove", path.unlink)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, if it is there, in one step for whoever looks.

    A kill leaves at most ``.NAME.….part`` beside it, which nobody reads.

    Raises
    ------
    ProjectError
        If another program keeps a file of it open (Windows alone refuses then).
    """
    aside = part_beside(path)
    with contextlib.suppress(FileNotFoundError):
        _patiently(path, "remove", lambda: path.rename(aside))
        flush_folder(path.parent)
        shutil.rmtree(aside, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing; wait until each is on the disk."""
    missing = []
    here = path
    while not here.exists():
        missing.append(here)
        here = here.parent
    path.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        flush_folder(each.parent)


def flush_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    # Windows flushes a handle only if it may write.
    with path.open("r+b") as file:
        flush_handle(file.fileno())


def flush_handle(handle: int) -> None:
    """Wait until the content of an open file, or the names in an open folder, are on the disk."""
    if sys.platform == "darwin":
        import fcntl

        # Elsewhere fsync empties the drive's own cache too; here this does. Not on every network.
        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk: files made, renamed, removed there."""
    if ON_WINDOWS:
        return
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            flush_handle(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSH_OF_FOLDERS:
            raise


@contextmanager
def explaining_full_disk(path: Path) -> Iterator[None]:
    """Turn "no space left" inside the block into a sentence naming ``path``'s folder.

    Likewise "read-only file system".

    Raises
    ------
    UnwritableError
        With the sentence.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UnwritableError(
                f"Cannot write '{path.name}': the disk that holds '{path.parent}' is full. What "
                f"was saved before is intact. Free some space there, then repeat the last step."
            ) from error
        if error.errno == errno.EROFS:
            raise UnwritableError(
                f"Cannot write '{path.name}': the disk that holds '{path.parent}' may only be "
                f"read. Copy the project to a disk that can be written, and open it there."
            ) from error
        raise


def write_refusal(folder: Path) -> OSError | None:
    """Return why the system lets nobody write to ``folder`` now; ``None``: it can be written.

    It is tried, with as much as a small change of a project takes: rights and free space tell
    little of quotas, network disks and other systems' rules.
    """
    part = part_beside(folder / "room")
    try:
        with part.open("wb") as file:
            file.write(bytes(_SMALL_CHANGE_BYTES))
            file.flush()
            flush_handle(file.fileno())
    except OSError as error:
        return error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return None


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write ``value`` as indented JSON; see :func:`write_atomically`."""
    with write_atomically(path, durable=durable) as part:
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the JSON value in ``path``, or ``None`` when the file is absent or torn."""
    # Neither JSON nor, perhaps, UTF-8; or nested more deeply than anything that was written here.
    with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
        return json.loads(read_note_text(path))
    return None


def check_archive(path: Path, limit_bytes: int = ARCHIVE_LIMIT_BYTES) -> None:
    """See that the arrays in an ``.npz`` file unpack to no more than they can be.

    Raises
    ------
    ValueError
        If they would, or one of :data:`BAD_ARCHIVE` when it is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(each.file_size for each in archive.infolist())
    if size > limit_bytes:
        raise ValueError(f"it unpacks to {size} bytes, more than {limit_bytes}")


def read_note_text(path: Path) -> str:
    """Return the text of a small file of a project.

    Raises
    ------
    ValueError
        If it is larger than any note that is written, or is not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(_NOTE_LIMIT_BYTES + 1)
    if len(content) > _NOTE_LIMIT_BYTES:
        raise ValueError(f"it is larger than {_NOTE_LIMIT_BYTES >> 20} MB")
    return content.decode("utf-8")


def _patiently(path: Path, what: str, act: Callable[[], object]) -> None:
    """Do ``act`` to ``path``; on Windows wait while somebody holds it open."""
    last = time.monotonic() + PATIENCE_S
    pause_s = 0.01
    while True:
        try:
            act()
            return
        except PermissionError as error:
            if not ON_WINDOWS:
                raise
            if time.monotonic() > last:
                raise ProjectError(
                    f"Cannot {what} '{path}': another program has kept it open for more than "
                    f"{PATIENCE_S:g} seconds, or it must not be written. Close what shows it "
                    f"(another viewer, a virus scanner, a backup), then repeat the last step."
                ) from error
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.25)
