"""Hot-keys: the same six on the viewer and on this package's layers, whose own keys come first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from napari.components import ViewerModel
from napari.layers import Layer

KEYS: Mapping[str, str] = {
    "S": "segment_view",
    "C": "accept",
    "N": "next_region",
    "T": "toggle_prediction",
    "U": "toggle_uncertainty",
    "Control-T": "train",
}
"""Key → name of the act. napari keeps 1–7, P, E, F, L, Z, M, X, B, [, ], - and =."""


def bind_keys(target: ViewerModel | Layer, acts: Mapping[str, Callable[[], None]]) -> None:
    """Bind :data:`KEYS` on a viewer or a layer."""
    for key, name in KEYS.items():
        target.bind_key(key, _handler(acts[name]), overwrite=True)


def free_keys(target: ViewerModel | Layer) -> None:
    """Give the keys back to napari."""
    for key in KEYS:
        target.bind_key(key, None)


def _handler(act: Callable[[], None]) -> Callable[[ViewerModel | Layer], None]:
    def on_key(_target: ViewerModel | Layer) -> None:
        act()

    return on_key
