"""Optimiser and learning rate. Source: methods.md A6."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from unisemalign.methods import Group
from unisemalign.settings import TrainingSettings


def build_optimiser(groups: Iterable[Group], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the one optimiser over a method's groups.

    Each group remembers its share of the base rate as ``share``.
    """
    learning = [{"params": list(each.parameters), "share": each.share} for each in groups]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            learning,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.AdamW(
        learning, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )


def set_rate(optimiser: torch.optim.Optimizer, settings: TrainingSettings, step: int) -> None:
    """Set the rates of ``step``: warm-up, then the polynomial fall over all steps.

    With ``rate_lags`` the first two steps have the first rate, each later one that before it.
    """
    step = max(0, step - 1) if settings.rate_lags else step
    rise = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    fall = (1 - step / settings.steps) ** settings.poly_power
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * group["share"] * rise * fall
