"""UniMatch V2. Source: UniMatch-V2's ``unimatch_v2.py``, ``dpt.py``; facts in methods.md B."""

from __future__ import annotations

import torch
from torch import Tensor

from unisemalign.methods.consistency import ConsistencyMethod, kept_share, labels_from
from unisemalign.methods.labelled import decoder_losses, detached, total_loss
from unisemalign.methods.losses import confident_ce
from unisemalign.methods.method import Batch, Unlabelled
from unisemalign.methods.teacher import Teacher
from unisemalign.methods.unisemalign import PseudoLabels
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.unimatch_v2 import UniMatchV2Settings


class UniMatchV2(ConsistencyMethod):
    """An averaged teacher labels; two strong views with complementary channels learn.

    Of the two networks, teacher and student, validation keeps the better one.
    """

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings, strong_views=2)
        self.own = settings.method_as(UniMatchV2Settings)
        self.teacher = self.teacher or Teacher(student, self.own.ema)

    def candidates(self) -> dict[str, Network]:
        """Return teacher and student."""
        return {"teacher": self.deployed, "student": self.student}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ½[labelled + ½ of each strong view where the teacher is sure], and the parts."""
        u, _, strong = self.views(batch)
        drawn = None if batch.donor is None else self._taught(batch.donor)
        pseudo = self._taught(u)
        net, mixed = self.student, self.mixed(batch, pseudo, drawn)
        decoded = net.decode(net.features(batch.images))
        weights = self.balance.label_weights(batch.labels, self.own.balance)
        parts = decoder_losses(decoded, self.own, batch.labels, weights)
        with self.quiet():
            seen = net.decode(net.features(strong).with_complements())
        for k, (view, labels) in enumerate(zip(seen.chunk(2), mixed, strict=True), start=1):
            parts[f"strong_{k}"] = self.own.weight_strong * confident_ce(
                view, labels.label, self.sure(labels), labels.valid
            )
        kept = kept_share(self.sure(pseudo), pseudo.valid)
        return total_loss(parts), {**detached(parts), "kept": kept}

    @torch.no_grad()
    def _taught(self, crops: Unlabelled) -> PseudoLabels:
        teacher = self.deployed
        return labels_from(teacher.decode(teacher.features(crops.weak)), crops.valid)
