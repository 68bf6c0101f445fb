"""How tissue is stained, in a few numbers, and what takes one stain to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STAINED = 0.15
"""Optical density above which a pixel is tissue, in its densest channel."""
_FLOOR = 1e-4


@dataclass(frozen=True)
class StainLook:
    """Second moments ``(3, 3)`` of the optical density of stained pixels, RGB, about zero.

    About zero, so that what maps one look to another leaves glass as it is.
    """

    moments: NDArray[np.float64]

    def change_to(self, other: StainLook) -> StainChange:
        """Return the change of colours that gives ``other``'s moments and moves them least.

        The linear optimal transport between two normal distributions of mean 0.
        """
        root = _root(self.moments)
        back = np.linalg.inv(root)
        return StainChange(back @ _root(root @ other.moments @ root) @ back)


@dataclass(frozen=True)
class StainChange:
    """A linear map ``(3, 3)`` of optical densities."""

    mix: NDArray[np.float64]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``(…, 3)`` RGB in the other stain."""
        density = np.clip(_density(pixels) @ self.mix.astype(np.float32), 0, None)
        changed: NDArray[np.uint8] = np.round(255 * np.exp(-density)).astype(np.uint8)
        return changed


def look_at(windows: list[NDArray[np.uint8]]) -> StainLook | None:
    """Return the look of windows ``(h, w, 3)``; ``None`` where nothing in them is stained."""
    moments, count = np.zeros((3, 3)), 0
    for window in windows:
        density = _density(window).reshape(-1, 3)
        stained = density[density.max(1) > _STAINED].astype(np.float64)
        moments += stained.T @ stained
        count += len(stained)
    if not count:
        return None
    return StainLook(moments / count + _FLOOR * np.eye(3))


def _density(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    density: NDArray[np.float32] = -np.log(np.maximum(pixels, 1).astype(np.float32) / 255)
    return density


def _root(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(moments)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root
