"""How tissue, labelled or not, becomes a loss. Imports torch."""

from __future__ import annotations

from unisemalign.methods.method import Batch, Method
from unisemalign.methods.supervised import Supervised
from unisemalign.methods.unisemalign import UniSemAlign
from unisemalign.model import Network
from unisemalign.settings import Settings, SupervisedSettings, UniSemAlignSettings

__all__ = ["Batch", "Method", "Supervised", "UniSemAlign", "build_method"]


def build_method(network: Network, settings: Settings) -> Method:
    """Return the method ``settings.method`` describes, around ``network``."""
    match settings.method:
        case UniSemAlignSettings():
            return UniSemAlign(network, settings.method)
        case SupervisedSettings():
            return Supervised(network, settings.method)
