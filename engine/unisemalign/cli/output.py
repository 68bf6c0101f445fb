"""What a verb prints: a bar and sentences for a person, JSON for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unisemalign.errors import CancelledError, UnisemalignError
from unisemalign.runtime import Events, JsonLinesEvents, ProgressBarEvents

FAILED, CANCELLED = 1, 130


def choose_events(as_json: bool) -> Events:
    """Return where a verb's events go: JSON lines on stdout, or a bar on stderr."""
    return JsonLinesEvents() if as_json else ProgressBarEvents()


def say(text: str) -> None:
    """Print a line for a person on stdout."""
    sys.stdout.write(text + "\n")


def say_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


@contextmanager
def errors_as_sentences(as_json: bool, *, told: bool = False) -> Iterator[None]:
    """Turn our errors into a sentence and an exit status.

    ``told``: the work has emitted its own ``failed`` or ``cancelled`` event already.
    """
    try:
        yield
    except CancelledError as error:
        if not told:
            _tell("cancelled", str(error), as_json)
        raise SystemExit(CANCELLED) from None
    except KeyboardInterrupt:
        _tell("cancelled", "Stopped.", as_json)
        raise SystemExit(CANCELLED) from None
    except UnisemalignError as error:
        if not told:
            _tell("failed", str(error), as_json)
        raise SystemExit(FAILED) from None


def _tell(event: str, text: str, as_json: bool) -> None:
    if as_json:
        JsonLinesEvents().emit(event, text=text)
    else:
        sys.stderr.write(text + "\n")
