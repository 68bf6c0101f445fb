"""Cross pseudo supervision. Source: TorchSemiSeg, SSL4MIS; facts in methods.md B."""

from __future__ import annotations

import torch
from torch import Tensor

from unisemalign.methods.consistency import labels_from, unlabelled_of
from unisemalign.methods.labelled import detached
from unisemalign.methods.losses import confident_ce, summed
from unisemalign.methods.method import Batch, Needs
from unisemalign.methods.two_networks import TwinNetworksMethod
from unisemalign.methods.unisemalign import gathering_no_statistics
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.cps import CPSSettings


class CPS(TwinNetworksMethod):
    """Two networks of one shape; each learns what the other says of unlabelled crops.

    Both start from the same encoder, but the second one's other parts are drawn anew, and each has
    a strong view of its own: two copies of one network would agree and learn nothing.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        super().__init__(network, settings)
        self.own = settings.method_as(CPSSettings)
        self.needs = Needs(unlabelled=True, strong_views=2 if self._mixes else 1)

    @property
    def _mixes(self) -> bool:
        return self.own.mixing == "cutmix"

    def candidates(self) -> dict[str, Network]:
        """Return both networks."""
        return {"student 1": self.first, "student 2": self.second}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return both labelled losses + w·ramp·[CE(1, labels of 2) + CE(2, labels of 1)]."""
        u, box = unlabelled_of(batch)
        n, nets = len(batch.images), (self.first, self.second)
        images = torch.cat([batch.images, u.weak])
        clean = [net.decode(net.features(images)) for net in nets]
        parts = self.labelled_parts(clean[0][:n], clean[1][:n], batch.labels)
        said = [labels_from(each[n:], u.valid) for each in clean]
        weight = self.cross_weight()
        for k, net in enumerate(nets):
            labels = said[1 - k]
            if self._mixes:
                labels = labels.with_donor(labels.flipped(), box[k])
                view = torch.where(box[k].unsqueeze(1), u.strong[k].flip(0), u.strong[k])
                with gathering_no_statistics(net):
                    seen = net.decode(net.features(view))
            else:
                seen = clean[k][n:]
            every = torch.ones_like(labels.confidence)
            parts[f"cross_{k + 1}"] = weight * confident_ce(seen, labels.label, every, labels.valid)
        agreed = (said[0].label == said[1].label)[u.valid].float()
        agreement = agreed.sum() / max(1, agreed.numel())
        return summed(parts), {**detached(parts), "agreement": agreement}
