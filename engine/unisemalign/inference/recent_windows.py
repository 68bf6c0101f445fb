"""In-memory cache of encoder features for recent windows."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unisemalign.model import Network
from unisemalign.model.encoders import Encoder
from unisemalign.model.token_cache import encoder_digest

Maps = tuple[Tensor, Tensor]


class RecentWindows:
    """Both maps of recently encoded windows, in memory, named after all they depend on.

    That is the window's pixels, the encoder's weights, zoom, stride, precision and device: a window
    met again is known whatever else has changed, and an encoder that was trained meets nothing of
    its former self. The maps are kept as they were computed, so a hit answers as the miss did.

    Parameters
    ----------
    limit_bytes
        What is held at most; the windows unused for longest make room.

    Attributes
    ----------
    hits, misses
        Windows met again, and encoded.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.hits = self.misses = 0
        self.limit_bytes = limit_bytes
        self._held = 0
        self._maps: OrderedDict[bytes, Maps] = OrderedDict()
        self._digests: WeakKeyDictionary[Encoder, str] = WeakKeyDictionary()

    def encode(
        self, network: Network, images: Tensor, windows: NDArray[np.uint8], precision: torch.dtype
    ) -> Maps:
        """Return what ``network.encode`` says of ``images``.

        Parameters
        ----------
        network
            In evaluation mode.
        images
            ``(B, 3, H, W)`` in 0…1, on the device.
        windows
            The same pixels ``(B, H, W, 3)``.
        precision
            The encoder computes in it.
        """
        about = self._about(network, images, precision)
        names = [self._name(about, window) for window in windows]
        found = {name: self._maps[name] for name in names if name in self._maps}
        missing = [k for k, name in enumerate(names) if name not in found]
        self.hits += len(names) - len(missing)
        self.misses += len(missing)
        if missing:
            maps = network.encode(images if len(missing) == len(names) else images[missing])
            for place, k in enumerate(missing):
                low, high = (both[place : place + 1].cpu() for both in maps)
                found[names[k]] = low, high
                self._keep(names[k], (low, high))
        for name in names:
            if name in self._maps:
                self._maps.move_to_end(name)
        # Rows as they were cut: memory layout decides in which order convolutions sum.
        low, high = (
            torch.cat(maps).to(images.device)
            for maps in zip(*(found[name] for name in names), strict=True)
        )
        return low, high

    def _keep(self, name: bytes, maps: Maps) -> None:
        size = sum(each.nbytes for each in maps)
        if name in self._maps or size > self.limit_bytes:
            return
        # A copy: a row of a batch holds on to all of it.
        self._maps[name] = maps[0].clone(), maps[1].clone()
        self._held += size
        while self._held > self.limit_bytes:
            _, gone = self._maps.popitem(last=False)
            self._held -= sum(each.nbytes for each in gone)

    def _about(self, network: Network, images: Tensor, precision: torch.dtype) -> bytes:
        encoder = network.encoder
        if encoder not in self._digests:
            self._digests[encoder] = encoder_digest(encoder)
        model, kind = network.settings, type(network).__name__
        about = self._digests[encoder], kind, model.zoom, model.low_stride, precision, images.device
        return repr(about).encode()

    @staticmethod
    def _name(about: bytes, window: NDArray[np.uint8]) -> bytes:
        digest = hashlib.blake2b(about, digest_size=20)
        digest.update(np.ascontiguousarray(window).data)
        return digest.digest()
