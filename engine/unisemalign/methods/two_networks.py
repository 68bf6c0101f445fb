"""What methods with two networks that teach each other share."""

from __future__ import annotations

from torch import Tensor

from unisemalign.methods.balance import ClassBalance
from unisemalign.methods.labelled import decoder_losses
from unisemalign.methods.losses import ramp
from unisemalign.methods.method import Method
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.two_networks import TwoNetworksSettings

_OTHER_SEED = 1


class TwoNetworksMethod(Method):
    """Two networks, both supervised; validation keeps the better one unless a method says more.

    Parameters
    ----------
    first, second
        The networks.
    settings
        The whole tree.
    """

    def __init__(self, first: Network, second: Network, settings: Settings) -> None:
        super().__init__(settings)
        self.pair = settings.method_as(TwoNetworksSettings)
        self.balance = ClassBalance(first.n_classes)
        self.first = first
        self.second = second

    def cross_weight(self) -> float:
        """Return how much each learns from the other at this step."""
        rising = round(self.pair.ramp_share * self.settings.training.steps)
        return self.pair.weight_cross * ramp(self.step, rising)

    def labelled_parts(
        self, one: Tensor, two: Tensor, labels: Tensor, labels_two: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return both networks' losses on labelled crops; ``labels_two`` where the second differs.

        ``one`` and ``two`` are logits ``(B, C, H, W)``, labels ``(B, H, W)``, 255 = ignore.
        """
        found = {}
        theirs = labels if labels_two is None else labels_two
        weights = self.balance.label_weights(labels, self.pair.balance)
        for number, decoded, mine in ((1, one, labels), (2, two, theirs)):
            for name, value in decoder_losses(decoded, self.pair, mine, weights).items():
                found[f"{name}_{number}"] = value
        return found


class TwinNetworksMethod(TwoNetworksMethod):
    """Two networks of one shape. Both start from the same encoder; the rest is drawn apart.

    Parameters
    ----------
    network
        The first network; the second is made of it.
    settings
        The whole tree.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        second = network.copied()
        second.redraw(settings.seed + _OTHER_SEED)
        super().__init__(network, second, settings)

    def inherit(self, parent: Network) -> None:
        """Let the first network go on from the parent; the second takes its encoder alone.

        So the two still differ.
        """
        super().inherit(parent)
        self.second.redraw(self.settings.seed + _OTHER_SEED)
