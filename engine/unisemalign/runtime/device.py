"""The device and the seed. Imports torch: only engine processes may import this module."""

from __future__ import annotations

import random

import numpy as np
import torch

from unisemalign.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes CUDA, then Apple's GPU, then the CPU.

    Raises
    ------
    SettingsError
        If the device asked for is not there.
    """
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
            f"The settings want the device '{name}', which this machine does not have. "
            f"Use --set device=auto to take what is there."
        )
    return wanted


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for repeatable kernels."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  third-party transforms draw from the legacy generator
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory finds reads of uninitialised values; it costs a fifth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
