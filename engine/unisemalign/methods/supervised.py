"""Labelled tissue only: what unlabelled tissue must be measured against."""

from __future__ import annotations

from torch import Tensor

from unisemalign.methods.labelled import LabelledMethod, detached, labelled_losses, total_loss
from unisemalign.methods.method import Batch


class Supervised(LabelledMethod):
    """The labelled losses alone, with the same network, views, teacher and steps."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ½·Σ of the labelled losses, and the parts."""
        features, words = self.student.features(batch.images), self.student.words()
        seen = self.student.logits(features, words, self.common.temperature)
        weights = self.balance.label_weights(batch.labels, self.common.balance)
        parts = labelled_losses(self.student, self.common, seen, words, batch.labels, weights)
        return total_loss(parts), detached(parts)
