"""The device and the seed. Imports torch: only engine processes may import this module."""

from __future__ import annotations

import random
import sys
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from unisemalign.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes CUDA, then Apple's GPU, then the CPU.

    Float32 is the reference on every device, so TF32, which keeps ten bits, is switched off:
    speed on a GPU comes from :func:`choose_precision`.

    Raises
    ------
    SettingsError
        If the device asked for is not there.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    wanted = torch.device(name)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(wanted.type, False):
        raise SettingsError(
            f"The settings need the device '{name}', which this machine does not have. "
            f"Use --set device=auto to take what is there."
        )
    return wanted


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of the network's matrix products and convolutions.

    ``auto`` takes bfloat16 on a CUDA device that computes in it, else float32.

    Raises
    ------
    SettingsError
        If bfloat16 is asked for and the GPU only pretends to have it.
    """
    able = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and able else torch.float32
    if name == "bfloat16" and not able:
        raise SettingsError(
            "The settings need precision 'bfloat16', which this GPU does not compute in. "
            "Use --set precision=float32."
        )
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def computing_in(precision: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Compute in ``precision`` inside the block, where torch's autocast deems it safe."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed Python, NumPy and torch; on the CPU ask torch for repeatable kernels.

    Bit-for-bit repetition is promised on the CPU alone: on a GPU several kernels have no
    repeatable form, and the others' are slow.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  third-party transforms draw from the legacy generator
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
    # Filling fresh memory finds reads of uninitialised values; it costs a fifth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def peak_memory_mb(device: torch.device) -> float | None:
    """Return the most memory in use at once so far, in 10⁶ bytes.

    Of ``device`` where it is a CUDA device, else of this process; ``None`` on Windows, which tells
    it another way.
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
