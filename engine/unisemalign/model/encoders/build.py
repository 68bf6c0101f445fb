"""From a name to an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch

from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model.encoders.embedded import EmbeddedEncoder
from unisemalign.model.encoders.encoder import Encoder
from unisemalign.model.encoders.organs import OrgansEncoder
from unisemalign.model.encoders.published import load_encoder, random_encoder
from unisemalign.model.encoders.pyramid import PyramidEncoder
from unisemalign.model.encoders.vit import ViTEncoder, small_transformer
from unisemalign.model.reading import assign_parts, check_fit, read_checkpoint, wanted_parts
from unisemalign.weights.fetching import refused_sentence
from unisemalign.weights.hashes import known_sha256
from unisemalign.weights.registry import PUBLISHED, Published, find_published, split_name

_UNI_DEPTH = 24


def build_encoder(name: str, *, weights: bool = True) -> Encoder:
    """Return the encoder called ``name``.

    Parameters
    ----------
    name
        A name of the registry (``organs``, ``embedded``, ``uni``, …), ``small-transformer``
        (starts from nothing), ``NAME=PATH`` for the person's own copy of its file, or any timm
        model (``vit_small_patch16_224``, ``resnet50``, ``hf-hub:OWNER/NAME``; ``NAME=PATH`` here
        too).
    weights
        Load the model's published weights, from the local cache unless the engine was started
        for fetching. Without them the shape is right and the numbers are random: for a checkpoint
        to be loaded into, and for tests.

    Raises
    ------
    SettingsError
        If neither the registry nor timm knows such an encoder.
    WeightsError
        If the weights are not on this machine, do not fit, or the person has no access to them.
    """
    if name == "embedded":
        return EmbeddedEncoder(weights=weights)
    if name == "organs":
        return OrgansEncoder(weights=weights)
    if name == "small-transformer":
        return small_transformer()
    identifier, path = split_name(name)
    entry = find_published(identifier, "encoder") or _by_repository(identifier)
    if entry is not None:
        return load_encoder(entry, path) if weights else random_encoder(entry)
    if not identifier.startswith("hf-hub:") and not timm.is_model(identifier):
        raise SettingsError(_unknown(identifier))
    if path is not None:
        return _from_file(identifier, path, weights=weights)
    if weights:
        _check_hub(identifier, name)
    if _is_vit(identifier):
        vit = _create(identifier, name, weights, {"dynamic_img_size": True, "num_classes": 0})
        return ViTEncoder(vit, _taps(len(vit.blocks)), pretrained=weights)
    levels = _create(identifier, name, weights, {"features_only": True})
    strides = levels.feature_info.reduction()
    low, high = _nearest(strides, 4), _nearest(strides, 16)
    features = _create(
        identifier, name, weights, {"features_only": True, "out_indices": (low, high)}
    )
    encoder = PyramidEncoder(features, pretrained=weights)
    _check_any_size(encoder, name)
    return encoder


def _from_file(identifier: str, path: Path, *, weights: bool) -> Encoder:
    """Return a timm vision transformer with the numbers in ``path``, fitted by name and shape."""
    if identifier.startswith("hf-hub:") or not _is_vit(identifier):
        raise SettingsError(
            f"Weights of one's own need a vision transformer timm knows by name, found "
            f"'{identifier}'. Example: vit_small_patch16_224=weights.safetensors."
        )
    extra = {"dynamic_img_size": True, "num_classes": 0}
    if not weights:
        vit = _create(identifier, identifier, False, extra)
        return ViTEncoder(vit, _taps(len(vit.blocks)), pretrained=True)
    state = wanted_parts(read_checkpoint(path), identifier, "", ("head.",))
    with torch.device("meta"):
        vit = _create(identifier, identifier, False, extra)
    check_fit(state, vit.state_dict(), identifier)
    encoder = ViTEncoder(vit, _taps(len(vit.blocks)), pretrained=True)
    assign_parts(encoder.vit, state)
    encoder.weights_sha256 = known_sha256(path)
    return encoder


def _by_repository(identifier: str) -> Published | None:
    """Return the registry's entry for a hub name: what it knows is not guessed from the hub."""
    repo = identifier.removeprefix("hf-hub:") if identifier.startswith("hf-hub:") else None
    same = (e for e in PUBLISHED if repo and e.repo == repo and e.kind == "encoder")
    return next(same, None)


def _unknown(name: str) -> str:
    other = find_published(name, "text")
    if other is not None:
        return f"'{name}' is a text tower ({other.title}). Choose an encoder: {_names()}."
    return (
        f"Wanted the encoder '{name}', found no model of that name in timm. Use one of "
        f"{_names()}, or a name from timm.list_models()."
    )


def _names() -> str:
    return ", ".join(entry.name for entry in PUBLISHED if entry.kind == "encoder")


def _create(identifier: str, name: str, weights: bool, extra: dict[str, Any]) -> Any:
    try:
        return timm.create_model(identifier, pretrained=weights, **extra)
    except (OSError, RuntimeError) as error:
        if not weights:
            raise SettingsError(
                f"The encoder '{name}' needs to give features, which timm cannot: {error} Choose "
                f"another encoder."
            ) from error
        raise WeightsError(_absent(name, error)) from error
    except (TypeError, AssertionError, AttributeError) as error:
        raise SettingsError(
            f"The encoder '{name}' needs to give features at any image size, which timm does not "
            f"offer for it ({error}). Use another."
        ) from error


def _check_any_size(encoder: PyramidEncoder, name: str) -> None:
    sides = (2 * encoder.multiple, 3 * encoder.multiple)
    try:
        with torch.inference_mode():
            encoder.eval()(torch.zeros(1, 3, *sides, device=next(encoder.parameters()).device))
    except (AssertionError, RuntimeError) as error:
        raise SettingsError(
            f"An encoder needs to take images of any size, '{name}' does not: {error} Use another."
        ) from error


def _is_vit(identifier: str) -> bool:
    """Tell whether timm makes it with its ``VisionTransformer``; hub models of the field are."""
    if identifier.startswith("hf-hub:"):
        return True
    architecture = identifier.partition(".")[0]
    return bool(timm.models.is_model_in_modules(architecture, ["vision_transformer"]))


def _check_hub(identifier: str, name: str) -> None:
    """Refuse weights that lie outside the hub: the offline switch would not hold for them."""
    if identifier.startswith("hf-hub:"):
        return
    about = timm.get_pretrained_cfg(identifier)
    if about is None or not about.hf_hub_id:
        raise WeightsError(
            f"The encoder '{name}' has no weights on the Hugging Face hub. Use another model of "
            f"timm, or 'embedded', which needs none."
        )


def _absent(name: str, error: Exception) -> str:
    if any(mark in str(error) for mark in ("401", "403", "gated", "GatedRepo")):
        return refused_sentence(name.removeprefix("hf-hub:"), name)
    return (
        f"The weights of '{name}' are not on this machine. Run 'unisemalign weights get {name}' "
        f"where there is a network, or use the encoder 'embedded', which needs none."
    )


def _taps(depth: int) -> tuple[int, int]:
    """Return UniSemAlign's blocks 2 and 9 of 24, at the same relative depth of another ViT."""
    return round(2 * (depth - 1) / (_UNI_DEPTH - 1)), round(9 * (depth - 1) / (_UNI_DEPTH - 1))


def _nearest(strides: list[int], wanted: int) -> int:
    return min(range(len(strides)), key=lambda index: abs(strides[index] - wanted))
