"""Cross teaching between a convolutional network and a transformer.

Source: SSL4MIS's ``train_cross_teaching_between_cnn_transformer_2D.py``; facts in methods.md B.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unisemalign.methods.consistency import labels_from, unlabelled_of
from unisemalign.methods.labelled import detached
from unisemalign.methods.losses import squared_dice, summed
from unisemalign.methods.method import Batch, Needs
from unisemalign.methods.two_networks import TwoNetworksMethod
from unisemalign.model import Network
from unisemalign.model.encoders import build_encoder
from unisemalign.settings import Settings
from unisemalign.settings.methods.cross_teaching import CrossTeachingSettings


class CrossTeaching(TwoNetworksMethod):
    """The project's network, and one with a transformer for an encoder; each teaches the other.

    The first one is deployed. Where the second starts from nothing (``small-transformer``), it
    knows little after a round of a few hundred steps, and so does what it teaches.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        own = settings.method_as(CrossTeachingSettings)
        super().__init__(network, network.with_encoder(build_encoder(own.second_encoder)), settings)
        self.own = own
        self.needs = Needs(unlabelled=True, strong_views=1)

    def candidates(self) -> dict[str, Network]:
        """Return the project's network: the transformer only teaches."""
        return {"student": self.first}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return both labelled losses + w·ramp·[Dice(1, labels of 2) + Dice(2, labels of 1)]."""
        u, _ = unlabelled_of(batch)
        n, images = len(batch.images), torch.cat([batch.images, u.weak])
        one, two = (net.decode(net.features(images)) for net in (self.first, self.second))
        parts = self.labelled_parts(one[:n], two[:n], batch.labels)
        weight = self.cross_weight()
        for k, (learner, guide) in enumerate(((one, two), (two, one)), start=1):
            labels = labels_from(guide[n:], u.valid)
            parts[f"cross_{k}"] = weight * squared_dice(
                learner[n:].softmax(1), labels.label, labels.valid
            )
        return summed(parts), detached(parts)
