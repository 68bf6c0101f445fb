"""Events: how work tells the terminal, the log and the viewer what it is doing.

An event is one flat JSON object. ``event`` names its kind; the kinds and their fields are:

==============  ================================================================================
``start``       ``what`` (sentence), ``total`` (units, optional)
``progress``    ``done``, ``total``, ``eta_s`` (optional), ``what`` (optional)
``step``        one training step: ``step``, ``total``, ``loss``, ``eta_s``, each loss part, ``tau``
                and ``wait_share`` (of the steps so far, spent waiting for crops)
``validation``  ``step`` and every score: ``mdice``, ``dice_per_class``, ``object_f1``, …
``message``     ``text``: a sentence for the person
``done``        the result: its fields depend on the verb
``failed``      ``text``: the error's sentence
``cancelled``   ``text``
==============  ================================================================================
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from unisemalign.runtime.files import disk_full_told


class Events(Protocol):
    """Anything that takes events."""

    def emit(self, event: str, **fields: Any) -> None:
        """Take one event of kind ``event``; ``fields`` must be JSON values."""
        ...


class SilentEvents:
    """Takes events and does nothing: for library use and tests."""

    def emit(self, event: str, **fields: Any) -> None:
        """Ignore the event."""


class ManyEvents:
    """Hands each event to several takers in turn."""

    def __init__(self, takers: Sequence[Events]) -> None:
        self._takers = list(takers)

    def emit(self, event: str, **fields: Any) -> None:
        """Hand the event on."""
        for taker in self._takers:
            taker.emit(event, **fields)


class JsonLinesEvents:
    """One JSON object a line on a stream.

    A reader that went away (a viewer that crashed) does not stop the work: the stream is then
    left alone and the job's log keeps the events.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = stream or sys.stdout

    def emit(self, event: str, **fields: Any) -> None:
        """Write the event as one line and flush it."""
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps({"event": event, **fields}) + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._stream = None


class LogFileEvents:
    """Appends events, with the time, to a job's ``log.jsonl``. ``progress`` is left out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def emit(self, event: str, **fields: Any) -> None:
        """Append the event as one line."""
        if event == "progress":
            return
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields})
        with disk_full_told(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the events of a ``log.jsonl``. A last line torn by a kill is left out."""
    events: list[dict[str, Any]] = []
    if not path.exists():
        return events
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


class ProgressBarEvents:
    """A progress bar and sentences for a person at a terminal (on stderr)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def emit(self, event: str, **fields: Any) -> None:
        """Show the event."""
        if event == "start":
            self._close()
            self._what = str(fields.get("what", ""))
            self._open(fields.get("total"))
        elif event in {"progress", "step"}:
            if self._progress is None or self._task is None:
                self._open(fields.get("total"))
            self._update(fields)
        elif event in {"message", "cancelled", "failed"}:
            self._console.print(str(fields.get("text", "")), markup=False, highlight=False)
            if event != "message":
                self._close()
        elif event == "validation":
            score = fields.get("mdice")
            if score is not None:
                self._console.print(
                    f"step {fields['step']}: validation Dice {100 * score:.2f}", highlight=False
                )
        elif event == "done":
            self._close()

    def _open(self, total: float | None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f}" if total else "{task.completed:.0f}"
            ),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=False,
        )
        self._progress.start()
        self._task = self._progress.add_task(self._what, total=total, note="")

    def _update(self, fields: dict[str, Any]) -> None:
        if self._progress is None or self._task is None:
            return
        done = fields.get("done", fields.get("step", 0))
        note = f"loss {fields['loss']:.3f}" if "loss" in fields else ""
        if "wait_share" in fields:
            note += f", {100 * fields['wait_share']:.0f} % waiting for crops"
        self._progress.update(self._task, completed=done, total=fields.get("total"), note=note)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._task = None
