"""torch.compile, where it saves more time than it takes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from unisemalign.model import Network
from unisemalign.protocol import Message
from unisemalign.runtime import Events

BACKEND = "inductor"
WORTH_STEPS = 4000
"""Steps from which on ``auto`` compiles: below, compiling costs more than it saves."""


def should_compile(choice: Literal["auto", "on", "off"], device: torch.device, steps: int) -> bool:
    """Tell whether to compile: ``auto`` does for long training on CUDA with triton at hand."""
    if choice == "auto":
        return device.type == "cuda" and steps >= WORTH_STEPS and find_spec("triton") is not None
    return choice == "on"


def compile_networks(networks: Iterable[Network], device: torch.device, events: Events) -> bool:
    """Compile the heavy parts of ``networks`` in place; return whether that was possible.

    Names of parameters stay as they are, and so do checkpoints.
    """
    try:
        torch.compile(_probe, backend=BACKEND)(torch.ones(8, device=device))
    except (RuntimeError, ImportError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        events.emit(
            Message(
                text=f"Compiling needs a working compiler, found none ({reason}). Training goes on "
                f"without it; --set training.compile=off does so from the start.",
            )
        )
        return False
    parts = {
        id(part): part
        for network in networks
        for part in (network.encoder, network.decoder, network.semantic.pixels)
    }
    for part in parts.values():
        part.compile(backend=BACKEND)
    return True


def _probe(values: Tensor) -> Tensor:
    return values * 2 + 1
