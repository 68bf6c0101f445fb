"""Results for other programs: whole, each beside a note, and never over a file of somebody else's.

``RESULT.run.json`` names its result and carries the SHA-256 of what lies there. A result is
replaced only where such a note covers the very bytes that are found: a slide, a mask, a picture, or
a result that a person has changed since stays as it is. Every verb that writes where a person chose
writes through :func:`writing_results`.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unisemalign.errors import BusyError, DataError
from unisemalign.runtime.files import (
    PATIENCE_S,
    explaining_full_disk,
    flush_file,
    flush_folder,
    flush_handle,
    put_in_place,
)

NOTE_SUFFIX = ".run.json"
_WORK = ".unisemalign.part"
_LOCK = ".unisemalign.lock"
_OLD = ".old"
_MAX_NOTE_BYTES = 64_000_000
_Stamp = tuple[int, int, int, int] | None


def note_path(result: Path) -> Path:
    """Return where the note of ``result`` lies."""
    return result.with_name(result.name + NOTE_SUFFIX)


@dataclass(frozen=True)
class _Found:
    """What lies where a result goes: its note, and what tells whether it changes meanwhile."""

    note: dict[str, Any] | None
    stamps: tuple[_Stamp, _Stamp]


def check_results(
    folder: Path, names: Sequence[str], *, kept: Mapping[Path, str] = {}, folders: bool = False
) -> None:
    """Raise :class:`DataError` unless every one of ``names`` may be written into ``folder``.

    See :func:`writing_results`, which checks the same; this is for verbs that work for long before
    they write.
    """
    folder, untouchable = Path(folder).absolute(), _Kept(kept)
    _check_folder(folder, untouchable)
    for name in names:
        _check(folder / name, untouchable, folders)


@contextmanager
def writing_results(
    folder: Path, names: Sequence[str], *, kept: Mapping[Path, str] = {}, folders: bool = False
) -> Iterator[Results]:
    """Yield what writes ``names`` into ``folder``; all of them are checked before the first.

    A killed writer leaves each result as it was or as it is to be, with a note that fits it, and at
    most one hidden folder that the next writer removes. Repeating the call is enough.

    Parameters
    ----------
    folder
        Where the results go; made when it is missing, but not its parent.
    names
        Of the results, plain file names.
    kept
        Files and folders that are never written over, whatever a note says, and what each is,
        such as ``slide 'a'``.
    folders
        Whether the results are folders (Zarr).

    Raises
    ------
    DataError
        If the folder cannot be one of results, or a name is taken by something that is no earlier
        result of its own. Nothing is written then.
    BusyError
        If another process writes results there right now.
    """
    folder = Path(folder).absolute()
    untouchable = _Kept(kept)
    _check_folder(folder, untouchable)
    for name in names:
        _check_kinds(folder / name, untouchable, folders)
    made = not folder.exists()
    try:
        with explaining_full_disk(folder / _WORK):
            folder.mkdir(exist_ok=True)
        with _lone_writer(folder):
            work = folder / _WORK
            _clear_leftovers(folder, names)
            found = {name: _check(folder / name, untouchable, folders) for name in names}
            try:
                with explaining_full_disk(work):
                    work.mkdir()
                yield Results(folder, work, found, untouchable, folders)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except BaseException:
        if made:
            with suppress(OSError):  # something was written
                folder.rmdir()
        raise


class Results:
    """Writes results into one folder; made by :func:`writing_results`."""

    def __init__(
        self, folder: Path, work: Path, found: dict[str, _Found], kept: _Kept, folders: bool
    ) -> None:
        self.folder = folder
        self._work = work
        self._found = found
        self._kept = kept
        self._folders = folders

    @contextmanager
    def replaced(self, name: str, note: Mapping[str, Any]) -> Iterator[Path]:
        """Yield where to write the result ``name``; when the block ends well it takes its place.

        ``note`` (JSON values) is written beside it, with the name and the SHA-256 of the result. If
        the block raises, result and note are as they were.

        Raises
        ------
        ProjectError
            If the disk is full.
        DataError
            If somebody put another file there meanwhile.
        """
        part = self._work / name
        with explaining_full_disk(self.folder / name):
            try:
                if not self._folders:
                    part.touch()
                yield part
                self._finish(name, part, {"result": name, "sha256": _sealed(part), **note})
            finally:
                _remove(part)

    def _finish(self, name: str, part: Path, note: dict[str, Any]) -> None:
        result, found = self.folder / name, self._found[name]
        if found.stamps != _stamps(result):
            _check(result, self._kept, self._folders)
            raise DataError(
                f"Another program changed '{result}' while the result was written. Nothing was "
                f"replaced; write it again."
            )
        # The note first: a result without one would count as somebody else's. Until the result has
        # taken its place, the note also holds the one of the result that is there.
        before = {} if found.note is None else {"before": found.note}
        self._write_note(result, note | before)
        try:
            _take_place(part, result, self._work)
        except OSError:
            if found.note is not None:
                self._write_note(result, found.note)
            raise
        if before:
            self._write_note(result, note)
        flush_folder(self.folder)

    def _write_note(self, result: Path, note: Mapping[str, Any]) -> None:
        part = self._work / "note"
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps(note, indent=2) + "\n")
            file.flush()
            flush_handle(file.fileno())
        put_in_place(part, note_path(result))


# What may be written


class _Kept:
    """What is never written over, found by file, by place and by name in any spelling.

    ``paths`` tells what each is.
    """

    def __init__(self, paths: Mapping[Path, str]) -> None:
        self._words = {_folded(path): words for path, words in paths.items()}
        self._holders = {
            above: words for path, words in self._words.items() for above in path.parents
        }
        files = ((self._file(path), words) for path, words in paths.items())
        self._files = {file: words for file, words in files if file is not None}

    def at(self, path: Path) -> str | None:
        """Return what writing ``path`` would change, or ``None``."""
        file = self._file(path)
        same = None if file is None else self._files.get(file)
        return same or self.around(path) or self._holders.get(_folded(path))

    def around(self, path: Path) -> str | None:
        """Return what ``path`` is or lies in, or ``None``."""
        folded = _folded(path)
        around = (self._words.get(each) for each in (folded, *folded.parents))
        return next((each for each in around if each is not None), None)

    @staticmethod
    def _file(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
        except (OSError, ValueError):
            return None
        return (found.st_dev, found.st_ino) if found.st_ino else None


def _folded(path: Path) -> Path:
    # Some file systems take A and a for one name, and two spellings of ä for one.
    return Path(unicodedata.normalize("NFC", os.path.realpath(path)).casefold())


def _check_folder(folder: Path, kept: _Kept) -> None:
    if folder.is_dir():
        if slide := kept.around(folder):
            raise DataError(
                f"Results need a folder of their own, found '{folder}' inside {slide}. Choose "
                f"another folder."
            )
        return
    if os.path.lexists(folder):
        raise DataError(
            f"Results need a folder, found {_kind(folder)} at '{folder}'. Choose a folder."
        )
    if not folder.parent.is_dir() or folder.parent == folder:
        raise DataError(
            f"Results need a place that is there, found no folder '{folder.parent}' to make "
            f"'{folder.name}' in. Check the path and that its disk is connected, or make that "
            f"folder first."
        )


def _check(result: Path, kept: _Kept, folders: bool) -> _Found:
    """Return what lies at ``result``; :class:`DataError` unless it may be replaced."""
    stamps = _stamps(result)
    written = _check_kinds(result, kept, folders)
    if not os.path.lexists(result):
        return _Found(None, stamps)
    there = content_sha256(result)
    for each in (written, written.get("before")):
        if isinstance(each, dict) and each.get("sha256") == there:
            return _Found({k: v for k, v in each.items() if k != "before"}, stamps)
    raise _taken(result, "an earlier result that was changed since")


def _check_kinds(result: Path, kept: _Kept, folders: bool) -> dict[str, Any]:
    """Return the note that lies beside ``result``; :class:`DataError` for what is none of ours."""
    note = note_path(result)
    for path in (result, note):
        if slide := kept.at(path):
            raise DataError(
                f"The result '{result.name}' needs a name of its own, found that '{path}' is "
                f"{slide}. Nothing was written; choose another folder."
            )
    written: dict[str, Any] = {}
    if os.path.lexists(note):
        if not stat.S_ISREG(note.lstat().st_mode):
            raise _taken(note, _kind(note))
        written = _read_note(note)
        if written.get("result") != result.name:
            raise _taken(note, "a file that is no note of this result")
    if os.path.lexists(result):
        mode = result.lstat().st_mode
        if not (stat.S_ISDIR(mode) if folders else stat.S_ISREG(mode)):
            raise _taken(result, _kind(result))
        if not written:
            raise _taken(result, f"a {'folder' if folders else 'file'} this program did not make")
    return written


def _taken(path: Path, found: str) -> DataError:
    return DataError(
        f"A result needs a free name or an earlier result of its own at '{path}', found {found}. "
        f"Nothing was written; choose another folder, or move that one away."
    )


def _read_note(path: Path) -> dict[str, Any]:
    """Return a note, empty where the file is something else."""
    if path.stat().st_size > _MAX_NOTE_BYTES:
        return {}
    with suppress(ValueError, RecursionError):
        written = json.loads(path.read_text(encoding="utf-8"))
        return written if isinstance(written, dict) else {}
    return {}


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    kinds = [
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISREG, "a file"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ]
    return next((words for is_kind, words in kinds if is_kind(mode)), "a device")


def _stamps(result: Path) -> tuple[_Stamp, _Stamp]:
    return _stamp(result), _stamp(note_path(result))


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


# What a result is


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the names and SHA-256 of what it holds."""
    return _digest(path, flush=False)


