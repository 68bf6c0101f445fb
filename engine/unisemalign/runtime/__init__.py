"""What every long piece of work shares: events, cancelling, the device, the seed."""

from unisemalign.runtime.cancel import STOP_AT_STDIN_END, CancelToken, cancel_on_signals
from unisemalign.runtime.cores import usable_cores
from unisemalign.runtime.events import (
    Events,
    JsonLinesEvents,
    LogFileEvents,
    ManyEvents,
    SilentEvents,
    read_log,
)
from unisemalign.runtime.files import remove_file, write_atomically, write_json
from unisemalign.runtime.hardware import find_hardware
from unisemalign.runtime.progress import Pace

__all__ = [
    "STOP_AT_STDIN_END",
    "CancelToken",
    "Events",
    "JsonLinesEvents",
    "LogFileEvents",
    "ManyEvents",
    "Pace",
    "SilentEvents",
    "cancel_on_signals",
    "find_hardware",
    "read_log",
    "remove_file",
    "usable_cores",
    "write_atomically",
    "write_json",
]
