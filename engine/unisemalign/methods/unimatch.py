"""UniMatch. Source: UniMatch's ``unimatch.py``; facts in methods.md B."""

from __future__ import annotations

import torch
from torch import Tensor

from unisemalign.methods.consistency import ConsistencyMethod, kept_share, labels_from
from unisemalign.methods.labelled import decoder_losses, detached, total_loss
from unisemalign.methods.losses import confident_ce, squared_dice
from unisemalign.methods.method import Batch
from unisemalign.methods.unisemalign import PseudoLabels
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.unimatch import UniMatchSettings


class UniMatch(ConsistencyMethod):
    """Two strong views, each with its box, and the weak view with dropped features."""

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings, strong_views=2)
        self.own = settings.method_as(UniMatchSettings)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ½[labelled + ¼ of each strong view + ½ with dropped features], and the parts."""
        s, net, n = self.own, self.student, len(batch.images)
        u, _, strong = self.views(batch)
        drawn = self.drawn_labels(batch)
        features = net.features(torch.cat([batch.images, u.weak]))
        decoded = net.decode(features)
        weights = self.balance.label_weights(batch.labels, s.balance)
        parts = decoder_losses(decoded[:n], s, batch.labels, weights)
        pseudo = labels_from(decoded[n:], u.valid)
        mixed = self.mixed(batch, pseudo, drawn)
        with self.quiet():
            dropped = net.decode(features.rows(n, n + len(u.weak)).with_dropout(s.feature_dropout))
            seen = net.decode(net.features(strong))
        for k, (view, labels) in enumerate(zip(seen.chunk(2), mixed, strict=True), start=1):
            parts[f"strong_{k}"] = s.weight_strong * self._loss(view, labels)
        parts["features"] = s.weight_features * self._loss(dropped, pseudo)
        kept = kept_share(self.sure(pseudo), pseudo.valid)
        return total_loss(parts), {**detached(parts), "kept": kept}

    def _loss(self, decoded: Tensor, labels: PseudoLabels) -> Tensor:
        keep = self.sure(labels)
        if self.own.unlabelled_loss == "dice":
            return squared_dice(decoded.softmax(1), labels.label, keep * labels.valid)
        return confident_ce(decoded, labels.label, keep, labels.valid)
