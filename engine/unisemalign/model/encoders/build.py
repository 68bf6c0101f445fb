"""From a name to an encoder."""

from __future__ import annotations

from typing import Any

import timm
import torch

from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model.encoders.embedded import EmbeddedEncoder
from unisemalign.model.encoders.encoder import Encoder
from unisemalign.model.encoders.pyramid import PyramidEncoder
from unisemalign.model.encoders.vit import ViTEncoder

SHORT_NAMES = {"uni": "hf-hub:MahmoodLab/uni"}
"""Names a person may type, and what timm calls them."""

_UNI_DEPTH = 24


def build_encoder(name: str, *, weights: bool = True) -> Encoder:
    """Return the encoder called ``name``.

    Parameters
    ----------
    name
        ``embedded``, ``uni``, or any timm model (``vit_small_patch16_224``, ``resnet50``,
        ``hf-hub:OWNER/NAME``).
    weights
        Load the model's published weights, from the local cache unless the engine was started
        for fetching. Without them the shape is right and the numbers are random: for a checkpoint
        to be loaded into, and for tests.

    Raises
    ------
    SettingsError
        If timm knows no such model.
    WeightsError
        If the weights are not on this machine, or the person has no access to them.
    """
    if name == "embedded":
        return EmbeddedEncoder(weights=weights)
    identifier = SHORT_NAMES.get(name, name)
    if identifier == "hf-hub:MahmoodLab/uni" and not weights:
        vit = timm.create_model(
            "vit_large_patch16_224", init_values=1e-5, dynamic_img_size=True, num_classes=0
        )
        return ViTEncoder(vit, (2, 9), pretrained=True)
    if not identifier.startswith("hf-hub:") and not timm.is_model(identifier):
        raise SettingsError(
            f"Wanted the encoder '{name}', found no model of that name in timm. Use 'embedded', "
            f"'uni' or a name from timm.list_models()."
        )
    if weights:
        _check_hub(identifier, name)
    if _is_vit(identifier):
        extra: dict[str, Any] = {"dynamic_img_size": True, "num_classes": 0}
        if identifier == "hf-hub:MahmoodLab/uni":
            extra["init_values"] = 1e-5
        vit = _create(identifier, name, weights, extra)
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


def _create(identifier: str, name: str, weights: bool, extra: dict[str, Any]) -> Any:
    try:
        return timm.create_model(identifier, pretrained=weights, **extra)
    except (OSError, RuntimeError) as error:
        if not weights:
            raise SettingsError(f"timm cannot give features of '{name}': {error}") from error
        raise WeightsError(_absent(name, error)) from error
    except (TypeError, AssertionError, AttributeError) as error:
        raise SettingsError(
            f"The encoder '{name}' wants to give features at any image size, which timm does not "
            f"offer for it ({error}). Use another."
        ) from error


def _check_any_size(encoder: PyramidEncoder, name: str) -> None:
    sides = (2 * encoder.multiple, 3 * encoder.multiple)
    try:
        with torch.inference_mode():
            encoder.eval()(torch.zeros(1, 3, *sides, device=next(encoder.parameters()).device))
    except (AssertionError, RuntimeError) as error:
        raise SettingsError(
            f"An encoder wants to take images of any size, '{name}' does not: {error} Use another."
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
        return (
            f"The weights of '{name}' want a licence you have accepted. Three steps: 1. open the "
            f"model's page on Hugging Face and accept its terms; 2. run 'hf auth login' once; "
            f"3. run 'unisemalign weights get {name}'."
        )
    return (
        f"The weights of '{name}' are not on this machine. Run 'unisemalign weights get {name}' "
        f"where there is a network, or use the encoder 'embedded', which needs none."
    )


def _taps(depth: int) -> tuple[int, int]:
    """Return UniSemAlign's blocks 2 and 9 of 24, at the same relative depth of another ViT."""
    return round(2 * (depth - 1) / (_UNI_DEPTH - 1)), round(9 * (depth - 1) / (_UNI_DEPTH - 1))


def _nearest(strides: list[int], wanted: int) -> int:
    return min(range(len(strides)), key=lambda index: abs(strides[index] - wanted))
