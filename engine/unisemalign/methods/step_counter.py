"""Counting steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StepCounter(nn.Module):
    """A module that counts its steps, and keeps the number in its state.

    The number lies on the CPU: a ramp that read it from a GPU would wait for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def get_extra_state(self) -> Tensor:
        """Return the number of steps, 0-d."""
        return torch.tensor(self.step)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what :meth:`get_extra_state` gave."""
        self.step = int(state)
