"""Whether a training step fits into memory, told before the first one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

from unisemalign.errors import SettingsError
from unisemalign.methods import Batch, Method
from unisemalign.model import Network
from unisemalign.runtime.device import computing_in
from unisemalign.settings import Settings
from unisemalign.training.batches import Batches
from unisemalign.training.process_group import ALONE
from unisemalign.training.tissue import Tissue

_PROBE_PX = 128
_PROBE_CROPS = 2
_SMALL_PX = 8 * 128**2
"""Pixels of a step that any machine holds: eight crops of 128 px."""
_BESIDE = 1.25
"""What a step holds at its peak, over what it keeps for the way back: gradients on the way.

Measured: docs/experiments.md, "Memory of a step"."""
_COPIES = 3
"""Of each learned parameter: its gradient and the optimiser's two averages."""
_WORKSPACE = 100_000_000
"""Bytes of the libraries themselves, once they compute."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a step: what grows with the crops' pixels, and what does not."""

    of_crops: int
    fixed: int

    @property
    def total(self) -> int:
        """Both."""
        return self.of_crops + self.fixed


def check_memory(
    method: Method, tissue: Tissue, settings: Settings, device: torch.device, precision: torch.dtype
) -> None:
    """Refuse crops that this machine's memory cannot hold.

    Raises
    ------
    SettingsError
        If a step needs more than is free: how much, and what would fit.
    """
    if _pixels(settings, method) <= _SMALL_PX:
        return  # looking would take longer than the step
    needed = measure_step(method, tissue, settings, device, precision)
    free = free_bytes(device)
    if needed.total <= free:
        return
    views, crops = settings.views, _crops(settings, method)
    share = max(0, free - needed.fixed) / needed.of_crops
    side = int(views.crop_px * math.sqrt(share)) // 32 * 32
    fits = (
        f"Crops of {side} px fit: set Crop (px), views.crop_px, to {side}"
        if side >= 64
        else "Set Labelled and Unlabelled crops a step (training.batch_labelled, "
        "training.batch_unlabelled) to 2, and Crop (px), views.crop_px, to 64"
    )
    raise SettingsError(
        f"A step of {crops} crops of {views.crop_px} px needs about {needed.total / 1e9:.1f} GB of "
        f"memory, found {free / 1e9:.1f} GB free. {fits}, or close other programs."
    )


def measure_step(
    method: Method, tissue: Tissue, settings: Settings, device: torch.device, precision: torch.dtype
) -> StepMemory:
    """Return about what a training step needs beside what is in memory now.

    The loss of a few small crops is computed once, what it keeps for its gradient is counted, and
    scaled by the pixels of a whole step. The method is afterwards as it was.
    """
    probe = settings.model_copy(
        update={
            "views": settings.views.model_copy(
                update={"crop_px": min(_PROBE_PX, settings.views.crop_px)}
            ),
            "training": settings.training.model_copy(
                update={"batch_labelled": _PROBE_CROPS, "batch_unlabelled": _PROBE_CROPS}
            ),
        }
    )
    batch = Batches(tissue, probe, method.needs, ALONE).draw(0).to(device)
    with _unchanged(method), computing_in(precision, device):
        kept = _kept_bytes(method, batch)
    pixels = _pixels(settings, method) / _pixels(probe, method)
    learned = sum(each.nbytes for each in method.parameters() if each.requires_grad)
    return StepMemory(int(_BESIDE * pixels * kept), _COPIES * learned + _WORKSPACE)


def free_bytes(device: torch.device) -> int:
    """Return how many bytes of memory can still be taken: of the GPU, or of this machine.

    A limit that a container sets counts.
    """
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return int(free)
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        return min(free, int(limit) - int(used) + _file_cache())
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return free


def _file_cache() -> int:
    """Return the bytes of files that a container's system would let go of."""
    lines = (_CGROUP / "memory.stat").read_text().splitlines()
    found = dict(line.split() for line in lines)
    return int(found.get("inactive_file", 0)) + int(found.get("active_file", 0))


def _pixels(settings: Settings, method: Method) -> int:
    return int(_crops(settings, method) * settings.views.crop_px**2)


def _crops(settings: Settings, method: Method) -> int:
    training = settings.training
    return training.batch_labelled + training.batch_unlabelled * method.needs.unlabelled


def _kept_bytes(method: Method, batch: Batch) -> int:
    """Return what the loss of ``batch`` keeps for its gradient, parameters left out."""
    own = {each.untyped_storage().data_ptr() for each in method.parameters()}
    kept: dict[int, int] = {}
    held: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # else its place could be given to another tensor
        return tensor

    method.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        method.loss(batch)
    return sum(kept.values())


@contextmanager
def _unchanged(method: Method) -> Iterator[None]:
    """Give buffers (statistics, thresholds, prototypes) and torch's generator back afterwards."""
    before = [
        (module, name, buffer, buffer.clone())
        for module in method.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    networks = [each for each in method.modules() if isinstance(each, Network)]
    tokens = [each.tokens for each in networks]
    was_training = method.training
    for network in networks:
        network.tokens = None  # these crops never come back
    with torch.random.fork_rng():
        yield
    for network, kept in zip(networks, tokens, strict=True):
        network.tokens = kept
    with torch.no_grad():
        for module, name, buffer, value in before:
            setattr(module, name, buffer.copy_(value))
    method.train(was_training)
