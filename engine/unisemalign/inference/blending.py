"""Overlapping windows become one map, on the network's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unisemalign.geometry import Rect
from unisemalign.inference.plan import BAND_PX

SIGMA = 0.125
"""Of the Gaussian, in window sides: at the border of a window it weighs 0.0003."""


@dataclass(frozen=True)
class Band:
    """Finished rows of a prediction, all uint8 of shape ``rect.shape``.

    ``classes``: 0 = not predicted, k = class k. ``confidence``: 0…255. ``disagreement``: 0 none,
    1 prototypes disagree with the decoder, 2 words disagree, 3 both. ``probabilities``: 0…255,
    ``(C, *rect.shape)``, where they were asked for and anything was predicted.
    """

    rect: Rect
    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    disagreement: NDArray[np.uint8]
    probabilities: NDArray[np.uint8] | None = None


class Blend:
    """Sums of weighted windows over the rows of a run that are not finished yet.

    Parameters
    ----------
    rect
        The pixels of the run.
    n_classes
        The windows have two channels more.
    weights
        ``(H, W)`` of a window, on the device where the sums are kept.
    probabilities
        Give bands the probability of each class too.
    """

    def __init__(
        self, rect: Rect, n_classes: int, weights: Tensor, *, probabilities: bool = False
    ) -> None:
        self.rect = rect
        self._n_classes = n_classes
        self._weights = weights
        self._with_probabilities = probabilities
        self._top = self._touched = rect.y
        rows = min(rect.h, weights.shape[0] + BAND_PX)
        self._sums = weights.new_zeros((n_classes + 2, rows, rect.w))
        self._weight = weights.new_zeros((rows, rect.w))

    def add(self, windows: Sequence[Rect], outputs: Tensor) -> None:
        """Add outputs ``(B, C + 2, H, W)`` of ``windows``."""
        area = Rect(self._top, self.rect.x, self.rect.y1 - self._top, self.rect.w)
        for window, output in zip(windows, outputs, strict=True):
            part = window.intersect(area)
            ys, xs = part.relative_to(window).slices
            to_y, to_x = part.relative_to(area).slices
            weights = self._weights[ys, xs]
            self._sums[:, to_y, to_x] += output[:, ys, xs] * weights
            self._weight[to_y, to_x] += weights
            self._touched = max(self._touched, part.y1)

    def take(self, finished: int) -> list[Band]:
        """Return the whole bands above row ``finished``, and forget them."""
        end = self.rect.y1
        upto = end if finished >= end else finished // BAND_PX * BAND_PX
        taken = []
        while self._top < upto:
            rows = min(upto, self._top // BAND_PX * BAND_PX + BAND_PX) - self._top
            if self._touched > self._top:
                taken.append(self._band(rows))
                for plane in (*self._sums, self._weight):
                    plane[:-rows] = plane[rows:].clone()
                    plane[-rows:] = 0
            else:  # glass costs nothing
                empty = np.zeros((3, rows, self.rect.w), np.uint8)
                taken.append(Band(Rect(self._top, self.rect.x, rows, self.rect.w), *empty))
            self._top += rows
        return taken

    def _band(self, rows: int) -> Band:
        c = self._n_classes
        weight = self._weight[:rows]
        seen = weight > 0
        mean = self._sums[:, :rows] / torch.where(seen, weight, 1)
        best, sureness = highest(mean[:c])
        branches = (mean[c] > 0.5).byte() + 2 * (mean[c + 1] > 0.5).byte()
        classes, confidence, disagreement = (
            torch.where(seen, values, 0).byte().cpu().numpy()
            for values in (best + 1, (sureness * 255).round(), branches)
        )
        rect = Rect(self._top, self.rect.x, rows, self.rect.w)
        probabilities = None
        if self._with_probabilities:
            probabilities = torch.where(seen, mean[:c] * 255, 0).round().byte().cpu().numpy()
        return Band(rect, classes, confidence, disagreement, probabilities)


def window_weights(window_px: int, blend: str, device: torch.device) -> Tensor:
    """Return ``(H, W)`` float32 weights of a window: 1 everywhere, or falling to the edge."""
    if blend == "uniform":
        return torch.ones((window_px, window_px), device=device)
    position = (np.arange(window_px) + 0.5) / window_px - 0.5
    line = np.exp(-0.5 * (position / SIGMA) ** 2).astype(np.float32)
    return torch.from_numpy(np.outer(line, line)).to(device)


def highest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return index (uint8) and value of the highest of ``scores`` ``(C, …)``; ties: the first.

    As ``max(0)``, which is ten times slower where the classes are not the last axis.
    """
    value = scores[0].clone()
    index = torch.zeros_like(value, dtype=torch.uint8)
    for channel in range(1, len(scores)):
        higher = scores[channel] > value
        index.masked_fill_(higher, channel)
        torch.maximum(value, scores[channel], out=value)
    return index, value
