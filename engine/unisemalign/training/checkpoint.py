"""What a killed round needs to go on as if nothing had happened."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unisemalign.errors import WeightsError
from unisemalign.methods import Method
from unisemalign.model import Network
from unisemalign.model.checkpoints import (
    check_published,
    load_trained_state,
    published_hashes,
    trained_state,
)
from unisemalign.runtime.files import write_atomically

_PARTS = {"step", "validation", "published", "method", "optimiser"}
_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError)
"""What torch raises over a file that is not, or no longer, one of its own."""


def save_checkpoint(
    path: Path,
    method: Method,
    optimiser: torch.optim.Optimizer,
    step: int,
    validation: dict[str, Any],
) -> None:
    """Write the method's state, optimiser, finished steps and what validation holds, atomically.

    ``validation`` is ``Validation.state()``: its ``best`` holds the best scores so far.
    """
    # Through memory: torch's own writer hides a full disk behind a RuntimeError.
    memory = io.BytesIO()
    torch.save(
        {
            "step": step,
            "validation": validation,
            "published": {name: published_hashes(n) for name, n in _networks(method).items()},
            "method": trained_state(method),
            "optimiser": optimiser.state_dict(),
        },
        memory,
    )
    with write_atomically(path) as part:
        part.write_bytes(memory.getbuffer())


def load_checkpoint(
    path: Path, method: Method, optimiser: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    """Put a checkpoint back; return the finished steps and what validation held.

    Raises
    ------
    WeightsError
        If it cannot be read, holds anything but numbers and tensors, is of another method or
        network, or was trained beside other published weights than lie here.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, dict) and "student" in state:
            state = _converted(state, method)
        if not isinstance(state, dict) or not state.keys() >= _PARTS:
            raise ValueError(f"it needs {', '.join(sorted(_PARTS))}")
    except _DAMAGED as error:
        raise WeightsError(
            f"Cannot read the checkpoint '{path.name}': {error}. Start the round anew, without "
            f"--resume."
        ) from error
    try:
        for name, network in _networks(method).items():
            check_published(network, state["published"].get(name, {}))
        load_trained_state(method, state["method"])
        optimiser.load_state_dict(state["optimiser"])
        step, validation = state["step"], state["validation"]
        if type(step) is not int or step < 0 or not isinstance(validation, dict):
            raise ValueError("its step or its validation is of another kind")
    except (*_DAMAGED, TypeError, AttributeError) as error:
        raise WeightsError(
            f"The checkpoint '{path.name}' does not fit this round: {error}. Start the round anew, "
            f"without --resume."
        ) from error
    return step, validation


def take_over(path: Path, method: Method) -> bool:
    """Give a method the buffers it carries on (``Method.carried``) from another round's checkpoint.

    Nothing is taken from a checkpoint of another method. Return whether it could be read.
    """
    if not method.carried:
        return True
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["method"]
    except _DAMAGED:
        return False
    for name in method.carried:
        buffer, value = method.get_buffer(name), state.get(name)
        if isinstance(value, Tensor) and value.shape == buffer.shape:
            buffer.copy_(value)
    return True


def _networks(method: Method) -> dict[str, Network]:
    return {name: each for name, each in method.named_modules() if isinstance(each, Network)}


def _converted(state: dict[str, Any], method: Method) -> dict[str, Any]:
    """Return a checkpoint of version 0.1, where student and the rest lay apart, as one state."""
    beside = dict(state["method"])
    names = {"step": "_extra_state", "teacher_step": "teacher._extra_state"}
    moved: dict[str, Tensor] = {"_extra_state": torch.tensor(int(state["step"]))}
    moved |= {f"student.{name}": value for name, value in state["student"].items()}
    for name, value in beside.items():
        where = name.replace("teacher.", "teacher.network.", 1)
        moved[names.get(name, where)] = value
    # A teacher's frozen encoder was written twice; it is the student's.
    ours = trained_state(method)
    shared = method.state_dict().keys() - ours.keys()
    networks = ("student.", "teacher.")
    fresh = {name: value for name, value in ours.items() if not name.startswith(networks)}
    return {
        "step": state["step"],
        "validation": {"best": state["best"]},
        "published": {"student": state.get("published", {})},
        "method": fresh | {name: value for name, value in moved.items() if name not in shared},
        "optimiser": state["optimiser"],
    }
