"""What kind of computer this is, told without loading torch."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from unisemalign.runtime.cores import usable_cores
from unisemalign.terms import Hardware

_MANY_CORES = 8


def find_hardware() -> Hardware:
    """Return ``gpu`` where torch can use one, else by the cores ``workstation`` or ``laptop``."""
    if has_gpu():
        return "gpu"
    return "workstation" if usable_cores() >= _MANY_CORES else "laptop"


def has_gpu() -> bool:
    """Tell whether there are a GPU's driver and a torch that is built for it."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    driver = (
        Path(os.environ.get("SystemRoot", "C:/Windows"), "System32", "nvcuda.dll")  # noqa: SIM112
        if sys.platform == "win32"
        else Path("/proc/driver/nvidia/version")
    )
    torch = find_spec("torch")
    if not driver.exists() or torch is None or torch.origin is None:
        return False
    return any(Path(torch.origin).parent.glob("lib/*torch_cuda*"))
