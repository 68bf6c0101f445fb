"""Runs of a benchmark in processes of their own, several at once, with one progress for all."""

from __future__ import annotations

import os
import signal
import subprocess  # the command is our own, with arguments of the person's
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from unisemalign.errors import MessageError
from unisemalign.protocol import BenchmarkDone, Failed, Message, Progress, Start, Step, read_event
from unisemalign.runtime import STOP_AT_STDIN_END, CancelToken, Events

_PATIENCE_S = 60.0
"""How long a run that is asked to stop has for its checkpoint."""
_LAST_LINES = 20


@dataclass(frozen=True)
class Planned:
    """A run to make: its name, what runs take as long as it, its steps, and its command."""

    name: str
    group: str
    steps: int
    arguments: tuple[str, ...]


@dataclass
class Outcome:
    """How a run ended: the ``runs`` of its result, or why there is none."""

    runs: tuple[dict[str, Any], ...] = ()
    failure: str = ""


@dataclass
class _State:
    """Where a run stands: steps it has done, and when the first and the last of them came."""

    done: int = 0
    skipped: int = 0
    began: float | None = None
    ended: float | None = None
    process: subprocess.Popen[str] | None = field(default=None, repr=False)


class BenchmarkProcesses:
    """Makes every planned run; ``run`` returns when all have ended.

    Parameters
    ----------
    planned
        The runs, in their order.
    at_once
        How many go on side by side.
    threads
        Threads of each.
    events
        Where the common progress and sentences go.
    cancel
        Asks every run for a clean stop.
    """

    def __init__(
        self,
        planned: Sequence[Planned],
        at_once: int,
        threads: int,
        events: Events,
        cancel: CancelToken,
    ) -> None:
        self._planned = list(planned)
        self._at_once = at_once
        self._threads = threads
        self._events = events
        self._cancel = cancel
        self._lock = threading.Lock()
        self._states = {each.name: _State() for each in planned}

    def run(self) -> dict[str, Outcome]:
        """Return how each run ended, by name.

        Raises
        ------
        CancelledError
            If it was stopped; runs that were begun go on at their checkpoints another time.
        """
        total = sum(each.steps for each in self._planned)
        self._events.emit(Start(what=f"{len(self._planned)} runs", total=total))
        with ThreadPoolExecutor(self._at_once) as pool:
            futures = {each.name: pool.submit(self._one, each) for each in self._planned}
            try:
                while not all(future.done() for future in futures.values()):
                    self._cancel.check()
                    time.sleep(0.1)
            except BaseException:
                for future in futures.values():
                    future.cancel()
                self._stop()
                raise
        return {name: future.result() for name, future in futures.items()}

    def _one(self, run: Planned) -> Outcome:
        state = self._states[run.name]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self._threads),
            STOP_AT_STDIN_END: "1",  # also when this process is killed
        }
        outcome, last = Outcome(), deque[str](maxlen=_LAST_LINES)
        with self._lock:
            if self._cancel.requested:
                return Outcome(failure="Stopped.")
            state.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "unisemalign", *run.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=environment,
                # Ctrl+C in a terminal reaches this process alone: asked twice, a run ends at once.
                start_new_session=sys.platform != "win32",
            )
        with state.process as process:
            for line in process.stdout or ():
                try:
                    event = read_event(line)
                except MessageError:  # a warning of a library
                    last.append(line.strip())
                    continue
                self._take(run, state, outcome, event)
        state.ended = time.monotonic()
        if not outcome.runs and not outcome.failure:
            said = " ".join(last)[-500:]
            outcome.failure = f"Ended with status {process.returncode}. {said}".strip()
        if outcome.failure and not self._cancel.requested:
            self._tell(Message(text=f"{run.name}: {outcome.failure}"))
        state.skipped, state.done = run.steps - (state.done - state.skipped), run.steps
        self._tell(self._progress())
        return outcome

    def _take(self, run: Planned, state: _State, outcome: Outcome, event: object) -> None:
        match event:
            case Start() if event.step is not None:
                state.done = state.skipped = event.step
                state.began = time.monotonic()
            case Step():
                state.done = event.step
                self._tell(self._progress())
            case BenchmarkDone():
                outcome.runs = event.runs
                best = event.best["mean"] if event.best else None
                shown = "–" if best is None else f"{best:.2f}"
                self._tell(Message(text=f"{run.name}: val mDice {shown}"))
            case Failed():
                outcome.failure = event.text

    def _tell(self, event: Message | Progress) -> None:
        with self._lock:
            self._events.emit(event)

    def _progress(self) -> Progress:
        """Return the steps done of all, and the time left at the pace of like runs."""
        now, paces = time.monotonic(), dict[str, tuple[float, int]]()
        for run in self._planned:
            state = self._states[run.name]
            taken = state.done - state.skipped
            if state.began is not None and taken > 0:
                seconds, steps = paces.get(run.group, (0.0, 0))
                paces[run.group] = (seconds + (state.ended or now) - state.began, steps + taken)
        known = sum(s for s, _ in paces.values()) / max(1, sum(n for _, n in paces.values()))
        left = 0.0
        for run in self._planned:
            seconds, steps = paces.get(run.group, (known, 1))
            left += (run.steps - self._states[run.name].done) * seconds / steps
        return Progress(
            done=sum(state.done for state in self._states.values()),
            total=sum(run.steps for run in self._planned),
            eta_s=round(left / self._at_once, 1) if paces else None,
        )

    def _stop(self) -> None:
        """Ask every process to stop, and end those that do not."""
        with self._lock:
            self._cancel.request()
            alive = [
                s.process for s in self._states.values() if s.process and s.process.poll() is None
            ]
        for process in alive:
            if sys.platform == "win32":
                if process.stdin:
                    process.stdin.close()
            else:
                process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _PATIENCE_S
        for process in alive:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
