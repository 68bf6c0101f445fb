"""Hot-keys: the same on the viewer and on this package's layers, whose own keys come first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from napari.components import ViewerModel
from napari.layers import Layer

KEYS: Mapping[str, str] = {
    "S": "segment_view",
    "C": "accept",
    "Shift-C": "accept_and_next",
    "K": "skip",
    "N": "next_region",
    "Shift-N": "previous_region",
    "R": "mark_region",
    "T": "toggle_prediction",
    "U": "toggle_uncertainty",
    "Control-T": "train",
    "Control-Z": "undo",
    "Control-Shift-Z": "redo",
    **{f"Alt-{number}": f"class_{number}" for number in range(1, 10)},
}
"""Key → name of the act. napari keeps 1–7, P, E, F, L, Z, M, X, B, [, ], - and =."""

KEYS_IN_WORDS: Mapping[str, str] = {
    "S": "segment what the window shows",
    "N": "next region",
    "Shift+N": "the region before in the list",
    "R": "mark a region in the middle of the view",
    "C": "accept",
    "Shift+C": "accept, and on to the next region",
    "K": "skip",
    "Alt+1 … Alt+9": "paint with that class",
    "2, 3, 4, 1, 6": "brush, polygon, fill, erase, move",
    "[ and ]": "smaller and larger brush",
    "Ctrl+Z": "take back the last stroke, then what was done before it",
    "Ctrl+Shift+Z": "do it again",
    "T": "show or hide the prediction",
    "U": "show or hide the uncertainty",
    "Ctrl+T": "train",
    "?": "this list",
}
"""Every key of the dock and the brush, as a person reads it."""


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
