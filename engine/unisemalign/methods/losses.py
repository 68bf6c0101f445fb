"""Losses of logits ``(B, C, H, W)`` and class indices ``(B, H, W)``. Source: methods.md A5."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unisemalign.metrics import IGNORE


def labelled_ce(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy over labelled pixels; 0 when there are none.

    ``weights`` ``(C,)`` say how much a pixel of each class counts.
    """
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def soft_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 − soft Dice, pooled over the batch, mean over the classes that occur."""
    known = (labels != IGNORE).unsqueeze(1)
    truth = F.one_hot(labels.masked_fill(labels == IGNORE, 0), logits.shape[1])
    truth = truth.permute(0, 3, 1, 2).to(logits.dtype) * known
    share = logits.softmax(1) * known
    inter = (share * truth).sum((0, 2, 3))
    size = (share + truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    dice = (2 * inter + 1) / (size + 1)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def confident_ce(
    logits: Tensor, target: Tensor, keep: Tensor, valid: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return Σ keep·CE / |valid| (L_h and L_c).

    ``keep`` are weights 0…1 of pixels, ``weights`` ``(C,)`` those of classes.
    """
    ce = F.cross_entropy(logits, target, weights, reduction="none")
    return (ce * keep * valid).sum() / valid.sum().clamp(min=1)


def confident_kl(logits: Tensor, target: Tensor, keep: Tensor, valid: Tensor) -> Tensor:
    """Return Σ keep·KL(target ‖ σ(logits)) / |valid| (L_s); ``target`` are probabilities."""
    kl = F.kl_div(logits.log_softmax(1), target, reduction="none").sum(1)
    return (kl * keep * valid).sum() / valid.sum().clamp(min=1)


def alignment(
    prototypes: Tensor, words: Tensor, kind: Literal["none", "mse", "cosine", "kl"]
) -> Tensor:
    """Return L_al between unit vectors ``(C, D)``: how far class texts stand from prototypes.

    ``mse`` is the mean over C·D of the squared difference, = 2(1 − cos)/D; ``cosine`` is
    1 − cos; ``kl`` compares the two as distributions over D.
    """
    match kind:
        case "none":
            return prototypes.new_zeros(())
        case "mse":
            return F.mse_loss(prototypes, words)
        case "cosine":
            return (1 - (prototypes * words).sum(1)).mean()
        case "kl":
            return F.kl_div(
                prototypes.log_softmax(1),
                words.log_softmax(1),
                reduction="batchmean",
                log_target=True,
            )


def ramp(step: int, steps: int) -> float:
    """Return exp(−5(1 − min(step/steps, 1))²): how much unlabelled tissue counts (methods.md B)."""
    if steps == 0:
        return 1.0
    return math.exp(-5 * (1 - min(step / steps, 1.0)) ** 2)


def next_threshold(
    threshold: Tensor, probabilities: Tensor, valid: Tensor, momentum: float
) -> Tensor:
    """Return τ after one step: its average with the mean, over predicted classes, of their peak.

    ``probabilities`` ``(B, C, H, W)``; only ``valid`` pixels count; a class nobody predicts is
    left out. Unchanged when nothing is valid.
    """
    confidence, winner = probabilities.max(1)
    confidence = confidence.masked_fill(~valid, 0.0)
    peaks = torch.stack(
        [confidence.masked_fill(winner != c, 0.0).max() for c in range(probabilities.shape[1])]
    )
    # No number leaves the device here: a GPU would have to wait for it.
    present = (peaks > 0).sum()
    mean = peaks.sum() / present.clamp(min=1)
    return torch.where(present > 0, momentum * threshold + (1 - momentum) * mean, threshold)


def squared_dice(shares: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Return 1 − Dice with squared sums, pooled over the batch, mean over **all** classes.

    1 − (2Σpq + ε)/(Σp² + Σq² + ε), ε = 1e-5: absent classes and background count too. Source:
    SSL4MIS's ``DiceLoss``.

    Parameters
    ----------
    shares
        Probabilities ``(B, C, H, W)``.
    target
        Class indices ``(B, H, W)``; anything where nothing is counted.
    counted
        ``(B, H, W)``, 0 where a pixel has no say.
    """
    weight = counted.unsqueeze(1).to(shares.dtype)
    known = target.masked_fill(counted == 0, 0)
    truth = F.one_hot(known, shares.shape[1]).permute(0, 3, 1, 2) * weight
    shares = shares * weight
    both = (shares * truth).sum((0, 2, 3))
    size = (shares**2 + truth**2).sum((0, 2, 3))
    return (1 - (2 * both + 1e-5) / (size + 1e-5)).mean()


def sample_dice(shares: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Return 1 − Dice with squared sums of each sample, mean over samples and all classes.

    1 − (2Σpq + 1)/(Σp² + Σq² + 1). Parameters as for :func:`squared_dice`. Source: XNet v2's
    ``loss_function.py``, whose one-hot without a class count is mended here.
    """
    weight = counted.unsqueeze(1).to(shares.dtype)
    known = target.masked_fill(counted == 0, 0)
    truth = F.one_hot(known, shares.shape[1]).permute(0, 3, 1, 2) * weight
    shares = shares * weight
    both = (shares * truth).sum((2, 3))
    size = (shares**2 + truth**2).sum((2, 3))
    return (1 - (2 * both + 1) / (size + 1)).mean()


def summed(parts: dict[str, Tensor]) -> Tensor:
    """Return Σ parts, 0-d."""
    return torch.stack(list(parts.values())).sum()


def entropy(shares: Tensor) -> Tensor:
    """Return −Σ p·ln(p + 1e-6) over the classes, in nats ``(B, H, W)``; ``shares`` sum to 1."""
    return -(shares * (shares + 1e-6).log()).sum(1)
