"""FixMatch for segmentation. Source: UniMatch's ``fixmatch.py``; facts in methods.md B."""

from __future__ import annotations

import torch
from torch import Tensor

from unisemalign.methods.consistency import ConsistencyMethod, kept_share, labels_from
from unisemalign.methods.labelled import decoder_losses, detached, total_loss
from unisemalign.methods.losses import confident_ce
from unisemalign.methods.method import Batch
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.fixmatch import FixMatchSettings


class FixMatch(ConsistencyMethod):
    """One network: hard labels of the weak view, where sure, teach a strong view."""

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings, strong_views=1)
        self.own = settings.method_as(FixMatchSettings)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ½[labelled + w·CE of the strong view where the weak one is sure], and parts."""
        u, _, strong = self.views(batch)
        n = len(batch.images)
        drawn = self.drawn_labels(batch)
        decoded = self.student.decode(self.student.features(torch.cat([batch.images, u.weak])))
        weights = self.balance.label_weights(batch.labels, self.own.balance)
        parts = decoder_losses(decoded[:n], self.own, batch.labels, weights)
        (mixed,) = self.mixed(batch, labels_from(decoded[n:], u.valid), drawn)
        keep = self.sure(mixed)
        with self.quiet():
            seen = self.student.decode(self.student.features(strong))
        parts["hard"] = self.own.weight_hard * confident_ce(seen, mixed.label, keep, mixed.valid)
        return total_loss(parts), {**detached(parts), "kept": kept_share(keep, mixed.valid)}
