"""XNet v2. Source: XNetv2's ``train_semi_XNetv2.py``, ``XNetv2.py``; facts in methods.md C."""

from __future__ import annotations

from torch import Tensor

from unisemalign.methods.consistency import unlabelled_of
from unisemalign.methods.labelled import LabelledMethod, decoder_losses, detached
from unisemalign.methods.losses import sample_dice, summed
from unisemalign.methods.method import Batch, Needs
from unisemalign.model import Network
from unisemalign.model.xnet import XNetwork
from unisemalign.settings import Settings
from unisemalign.settings.methods.xnet_v2 import XNetV2Settings

_PATHS = ("image", "low", "high")


class XNetV2(LabelledMethod):
    """Three paths over one encoder; image and low, image and high frequencies agree.

    Labelled and unlabelled crops go through apart, so each has batch statistics of its own.
    """

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings)
        self.own = settings.method_as(XNetV2Settings)
        self.needs = Needs(unlabelled=True, strong_views=1)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return Σ of the paths' labelled losses + w·Σ Dice between paths, and the parts."""
        u, _ = unlabelled_of(batch)
        weights = self.balance.label_weights(batch.labels, self.own.balance)
        parts: dict[str, Tensor] = {}
        for path, decoded in zip(_PATHS, self.net.decode_paths(batch.images), strict=True):
            losses = decoder_losses(decoded, self.own, batch.labels, weights)
            for name, value in losses.items():
                parts[f"{name}_{path}"] = value
        image, low, high = self.net.decode_paths(u.weak)
        weight = self.own.weight_agreement * self.share_done()
        for name, other in (("low", low), ("high", high)):
            agreement = [
                sample_dice(learner.softmax(1), guide.detach().argmax(1), u.valid)
                for learner, guide in ((image, other), (other, image))
            ]
            parts[f"agree_{name}"] = weight * (agreement[0] + agreement[1])
        return summed(parts), detached(parts)

    @property
    def net(self) -> XNetwork:
        """The student."""
        if not isinstance(self.student, XNetwork):
            raise TypeError("XNet v2 needs a network of its own kind")
        return self.student

    def share_done(self) -> float:
        """Return which share of the round is done once this step is."""
        return min(1.0, (self.step + 1) / self.settings.training.steps)
