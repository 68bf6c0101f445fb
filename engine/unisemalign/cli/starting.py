"""Starts the command line: it can be stopped at once, stays offline, and waits passively."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

STOPPED = 130


def main() -> None:
    """Run the command line. Offline unless the person asks for weights.

    Libraries read these variables when they are imported, so they are set before anything else.
    OpenMP's threads wait by spinning unless told otherwise: beside any other work each step would
    wait for a thread that waits for a core (`benchmarks/busy.py`).
    """
    signal.signal(signal.SIGINT, _stop_at_once)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["HF_HUB_OFFLINE"] = "0" if sys.argv[1:3] == ["weights", "get"] else "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from unisemalign.cli.app import app

    app()


def begin_work() -> None:
    """From here on SIGINT is a ``KeyboardInterrupt``: what is begun is ended in order."""
    if signal.getsignal(signal.SIGINT) is _stop_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop_at_once(_number: int, _frame: FrameType | None) -> None:
    """End the process while it only loads libraries: nothing is open yet.

    An exception would come out of the middle of some library's import, which may swallow it.
    """
    if "--json" in sys.argv:
        sys.stdout.write('{"event":"cancelled","text":"Stopped."}\n')
        sys.stdout.flush()
    else:
        sys.stderr.write("Stopped.\n")
        sys.stderr.flush()
    os._exit(STOPPED)
