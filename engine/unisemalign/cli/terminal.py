"""A progress bar and sentences for a person at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from unisemalign import protocol
from unisemalign.cli.output import printable
from unisemalign.protocol import Event


class ProgressBarEvents:
    """A progress bar and sentences for a person at a terminal (on stderr)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def emit(self, event: Event) -> None:
        """Show the event."""
        match event:
            case protocol.Start():
                self._close()
                self._what = printable(event.what)
                self._open(event.total)
            case protocol.Progress() | protocol.Step():
                if self._progress is None or self._task is None:
                    self._open(event.total)
                self._update(event)
            case protocol.Message():
                self._print(event.text)
            case protocol.Cancelled() | protocol.Failed():
                self._print(event.text)
                self._close()
            case protocol.Validation() if event.mdice is not None:
                self._print(f"step {event.step}: validation Dice {100 * event.mdice:.2f}")
            case protocol.Done():
                self._close()

    def _print(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False)

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

    def _update(self, event: protocol.Progress | protocol.Step) -> None:
        if self._progress is None or self._task is None:
            return
        if isinstance(event, protocol.Step):
            done = float(event.step)
            note = f"loss {event.loss:.3f}, {100 * event.wait_share:.0f} % waiting for crops"
        else:
            done, note = event.done, ""
        self._progress.update(self._task, completed=done, total=event.total, note=note)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._task = None
