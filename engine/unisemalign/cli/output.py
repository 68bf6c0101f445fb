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
def errors_as_sentences(as_json: bool) -> Iterator[None]:
    """Turn errors into a sentence and an exit status; one that was told already stays quiet.

    An error nobody foresaw keeps its traceback, on stderr, for a report.
    """
    try:
        yield
    except CancelledError as error:
        if not error.told:
            _tell("cancelled", str(error), as_json)
        raise SystemExit(CANCELLED) from None
    except KeyboardInterrupt:
        _tell("cancelled", "Stopped.", as_json)
        raise SystemExit(CANCELLED) from None
    except UnisemalignError as error:
        if not error.told:
            _tell("failed", str(error), as_json, error.steps)
        raise SystemExit(FAILED) from None
    except OSError as error:
        place = f" '{error.filename}'" if error.filename else ""
        _tell("failed", f"The system refused{place}: {error.strerror or error}.", as_json)
        raise SystemExit(FAILED) from None
    except Exception as error:
        if as_json:
            text = f"The engine stumbled: {type(error).__name__}: {error}"
            JsonLinesEvents().emit("failed", text=text)
        raise


def _tell(event: str, text: str, as_json: bool, steps: tuple[str, ...] = ()) -> None:
    if as_json:
        more = {"steps": list(steps)} if steps else {}
        JsonLinesEvents().emit(event, text=text, **more)
    else:
        sys.stderr.write(text + "\n")
