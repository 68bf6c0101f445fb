"""What a verb prints: a bar and sentences for a person, JSON for a program."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unisemalign.cli.starting import STOPPED, begin_work
from unisemalign.errors import CancelledError, UnisemalignError

if TYPE_CHECKING:
    from unisemalign.project import Project
    from unisemalign.protocol import Done
    from unisemalign.runtime import Events

FAILED, CANCELLED = 1, STOPPED
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def choose_events(as_json: bool) -> Events:
    """Return where a verb's events go: JSON lines on stdout, or a bar on stderr."""
    from unisemalign.runtime import JsonLinesEvents

    if as_json:
        return JsonLinesEvents()
    from unisemalign.cli.terminal import ProgressBarEvents

    return ProgressBarEvents()


def say(text: str) -> None:
    """Print a line for a person on stdout."""
    sys.stdout.write(printable(text) + "\n")


def say_done(done: Done) -> None:
    """Print a verb's result as JSON on stdout."""
    from unisemalign.runtime import JsonLinesEvents

    JsonLinesEvents().emit(done)


def printable(text: str) -> str:
    """Return ``text`` without control characters, but for line ends and tabs.

    Names of classes and slides come out of files: they must not command the terminal.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


@contextmanager
def open_project(path: Path) -> Iterator[Project]:
    """Open a verb's project and say, on stderr, what the person should know of it.

    What is begun from here on is ended in order when it is stopped.
    """
    from unisemalign.project import Project

    begin_work()
    with Project.open(path) as opened:
        for remark in opened.remarks:
            sys.stderr.write(printable(remark) + "\n")
        yield opened


@contextmanager
def errors_as_sentences(as_json: bool) -> Iterator[None]:
    """Turn errors into a sentence and an exit status; one that was told already stays quiet.

    An error nobody foresaw keeps its traceback, on stderr, for a report.
    """
    try:
        yield
    except CancelledError as error:
        if not error.reported:
            _report("cancelled", str(error), as_json)
        raise SystemExit(CANCELLED) from None
    except KeyboardInterrupt:
        _report("cancelled", "Stopped.", as_json)
        raise SystemExit(CANCELLED) from None
    except UnisemalignError as error:
        if not error.reported:
            _report("failed", str(error), as_json, error.steps)
        raise SystemExit(FAILED) from None
    except OSError as error:
        place = f" '{error.filename}'" if error.filename else ""
        _report("failed", f"The system refused{place}: {error.strerror or error}.", as_json)
        raise SystemExit(FAILED) from None
    except Exception as error:
        if as_json:
            _report("failed", f"The engine stumbled: {type(error).__name__}: {error}", as_json)
        raise


def _report(
    kind: Literal["cancelled", "failed"], text: str, as_json: bool, steps: tuple[str, ...] = ()
) -> None:
    if not as_json:
        sys.stderr.write(printable(text) + "\n")
        return
    from unisemalign.protocol import Cancelled, Failed
    from unisemalign.runtime import JsonLinesEvents

    event = Cancelled(text=text) if kind == "cancelled" else Failed(text=text, steps=steps)
    JsonLinesEvents().emit(event)
