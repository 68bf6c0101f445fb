"""Networks from settings."""

from __future__ import annotations

from collections.abc import Sequence

from unisemalign.model.encoders import build_encoder
from unisemalign.model.mpa import MPANetwork
from unisemalign.model.network import Network
from unisemalign.model.xnet import XNetwork
from unisemalign.settings import MethodSettings, ModelSettings

NETWORKS: dict[str, type[Network]] = {
    "plain": Network,
    "xnet": XNetwork,
    "mpa": MPANetwork,
}
"""Every kind of network by the name a method's settings call it (``MethodSettings.network``)."""


def build_network(
    class_words: Sequence[str],
    settings: ModelSettings,
    method: MethodSettings | None = None,
    *,
    encoder_weights: bool = True,
    text_weights: bool = True,
) -> Network:
    """Build the network ``settings`` describe, for these classes.

    Parameters
    ----------
    class_words
        Words of each class, in class order.
    settings
        Encoder, text tower, widths.
    method
        Says which kind of network; ``None``: the plain one.
    encoder_weights, text_weights
        Published weights are left out where these are false: a checkpoint brings its own.
    """
    encoder = build_encoder(settings.encoder, weights=encoder_weights)
    own = encoder.ours or not encoder.pretrained
    train = {"auto": own, "yes": True, "no": False}[settings.train_encoder]
    kind = NETWORKS["plain" if method is None else method.network]
    options = {} if method is None else method.network_options()
    return kind(
        encoder, class_words, settings, train_encoder=train, text_weights=text_weights, **options
    )
