"""Optimiser and learning rate. Source: METHODS A6."""

from __future__ import annotations

import torch

from unisemalign.model import Network
from unisemalign.settings import TrainingSettings


def build_optimiser(network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimiser over what is trained: backbone (encoder and projections) and rest.

    Each group remembers its share of the base rate as ``share``.
    """
    backbone = [network.encoder, network.low, network.high]
    slow = [p for part in backbone for p in part.parameters() if p.requires_grad]
    known = {id(p) for p in slow}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    groups = [
        {"params": slow, "share": settings.backbone_rate},
        {"params": rest, "share": 1.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def set_rate(optimiser: torch.optim.Optimizer, settings: TrainingSettings, step: int) -> None:
    """Set the rates of ``step``: warm-up, then the polynomial fall over all steps."""
    rise = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    fall = (1 - step / settings.steps) ** settings.poly_power
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * group["share"] * rise * fall
