"""Several processes that train one round together, started by Hugging Face Accelerate.

Every process holds the whole network and draws its share of each step's crops; gradients, batch
norm statistics and the threshold are averaged, so that all stay the same. One process alone
is a group of one and needs no Accelerate.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from unisemalign.errors import SettingsError, TrainingError
from unisemalign.settings import TrainingSettings

T = TypeVar("T")


class ProcessGroup(Protocol):
    """Who trains.

    Attributes
    ----------
    rank, size
        This process's number, and how many there are. Number 0 leads: it alone validates, writes
        and tells.
    device
        Where this process computes; ``None``: as the settings say.
    """

    rank: int
    size: int
    device: torch.device | None

    def broadcast(self, value: T) -> T:
        """Return the leader's ``value`` in every process; it is pickled."""

    def average(self, tensors: list[Tensor]) -> None:
        """Replace floating-point tensors, in place, by their mean over the processes."""


class Alone:
    """A group of one."""

    rank, size = 0, 1
    device: torch.device | None = None

    def broadcast(self, value: T) -> T:
        """Return ``value``."""
        return value

    def average(self, tensors: list[Tensor]) -> None:
        """Leave the tensors as they are."""


ALONE = Alone()


@contextmanager
def _explaining_losses() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "Another process of this training went away. The last checkpoint is kept: start the "
            "same command again with --resume."
        ) from error


class Launched:
    """The processes that ``accelerate launch`` started."""

    def __init__(self) -> None:
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise SettingsError(
                "Training in several processes needs Hugging Face Accelerate, which is not "
                "installed. Run: pip install napari-unisemalign[cluster]"
            ) from error
        # Without a GPU the processes meet over gloo, which Accelerate needs to be asked for.
        self._state = PartialState(cpu=not torch.cuda.is_available())
        self.rank = int(self._state.process_index)
        self.size = int(self._state.num_processes)
        self.device: torch.device | None = self._state.device

    def broadcast(self, value: T) -> T:
        """Return the leader's ``value`` in every process."""
        from accelerate.utils import broadcast_object_list

        box = [value]
        with _explaining_losses():
            broadcast_object_list(box)
        return box[0]

    def average(self, tensors: list[Tensor]) -> None:
        """Replace floating-point tensors, in place, by their mean over the processes."""
        from accelerate.utils import reduce

        if not tensors:
            return
        # One message instead of hundreds.
        with _explaining_losses():
            flat = reduce(torch.cat([t.reshape(-1).float() for t in tensors]), "mean")
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def join_processes() -> ProcessGroup:
    """Return the processes this process was launched into, or a group of one.

    Raises
    ------
    SettingsError
        If there are other processes, and Accelerate is not installed.
    """
    return Launched() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ALONE


def check_shares(training: TrainingSettings, processes: ProcessGroup) -> None:
    """Raise :class:`SettingsError` unless a step's crops can be shared out evenly.

    Batch norm needs two crops of a kind in every process.
    """
    for name in ("batch_labelled", "batch_unlabelled"):
        count, size = getattr(training, name), processes.size
        if size > 1 and (count % size or count < 2 * size):
            raise SettingsError(
                f"{size} processes need training.{name} to be a multiple of {size}, at least two "
                f"crops each, found {count}. "
                f"Use --set training.{name}={max(2, round(count / size)) * size}."
            )
