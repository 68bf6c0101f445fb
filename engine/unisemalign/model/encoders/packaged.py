"""Weights that come with the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from safetensors.torch import load
from torch import Tensor


def packaged_weights(name: str) -> dict[str, Tensor]:
    """Return the weights of our own encoder ``name``, as float32."""
    room = files("unisemalign.model.encoders")
    state: dict[str, Any] = load(room.joinpath(f"{name}.safetensors").read_bytes())
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
