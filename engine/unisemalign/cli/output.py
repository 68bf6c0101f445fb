"""What a verb prints: a bar and sentences for a person, JSON for a program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unisemalign.errors import CancelledError, UnisemalignError
from unisemalign.project import Project
from unisemalign.protocol import Cancelled, Done, Failed
from unisemalign.runtime import Events, JsonLinesEvents, ProgressBarEvents

FAILED, CANCELLED = 1, 130


def choose_events(as_json: bool) -> Events:
    """Return where a verb's events go: JSON lines on stdout, or a bar on stderr."""
    return JsonLinesEvents() if as_json else ProgressBarEvents()


def say(text: str) -> None:
    """Print a line for a person on stdout."""
    sys.stdout.write(text + "\n")


def say_done(done: Done) -> None:
    """Print a verb's result as JSON on stdout."""
    JsonLinesEvents().emit(done)


def open_project(root: Path) -> Project:
    """Open a project and say, on stderr, what the person should know of it."""
    project = Project.open(root)
    for remark in project.remarks:
        sys.stderr.write(remark + "\n")
    return project


@contextmanager
def errors_as_sentences(as_json: bool) -> Iterator[None]:
    """Turn errors into a sentence and an exit status; one that was told already stays quiet.

    An error nobody foresaw keeps its traceback, on stderr, for a report.
    """
    try:
        yield
    except CancelledError as error:
        if not error.told:
            _report(Cancelled(text=str(error)), as_json)
        raise SystemExit(CANCELLED) from None
    except KeyboardInterrupt:
        _report(Cancelled(text="Stopped."), as_json)
        raise SystemExit(CANCELLED) from None
    except UnisemalignError as error:
        if not error.told:
            _report(Failed(text=str(error), steps=error.steps), as_json)
        raise SystemExit(FAILED) from None
    except OSError as error:
        place = f" '{error.filename}'" if error.filename else ""
        text = f"The system refused{place}: {error.strerror or error}."
        _report(Failed(text=text), as_json)
        raise SystemExit(FAILED) from None
    except Exception as error:
        if as_json:
            text = f"The engine stumbled: {type(error).__name__}: {error}"
            JsonLinesEvents().emit(Failed(text=text))
        raise


def _report(event: Cancelled | Failed, as_json: bool) -> None:
    if as_json:
        JsonLinesEvents().emit(event)
    else:
        sys.stderr.write(event.text + "\n")
