"""Files of weights: read without running anything, and fitted by name and shape or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from unisemalign.errors import WeightsError

State = dict[str, Tensor]
_WRAPPERS = ("state_dict", "model", "teacher")


def read_checkpoint(path: Path) -> State:
    """Return the tensors in ``path`` (safetensors, or what ``torch.save`` wrote), by name.

    A wrapping ``state_dict`` and the ``module.`` of parallel training are taken off.

    Raises
    ------
    WeightsError
        If the file is damaged, or a pickle that needs to do more than hold numbers: nothing in it
        is run.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = _load(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"'{path}' was refused: a file of weights holds numbers, this one also asks to run "
            f"code when it is opened ({_short(error)}). Nothing of it was run. Fetch it again from "
            f"the model's own page, or take its safetensors file."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise WeightsError(_damaged(path, error)) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(
            f"'{path}' needs to hold tensors by name, found something else. Choose the model's "
            f"file of weights."
        )
    if content and all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): value for name, value in content.items()}
    return dict(content)


def wanted_parts(state: State, name: str, keys: str, left_out: Sequence[str]) -> State:
    """Return the parts under the prefix ``keys``, without it; those under ``left_out`` are known.

    Raises
    ------
    WeightsError
        If a part is under neither: the file is of another model than ``name``.
    """
    kept: State = {}
    for part, value in state.items():
        if part.startswith(tuple(left_out)):
            continue
        if not part.startswith(keys):
            raise WeightsError(
                f"The file of '{name}' holds a part that is not known: '{part}'. It is of another "
                f"model or another version. Fetch '{name}' again from its own page."
            )
        kept[part.removeprefix(keys)] = value
    return kept


def check_fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], name: str) -> None:
    """Check that ``state`` has the names and shapes of ``wanted``, no more and no fewer.

    Raises
    ------
    WeightsError
        If not; the sentence names the first part that is wrong.
    """
    missing = sorted(wanted.keys() - state.keys())
    extra = sorted(state.keys() - wanted.keys())
    other = sorted(k for k in wanted.keys() & state.keys() if wanted[k].shape != state[k].shape)
    if not (missing or extra or other):
        return
    if missing:
        first = f"'{missing[0]}' is missing"
    elif extra:
        first = f"'{extra[0]}' is not part of it"
    else:
        shapes = tuple(wanted[other[0]].shape), tuple(state[other[0]].shape)
        first = f"'{other[0]}' needs the shape {shapes[0]}, found {shapes[1]}"
    raise WeightsError(
        f"The file does not fit '{name}': {first} ({len(missing)} missing, {len(extra)} unknown, "
        f"{len(other)} of another shape, of {len(wanted)} parts). It is of another model or "
        f"another version. Fetch '{name}' again from its own page."
    )


def assign_parts(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give ``module``, built on the meta device, its parts of ``state``, which has been checked."""
    numbers = {part: _own(state[part]) for part in module.state_dict()}
    module.load_state_dict(numbers, strict=True, assign=True)


def _own(value: Tensor) -> Tensor:
    """Return float32 numbers in memory of their own: a mapped file may be replaced meanwhile."""
    return value.detach().clone().float() if value.is_floating_point() else value.detach().clone()


def _read_safetensors(path: Path) -> State:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(_damaged(path, error)) from error


def _load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        # Written before torch 1.6: such a file is one piece and cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True)


def _damaged(path: Path, error: Exception) -> str:
    return f"Cannot read the weights '{path}': {_short(error)}. Fetch them again."


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marks = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (marks or lines or [type(error).__name__])[0][:160]