def _sealed(path: Path) -> str:
    """Put what was written onto the disk and return its SHA-256."""
    return _digest(path, flush=True)


def _digest(path: Path, *, flush: bool) -> str:
    if not path.is_dir():
        if flush:
            flush_file(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
            inner = f"{_kind(Path(entry.path))}, none of ours"
        else:
            inner = _digest(Path(entry.path), flush=flush)
        whole.update(f"{entry.name}\0{entry.is_dir()}\0{inner}\n".encode(errors="surrogateescape"))
    if flush:
        flush_folder(path)
    return whole.hexdigest()


# Taking its place


def _take_place(part: Path, result: Path, work: Path) -> None:
    if not part.is_dir() or not result.exists():
        put_in_place(part, result)
        return
    with suppress(OSError):  # not on every file system
        _exchange(part, result)
        return
    old = work / f"{result.name}{_OLD}"
    result.rename(old)
    part.rename(result)


def _exchange(one: Path, other: Path) -> None:
    """Exchange two folders in one step; :class:`OSError` where the system cannot."""
    names = (os.fsencode(one), os.fsencode(other))
    if sys.platform == "linux":
        at_cwd, exchange = -100, 2
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        given: tuple[Any, ...] = (at_cwd, names[0], at_cwd, names[1], exchange)
    elif sys.platform == "darwin":
        swap = 2
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renamex_np", None)
        given = (*names, swap)
    else:
        rename, given = None, ()
    if rename is None or rename(*given) != 0:
        raise OSError(ctypes.get_errno(), "cannot exchange two folders", str(other))


# One writer a folder


@contextmanager
def _lone_writer(folder: Path) -> Iterator[None]:
    path = folder / _LOCK
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=PATIENCE_S, poll_interval=0.02)
    except Timeout as error:
        raise BusyError(
            f"Another process writes results into '{folder}'. Wait until it is done, or choose "
            f"another folder."
        ) from error
    try:
        yield
    finally:
        # While it is held: whoever waits for a lock that is gone makes a new one.
        with suppress(OSError):  # Windows removes no open file: it stays, which does no harm
            path.unlink(missing_ok=True)
        lock.release()


def _clear_leftovers(folder: Path, names: Sequence[str]) -> None:
    """Remove what killed writers left; nobody else writes here now."""
    work = folder / _WORK
    for old in work.glob(f"*{_OLD}") if work.is_dir() else ():
        there = folder / old.name.removesuffix(_OLD)
        if not os.path.lexists(there):
            old.rename(there)
    _remove(work)
    # As earlier releases named them.
    wanted = "|".join(re.escape(each) for name in names for each in (name, name + NOTE_SUFFIX))
    mark = re.compile(rf"\.({wanted})\.[0-9a-f]{{32}}\.part")
    for path in folder.iterdir():
        if mark.fullmatch(path.name):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
