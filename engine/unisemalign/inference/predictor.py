"""One batch of windows through the network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unisemalign.model import Network
from unisemalign.runtime.device import choose_precision, computing_in
from unisemalign.settings import Settings


class Predictor:
    """A network ready to label windows.

    Parameters
    ----------
    network
        Put into evaluation mode while it predicts; its own mode comes back afterwards.
    settings
        Window, blend, answer, temperature, shares of the fused logits and precision.
    device
        Where ``network`` lives.
    identity
        Tells this model, used in this way, from any other.
    """

    def __init__(
        self, network: Network, settings: Settings, device: torch.device, identity: str = ""
    ) -> None:
        self.identity = identity
        self.network = network
        self.settings = settings
        self.device = device
        self.precision = choose_precision(settings.precision, device)
        self.n_classes = network.n_classes
        self.weights = _window_weights(settings.inference.window_px, settings.inference.blend)

    @torch.inference_mode()
    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return ``(B, C + 2, H, W)`` of pixels ``(B, H, W, 3)``.

        Channels: C class probabilities, then 1 where the prototypes name another class than the
        decoder, then 1 where the words do.
        """
        was_training = self.network.training
        self.network.eval()
        images = torch.from_numpy(windows).to(self.device).permute(0, 3, 1, 2).float() / 255
        images = images.contiguous(memory_format=torch.channels_last)
        out = self._forward(images)
        if self.settings.inference.flips:
            for axes in ((2,), (3,), (2, 3)):
                out = out + self._forward(images.flip(axes)).flip(axes)
            out = out / 4
        self.network.train(was_training)
        result: NDArray[np.float32] = out.float().cpu().numpy()
        return result

    def _forward(self, images: Tensor) -> Tensor:
        method = self.settings.method
        net = self.network
        with computing_in(self.precision, self.device):
            logits = net.logits(net.features(images), net.words(), method.temperature)
        answer = logits.decoder
        if self.settings.inference.answer == "fused":
            answer = logits.fused(method.eta_prototype, method.eta_text)
        decoder = logits.decoder.argmax(1, keepdim=True)
        dissent = [
            logits.prototype.argmax(1, keepdim=True) != decoder,
            logits.text.argmax(1, keepdim=True) != decoder,
        ]
        return torch.cat([answer.softmax(1), *(d.to(answer.dtype) for d in dissent)], dim=1)


def _window_weights(window_px: int, blend: str) -> NDArray[np.float32]:
    """Return ``(H, W)`` weights of a window: 1 everywhere, or falling to the edge."""
    if blend == "uniform":
        return np.ones((window_px, window_px), np.float32)
    position = (np.arange(window_px) + 0.5) / window_px - 0.5
    line = np.exp(-0.5 * (position / 0.25) ** 2).astype(np.float32)
    return np.outer(line, line)
