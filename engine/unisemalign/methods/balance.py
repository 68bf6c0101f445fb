"""What a method knows of its classes, so that a rare one is not taught away.

One threshold for all classes is filled by the large ones; the doubt about a rare class never passes
it, and each step moves a few more of its pixels to a neighbour. Each tool here answers that in its
own way; which of them a method uses is its settings' choice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unisemalign.metrics import IGNORE

_LEAST = 1e-4
"""A class is never thought rarer than this: its weight stays finite."""
_FOLLOW = 0.98
"""How slowly the averages follow, once there are enough batches for it."""


class ClassBalance(nn.Module):
    """Averages over the batches seen, one number a class ``(C,)``.

    Attributes
    ----------
    labelled
        Share of labelled pixels, over all batches alike.
    predicted
        Mean probability on unlabelled pixels, before any alignment.
    confidence
        Mean confidence of the unlabelled pixels that are given this class.
    batches
        How many batches of each kind were seen: labelled, unlabelled.
    """

    labelled: Tensor
    predicted: Tensor
    confidence: Tensor
    batches: Tensor

    def __init__(self, n_classes: int, threshold: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("labelled", torch.full((n_classes,), 1 / n_classes))
        self.register_buffer("predicted", torch.full((n_classes,), 1 / n_classes))
        self.register_buffer("confidence", torch.full((n_classes,), threshold))
        self.register_buffer("batches", torch.zeros(2))

    @torch.no_grad()
    def see_labels(self, labels: Tensor) -> None:
        """Count the labels ``(B, H, W)`` of a batch; 255 is ignored."""
        n_classes = len(self.labelled)
        counts = torch.stack([(labels == c).sum() for c in range(n_classes)]).float()
        share = counts / (labels != IGNORE).sum().clamp(min=1)
        # A mean over every batch: how much of each class is labelled does not change.
        old = self.batches[0] / (self.batches[0] + 1)
        self.labelled.copy_(old * self.labelled + (1 - old) * share)
        self.batches[0] += 1

    def label_weights(self, labels: Tensor, power: float) -> Tensor | None:
        """Count the labels of a batch; return :meth:`weights`, or ``None`` where all weigh alike.

        Parameters
        ----------
        labels
            ``(B, H, W)``; 255 is ignored.
        power
            0: all weigh alike.
        """
        self.see_labels(labels)
        return self.weights(power) if power > 0 else None

    @torch.no_grad()
    def see_probabilities(self, probabilities: Tensor, valid: Tensor) -> None:
        """Follow the labeller's ``(B, C, H, W)`` on ``valid`` pixels ``(B, H, W)``."""
        old = (self.batches[1] / (self.batches[1] + 1)).clamp(max=_FOLLOW)
        pixels = valid.sum()
        share = (probabilities * valid.unsqueeze(1)).sum((0, 2, 3)) / pixels.clamp(min=1)
        moved = old * self.predicted + (1 - old) * share
        self.predicted.copy_(torch.where(pixels > 0, moved, self.predicted))
        self.batches[1] += (pixels > 0).float()

    @torch.no_grad()
    def see_labelling(self, label: Tensor, confidence: Tensor, valid: Tensor) -> None:
        """Follow how sure the labeller is of each class it names; all ``(B, H, W)``."""
        for index in range(len(self.confidence)):
            here = (label == index) & valid
            pixels = here.sum()
            mean = (confidence * here).sum() / pixels.clamp(min=1)
            moved = _FOLLOW * self.confidence[index] + (1 - _FOLLOW) * mean
            self.confidence[index] = torch.where(pixels > 0, moved, self.confidence[index])

    def aligned(self, probabilities: Tensor, strength: float) -> Tensor:
        """Return ``(B, C, H, W)`` probabilities drawn to the labelled share of each class.

        Each class is multiplied by (labelled share / predicted share)^strength: distribution
        alignment (Berthelot et al., ReMixMatch, ICLR 2020), here a part of the way.
        """
        if strength == 0:
            return probabilities
        ratio = (self.labelled.clamp(min=_LEAST) / self.predicted.clamp(min=_LEAST)) ** strength
        moved = probabilities * ratio.view(1, -1, 1, 1)
        return moved / moved.sum(1, keepdim=True)

    def weights(self, power: float) -> Tensor:
        """Return how much a pixel of each class counts ``(C,)``: share^−power, mean 1 over pixels.

        A class not labelled yet counts as one of the smallest known share.
        """
        share = self._known_share()
        weights = share**-power
        return weights / (share * weights).sum()

    def log_prior(self) -> Tensor:
        """Return the logarithm of each class's labelled share ``(C,)``."""
        return self._known_share().log()

    def guard(self, least: float) -> Tensor:
        """Return 0…1: how much unlabelled tissue may count while no class shrinks away.

        1 while every class is predicted on at least the share ``least`` of its labelled share,
        less in proportion to the class that has shrunk most.
        """
        if least == 0:
            return torch.ones_like(self.predicted[0])
        kept = self.predicted / (least * self.labelled.clamp(min=_LEAST))
        return kept.min().clamp(max=1.0)

    def _known_share(self) -> Tensor:
        known = self.labelled > _LEAST
        smallest = torch.where(known, self.labelled, torch.ones_like(self.labelled)).min()
        share = torch.where(known, self.labelled, smallest)
        return share / share.sum()
