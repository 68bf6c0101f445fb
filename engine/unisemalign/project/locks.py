"""Who may do what only one process at a time may do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from unisemalign.errors import BusyError, UnwritableError
from unisemalign.protocol import LockHolder, lock_holder
from unisemalign.runtime.files import explaining_full_disk, make_folder, read_json, write_json

PATIENCE_S = 30.0
"""So long a short act waits for another one: it takes well under a second."""


class ProcessLock:
    """A lock between processes that the system frees when its holder dies.

    Parameters
    ----------
    path
        The lock's file. Beside it lies a ``.json`` that tells who holds it.
    busy
        The sentence for somebody who comes second; ``{holder}`` in it becomes "process 123".
    """

    # A look at the lock takes it for an instant; whoever comes then must not be turned away.
    _PATIENCE_S = 0.5

    def __init__(self, path: Path, busy: str) -> None:
        self._path = path
        self._holder = lock_holder(path)
        self._busy = busy

    @contextmanager
    def held(self, timeout_s: float = _PATIENCE_S) -> Iterator[None]:
        """Hold the lock while the block runs.

        Raises
        ------
        BusyError
            If another holder does not let go within ``timeout_s``.
        UnwritableError
            If the disk is full, or nothing may be written there.
        """
        lock = self._lock()
        try:
            with explaining_full_disk(self._path):
                make_folder(self._path.parent)  # flushed: the project may begin with it
                lock.acquire(timeout=timeout_s, poll_interval=0.02)
        except Timeout as error:
            pid = self._pid_told()
            holder = "another process" if pid is None else f"process {pid}"
            raise BusyError(self._busy.format(holder=holder)) from error
        except PermissionError as error:
            raise UnwritableError(
                f"'{self._path.parent.parent}' can be read, not changed: you may not write to "
                f"'{self._path.parent}'. Give yourself the right, or copy the project."
            ) from error
        try:
            with suppress(UnwritableError):  # a lock that does not say whose it is locks as well
                write_json(self._holder, LockHolder(pid=os.getpid()).model_dump(), durable=False)
            yield
        finally:
            self._holder.unlink(missing_ok=True)
            lock.release()

    def pid(self) -> int | None:
        """Return the process that holds the lock, or ``None`` when nobody does."""
        if not self._path.exists():
            return None
        lock = self._lock()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return self._pid_told()
        except OSError:  # where nothing can be written nobody works
            return None
        lock.release()
        return None

    def _lock(self) -> FileLock:
        # Not per thread: a viewer may take the lock in one thread and let go in another.
        return FileLock(self._path, thread_local=False)

    def _pid_told(self) -> int | None:
        try:
            return LockHolder.model_validate(read_json(self._holder)).pid
        except ValidationError:
            return None  # the lock itself tells that it is held; the note only says by whom
