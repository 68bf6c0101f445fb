"""One engine command in a child process: start, send, stop."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from napari_unisemalign.engine.lines import JsonLines
from unisemalign.protocol import Request
from unisemalign.runtime import STOP_AT_STDIN_END, usable_cores

ENGINE = (sys.executable, "-u", "-m", "unisemalign")
QUIT_PATIENCE_MS = 4_000
_FEW_CORES = 4


class EngineProcess(QObject):
    """One engine command in a child process."""

    event_received = Signal(object)
    """An event of the command."""
    ended = Signal(int)
    """The process is gone; its exit status, negative when it crashed."""

    def __init__(self, arguments: Sequence[str], *, engine: Sequence[str] = ENGINE) -> None:
        super().__init__()
        self._command = [*engine, *arguments]
        self._lines = JsonLines()
        self._stderr_lines: deque[str] = deque(maxlen=6)
        self._process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUTF8", "1")
        environment.insert(STOP_AT_STDIN_END, "1")
        cores = usable_cores()
        if 1 < cores <= _FEW_CORES and not environment.contains("OMP_NUM_THREADS"):
            environment.insert("OMP_NUM_THREADS", str(cores - 1))  # one is the viewer's
        self._process.setProcessEnvironment(environment)
        self._process.readyReadStandardOutput.connect(self._on_output)
        self._process.readyReadStandardError.connect(self._on_error_output)
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_error)

    def start(self) -> None:
        """Start the process; it may fail, which :attr:`ended` tells."""
        self._process.start(self._command[0], self._command[1:])

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        # When Python ends without a goodbye, Qt's half of the process may be gone before this one.
        alive = isalive(self._process)
        return alive and bool(self._process.state() != QProcess.ProcessState.NotRunning)

    @property
    def stderr_tail(self) -> str:
        """The last lines of stderr: why a crash happened."""
        return "\n".join(self._stderr_lines)

    def send(self, message: Request) -> None:
        """Write one line to the process's stdin."""
        self._process.write(message.model_dump_json().encode() + b"\n")

    def ask_to_stop(self) -> None:
        """Ask for a clean stop: by the end of its stdin, and by a signal where there are signals.

        On Windows ``terminate`` reaches windows alone, and a console process has none.
        """
        self._process.closeWriteChannel()
        self._process.terminate()

    def kill(self) -> None:
        """End the process at once; what it saved is kept."""
        self._process.kill()

    def stop(self, patience_ms: int = QUIT_PATIENCE_MS) -> None:
        """End the process now: cleanly if it can within ``patience_ms``, by force if not."""
        if not self.running:
            return
        self.ask_to_stop()
        if not self._process.waitForFinished(patience_ms):
            self._process.kill()
            self._process.waitForFinished(2_000)

    def _on_output(self) -> None:
        for event in self._lines.feed(bytes(self._process.readAllStandardOutput().data())):
            self.event_received.emit(event)

    def _on_error_output(self) -> None:
        text = bytes(self._process.readAllStandardError().data()).decode(errors="replace")
        self._stderr_lines.extend(line.rstrip() for line in text.splitlines() if line.strip())

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._on_output()
        self._on_error_output()
        self.ended.emit(code if status == QProcess.ExitStatus.NormalExit else -1)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._stderr_lines.append(self._process.errorString())
            self.ended.emit(-1)


def ended_sentence(who: str, code: int, stderr_tail: str) -> str:
    """Say that a process ended before it was done, with the last lines of its stderr."""
    how = "crashed" if code < 0 else f"ended with status {code}"
    tail = f" Its last lines: {stderr_tail}" if stderr_tail else ""
    return f"{who} {how} before it was done; what was saved is kept. Repeat the step.{tail}"
