"""One batch of windows through the network."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unisemalign.errors import SettingsError
from unisemalign.inference.blending import Band, highest, window_weights
from unisemalign.inference.recent_windows import RecentWindows
from unisemalign.inference.stains import StainChange, StainLook
from unisemalign.model import Network
from unisemalign.model.network import Features
from unisemalign.runtime.device import choose_precision, computing_in
from unisemalign.settings import Settings
from unisemalign.slides import SpacedSlide

_BATCH = {"cpu": 4, "mps": 8, "cuda": 32}


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
    values
        ``(C,)``: the label value each of the network's channels stands for; 0: no class. ``None``:
        channel c is class c + 1.

    Attributes
    ----------
    weights
        ``(H, W)`` of a window's pixels in the blend.
    batch_windows
        How many windows to give at once: as the settings say, or as suits the device; halved when
        its memory did not hold them.
    recent
        Remembers what the encoder said of windows; ``None``: nothing is remembered.
    reference
        The look of the training slides, where the settings want stains matched to it.
    change
        What is done to the colours of every window; ``None``: nothing.
    of_slides
        What :func:`~unisemalign.inference.adapting.adapted` made of this for slides still open.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        device: torch.device,
        identity: str = "",
        values: Sequence[int] | None = None,
    ) -> None:
        self.identity = identity
        self.network = network
        self.settings = settings
        self.device = device
        self.precision = choose_precision(settings.precision, device)
        self.n_classes = network.n_classes
        inference = settings.inference
        self.weights = window_weights(inference.window_px, inference.blend, device)
        self.recent: RecentWindows | None = None
        self.reference: StainLook | None = None
        self.change: StainChange | None = None
        self.of_slides: WeakKeyDictionary[SpacedSlide, Predictor] = WeakKeyDictionary()
        self._known_words: Tensor | None = None
        self.batch_windows = inference.batch_windows or _BATCH.get(device.type, 4)
        self._values = None if values is None else np.array([0, *values], np.uint8)

    def __call__(self, windows: NDArray[np.uint8]) -> Tensor:
        """Return ``(B, C + 2, H, W)`` of pixels ``(B, H, W, 3)``, on the device.

        Channels: C class probabilities, then 1 where the prototypes name another class than the
        decoder, then 1 where the words do.

        Raises
        ------
        SettingsError
            If the device's memory does not hold a single window.
        """
        if self.change is not None:
            windows = self.change(windows)
        was_training = self.network.training
        self.network.eval()
        try:
            return self._in_parts(windows)
        finally:
            self.network.train(was_training)

    def labelled(self, band: Band) -> Band:
        """Return ``band``, its classes being label values: no confidence where there is none."""
        if self._values is None:
            return band
        classes = self._values[band.classes]
        none = classes == 0
        planes = (np.where(none, 0, plane) for plane in (band.confidence, band.disagreement))
        return Band(band.rect, classes, *planes)

    def _in_parts(self, windows: NDArray[np.uint8]) -> Tensor:
        try:
            return self._answers(windows)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            too_many = len(windows)
        # Outside the handler: the error's traceback holds on to what was allocated.
        if too_many == 1:
            raise SettingsError(
                f"A window of {windows.shape[1]} px needs more memory than the device "
                f"'{self.device}' has free. Close what else uses it, or use --set device=cpu."
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        half = (too_many + 1) // 2
        self.batch_windows = min(self.batch_windows, half)
        return torch.cat([self._in_parts(windows[:half]), self._in_parts(windows[half:])])

    @torch.inference_mode()
    def _answers(self, windows: NDArray[np.uint8]) -> Tensor:
        images = torch.from_numpy(windows).to(self.device).permute(0, 3, 1, 2).float() / 255
        images = images.contiguous(memory_format=torch.channels_last)
        out = self._forward(images, windows)
        if self.settings.inference.flips:
            for axes in ((2,), (3,), (2, 3)):
                # (B, C, H, W) there, (B, H, W, C) here.
                turned = np.flip(windows, tuple(axis - 1 for axis in axes))
                out = out + self._forward(images.flip(axes), turned).flip(axes)
            out = out / 4
        return out

    def _features(self, images: Tensor, windows: NDArray[np.uint8]) -> Features:
        if self.recent is None:
            return self.network.features(images)
        encoded = self.recent.encode(self.network, images, windows, self.precision)
        return self.network.project(encoded, images)

    def _words(self) -> Tensor:
        if self._known_words is None:
            self._known_words = self.network.words()
        return self._known_words

    def _forward(self, images: Tensor, windows: NDArray[np.uint8]) -> Tensor:
        method = self.settings.method
        net = self.network
        with computing_in(self.precision, self.device):
            logits = net.logits(self._features(images, windows), self._words(), method.temperature)
        answer = logits.decoder
        if self.settings.inference.answer == "fused":
            answer = logits.fused(method.eta_prototype, method.eta_text)
        decoder, prototype, text = (
            highest(branch.transpose(0, 1))[0]
            for branch in (logits.decoder, logits.prototype, logits.text)
        )
        # A head that no loss of the method reaches has no say.
        disagreement = torch.stack(
            [
                (prototype != decoder) & method.learns_prototypes,
                (text != decoder) & method.learns_words,
            ],
            dim=1,
        )
        return torch.cat([answer.softmax(1), disagreement.to(answer.dtype)], dim=1)


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell whether ``error`` says that memory ran out, in the words of torch's allocators."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(
        words in text for words in ("out of memory", "not enough memory", "can't allocate memory")
    )
