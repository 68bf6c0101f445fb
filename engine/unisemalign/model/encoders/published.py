"""Encoders of the registry: built with timm, loaded by name and shape, cut at the deepest tap."""

from __future__ import annotations

from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from torch import nn

from unisemalign.errors import WeightsError
from unisemalign.model.encoders.layouts import to_timm
from unisemalign.model.encoders.vit import ViTEncoder
from unisemalign.model.reading import (
    State,
    assign_parts,
    check_fit,
    read_checkpoint,
    wanted_parts,
)
from unisemalign.weights.hashes import known_sha256
from unisemalign.weights.places import absent_sentence, find_weights
from unisemalign.weights.registry import Published


def build_vit(entry: Published, image_px: int | None = None) -> Any:
    """Return the whole vision transformer of ``entry``, every block of it, with random numbers.

    ``image_px`` is the side its position grid is made for, by default the entry's first.
    """
    arguments: dict[str, Any] = {
        "dynamic_img_size": True,
        "num_classes": 0,
        "img_size": image_px or entry.image_px[0],
        **entry.arguments,
    }
    if entry.swiglu:
        arguments |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    if entry.norm_eps:
        arguments["norm_layer"] = partial(nn.LayerNorm, eps=entry.norm_eps)
    return timm.create_model(str(entry.architecture), pretrained=False, **arguments)


def load_encoder(entry: Published, path: Path | None = None) -> ViTEncoder:
    """Return the encoder of ``entry`` with its published weights.

    Parameters
    ----------
    path
        The person's own copy of the file, or the folder it lies in; ``None`` looks into the cache.

    Raises
    ------
    WeightsError
        If the weights are not here, are not what was fetched, or do not fit by name and shape.
    """
    found = find_weights(entry, path)
    if found is None:
        raise WeightsError(absent_sentence(entry))
    digest = known_sha256(found)
    state = wanted_parts(read_checkpoint(found), entry.name, entry.keys, entry.left_out)
    if entry.layout != "timm":
        state = to_timm(state, str(entry.layout))
    with torch.device("meta"):  # names and shapes only: no time is lost on random numbers
        vit = build_vit(entry, _image_px(state, entry))
    check_fit(state, vit.state_dict(), entry.name)
    encoder = _encoder(vit, entry)  # blocks nobody asks for are dropped before they cost memory
    assign_parts(encoder.vit, state)
    encoder.weights_sha256 = digest
    return encoder


def random_encoder(entry: Published) -> ViTEncoder:
    """Return the encoder of ``entry`` with random numbers, for a checkpoint to be loaded into.

    Only the blocks that are kept are made.
    """
    kept = {**entry.arguments, "depth": entry.taps[1] + 1} if entry.taps else entry.arguments
    return _encoder(build_vit(entry.model_copy(update={"arguments": kept})), entry)


def _encoder(vit: Any, entry: Published) -> ViTEncoder:
    encoder = ViTEncoder(vit, entry.taps or (0, 0), pretrained=True)
    encoder.mean, encoder.std = entry.mean, entry.std
    return encoder


def _image_px(state: State, entry: Published) -> int | None:
    """Return the side the file's position grid was made for, where the entry knows it."""
    if "pos_embed" not in state or len(entry.image_px) == 1 or entry.patch is None:
        return None
    # Positions of class and register tokens are few: the square below is the grid's.
    grid = isqrt(state["pos_embed"].shape[1])
    side = grid * entry.patch
    return side if side in entry.image_px else None
