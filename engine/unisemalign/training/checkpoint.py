"""What a killed round needs to go on as if nothing had happened."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from unisemalign.errors import WeightsError
from unisemalign.methods import Method
from unisemalign.model.checkpoints import (
    check_published,
    load_trained_state,
    published_hashes,
    trained_state,
)
from unisemalign.runtime.files import write_atomically

_PARTS = {"step", "best", "student", "method", "optimiser"}
_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError)
"""What torch raises over a file that is not, or no longer, one of its own."""


def save_checkpoint(
    path: Path,
    method: Method,
    optimiser: torch.optim.Optimizer,
    step: int,
    best: dict[str, Any] | None,
) -> None:
    """Write student, method state, optimiser, finished steps and the best scores, atomically."""
    # Through memory: torch's own writer hides a full disk behind a RuntimeError.
    memory = io.BytesIO()
    torch.save(
        {
            "step": step,
            "best": best,
            "published": published_hashes(method.student),
            "student": trained_state(method.student),
            "method": method.state_dict(),
            "optimiser": optimiser.state_dict(),
        },
        memory,
    )
    with write_atomically(path) as part:
        part.write_bytes(memory.getbuffer())


def load_checkpoint(
    path: Path, method: Method, optimiser: torch.optim.Optimizer
) -> tuple[int, dict[str, Any] | None]:
    """Put a checkpoint back; return the finished steps and the best scores so far.

    Raises
    ------
    WeightsError
        If it cannot be read, holds anything but numbers and tensors, or was trained beside other
        published weights than lie here.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not state.keys() >= _PARTS:
            raise ValueError(f"it wants {', '.join(sorted(_PARTS))}")
    except _DAMAGED as error:
        raise WeightsError(
            f"Cannot read the checkpoint '{path.name}': {error}. Start the round anew, without "
            f"--resume."
        ) from error
    check_published(method.student, state.get("published", {}))
    load_trained_state(method.student, state["student"])
    method.load_state_dict(state["method"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), state["best"]
