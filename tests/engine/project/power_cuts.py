"""What a power cut would leave of a folder: what was flushed, and of the rest what luck leaves.

The rules are those POSIX gives: a file keeps the content it had when it was last flushed, a folder
the names it had when it was last flushed. Of everything since, each change by itself may be there
or not, in no order: a new name without the old one, an old name for a new file, a file without
content. SQLite flushes by itself, and its files are taken as they are: its promise is its own.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_OF_SQLITE = ".sqlite"
_CALLS = ("replace", "rename", "unlink", "mkdir", "rmdir")


class PowerCuts:
    """Watches one folder, and at chosen moments writes down what a cut would leave of it.

    Parameters
    ----------
    watched
        The folder. What is in it when watching begins counts as flushed.
    at
        Numbers of the moments at which the power fails. A moment is before any call that flushes,
        renames, removes or makes something.
    to
        Where the remains go: ``to/NUMBER``.
    seed
        Of the luck.

    Attributes
    ----------
    moments
        How many there were.
    """

    def __init__(self, watched: Path, at: set[int], to: Path, seed: int = 0) -> None:
        self.moments = 0
        self._watched, self._at, self._to = watched, at, to
        self._draw = random.Random(seed)
        self._content: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._held: list[int] = []  # open handles: no inode's number is given away again
        self._looking = False
        self._lock = threading.RLock()
        self._on_cut: Callable[[int], None] = lambda _: None
        for folder in (watched, *(path for path in watched.rglob("*") if path.is_dir())):
            self._flushed(folder)
        for path in watched.rglob("*"):
            if path.is_file():
                self._flushed(path)

    @contextmanager
    def watching(self, monkeypatch: Any, on_cut: Callable[[int], None]) -> Iterator[None]:
        """Watch while the block runs; ``on_cut`` gets the number of each cut as it happens."""
        self._on_cut = on_cut
        real = {name: getattr(os, name) for name in _CALLS}

        def fsync(handle: int) -> None:
            with self._lock:
                self._moment()
                self._flushed(Path(f"/proc/self/fd/{handle}").readlink(), handle)

        def watched(name: str) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                with self._lock:
                    self._moment()
                    return real[name](*given, **named)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            for name in _CALLS:
                patch.setattr(os, name, watched(name))
            try:
                yield
            finally:
                for handle in self._held:
                    os.close(handle)

    def _moment(self) -> None:
        if self._looking:  # what the look itself makes is none of the watched program's
            return
        number, self.moments = self.moments, self.moments + 1
        if number in self._at:
            self._looking = True
            self._on_cut(number)
            self._leave(self._watched, self._to / str(number))
            self._looking = False

    def _flushed(self, path: Path, handle: int | None = None) -> None:
        if not path.is_relative_to(self._watched):
            return
        about = path.stat() if handle is None else os.fstat(handle)
        if about.st_ino not in self._content and about.st_ino not in self._names:
            self._held.append(os.open(path, os.O_RDONLY) if handle is None else os.dup(handle))
        if stat.S_ISDIR(about.st_mode):
            self._names[about.st_ino] = {
                each.name: each.inode() for each in os.scandir(path) if not _is_sqlite(each.name)
            }
        else:
            place = path if handle is None else Path(f"/proc/self/fd/{handle}")
            self._content[about.st_ino] = place.read_bytes()

    def _leave(self, live: Path, left: Path) -> None:
        """Write what a cut leaves of the folder ``live`` to ``left``."""
        left.mkdir(parents=True)
        now = {each.name: each for each in os.scandir(live)}
        before = self._names.get(live.stat().st_ino, {})
        inodes = {name: each.inode() for name, each in now.items()}
        for name in sorted({*before, *now}):
            if _is_sqlite(name):
                shutil.copy(now[name], left / name)
                continue
            # A name that changed since the flush: the old one, or the new one, as luck has it.
            old, new = before.get(name), inodes.get(name)
            kept = old if old == new or self._draw.random() < 0.7 else new
            if kept is not None:
                self._leave_one(live / name, left / name, kept, is_there=kept == new)

    def _leave_one(self, live: Path, left: Path, inode: int, *, is_there: bool) -> None:
        if is_there and live.is_dir():
            self._leave(live, left)
        elif inode in self._names:
            left.mkdir()  # a folder that was removed since: what was in it went first
        elif inode in self._content:
            now = live.read_bytes() if is_there else self._content[inode]
            left.write_bytes(self._draw.choice([self._content[inode], now]))
        else:
            left.write_bytes(b"")  # never flushed: a name without content


def _is_sqlite(name: str) -> bool:
    return _OF_SQLITE in name
