"""What a method is given, and what it must give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unisemalign.model import Network


@dataclass(frozen=True)
class Unlabelled:
    """Unlabelled crops in 0…1.

    ``weak`` ``(B, 3, H, W)``, ``strong`` ``(V, B, 3, H, W)`` with V strong views of each, ``valid``
    ``(B, H, W)``.
    """

    weak: Tensor
    strong: Tensor
    valid: Tensor

    def to(self, device: torch.device) -> Unlabelled:
        """Move every tensor."""
        return Unlabelled(self.weak.to(device), self.strong.to(device), self.valid.to(device))

    def flipped(self) -> Unlabelled:
        """Return the batch in reverse: sample b's donor is sample B−1−b (METHODS A9)."""
        return Unlabelled(self.weak.flip(0), self.strong.flip(1), self.valid.flip(0))


@dataclass(frozen=True)
class Batch:
    """One step's crops.

    Attributes
    ----------
    images, labels
        Labelled crops ``(B, 3, H, W)`` in 0…1 and class indices ``(B, H, W)``, 255 = ignore.
    unlabelled
        Unlabelled crops, or ``None`` for a method that wants none.
    box
        ``(V, B, H, W)``, true where a donor is pasted into a strong view (CutMix).
    donor
        The donors when they were drawn on their own; ``None``: the batch reversed.
    """

    images: Tensor
    labels: Tensor
    unlabelled: Unlabelled | None = None
    box: Tensor | None = None
    donor: Unlabelled | None = None

    def to(self, device: torch.device) -> Batch:
        """Move every tensor."""
        return Batch(
            self.images.to(device),
            self.labels.to(device),
            self.unlabelled.to(device) if self.unlabelled else None,
            self.box.to(device) if self.box is not None else None,
            self.donor.to(device) if self.donor else None,
        )


class Method(Protocol):
    """Who labels, which views, which targets, which loss, over one network."""

    student: Network
    wants_unlabelled: bool
    wants_drawn_donor: bool
    strong_views: int

    @property
    def deployed(self) -> Network:
        """The network to evaluate and keep."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step's loss and its parts, for the log: 0-d, no gradient, on the device."""
        ...

    def statistics(self) -> list[Tensor]:
        """Return what a step gathers besides gradients, for several processes to average."""
        ...

    def after_step(self) -> None:
        """Follow the student after the optimiser has moved it."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold beside the student."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take what :meth:`state_dict` gave."""
        ...
