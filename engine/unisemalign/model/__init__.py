"""The network: encoder, decoder, semantic head, words. Imports torch.

Nothing here reaches for the network: the hub's client reads the variable below when it is imported.
``unisemalign weights get`` sets it to 0 before that.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from unisemalign.model.build import NETWORKS, build_network
from unisemalign.model.checkpoints import grow_classes, load_network, save_network
from unisemalign.model.encoders import Encoder, build_encoder
from unisemalign.model.network import Features, Logits, Network
from unisemalign.model.text import TextTower, build_text_tower

__all__ = [
    "NETWORKS",
    "Encoder",
    "Features",
    "Logits",
    "Network",
    "TextTower",
    "build_encoder",
    "build_network",
    "build_text_tower",
    "grow_classes",
    "load_network",
    "save_network",
]
