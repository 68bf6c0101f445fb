"""A clean stop, asked for by a signal, a request, or a file beside the job."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from unisemalign.errors import CancelledError

STOP_AT_STDIN_END = "UNISEMALIGN_STOP_AT_STDIN_END"
"""Environment variable: where it is set, closing a command's stdin asks it to stop.

Windows has no signal that a console process could be asked by.
"""


class CancelToken:
    """Ask once, and the work stops at its next step.

    Parameters
    ----------
    watched
        A file whose appearing also asks for the stop. It lets a viewer that was reopened stop a
        job it did not start.
    """

    def __init__(self, watched: Path | None = None) -> None:
        self._flag = threading.Event()
        self._watched = watched

    def request(self) -> None:
        """Ask for a stop at the next step."""
        self._flag.set()

    @property
    def requested(self) -> bool:
        """Whether somebody asked for a stop."""
        if self._watched is not None and self._watched.exists():
            self._flag.set()
        return self._flag.is_set()

    def check(self) -> None:
        """Raise :class:`CancelledError` if a stop was asked for."""
        if self.requested:
            raise CancelledError("Stopped as asked. What was finished before is kept.")


@contextmanager
def cancel_on_signals(token: CancelToken) -> Iterator[CancelToken]:
    """Turn SIGINT and SIGTERM into a request on ``token`` while the block runs.

    So does the end of stdin where :data:`STOP_AT_STDIN_END` is set.

    A second SIGINT does what it always does, so an impatient person still gets out. Outside the
    main thread, where Python allows no handlers, the block runs without them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield token
        return
    if os.environ.get(STOP_AT_STDIN_END):
        threading.Thread(target=_request_at_stdin_end, args=(token,), daemon=True).start()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        token.request()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield token
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _request_at_stdin_end(token: CancelToken) -> None:
    # Not through sys.stdin: its lock would be held when the interpreter ends.
    try:
        while os.read(sys.__stdin__.fileno() if sys.__stdin__ else 0, 4096):
            pass
    except OSError:
        return
    token.request()
