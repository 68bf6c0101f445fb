"""Published weights: list, fetch, prove."""

from __future__ import annotations

from typing import Any


def list_weights() -> list[dict[str, Any]]:
    """Return the built-in encoders and text towers; any timm or open_clip name works too."""
    from huggingface_hub import try_to_load_from_cache

    def cached(repo: str, *names: str) -> bool:
        return any(isinstance(try_to_load_from_cache(repo, name), str) for name in names)

    uni = cached("MahmoodLab/uni", "pytorch_model.bin", "model.safetensors")
    return [
        {
            "name": "embedded",
            "kind": "encoder",
            "licence": "BSD-3-Clause",
            "gated": False,
            "here": True,
        },
        {
            "name": "uni",
            "kind": "encoder",
            "licence": "CC-BY-NC-ND-4.0",
            "gated": True,
            "here": uni,
        },
        {"name": "free", "kind": "text", "licence": "BSD-3-Clause", "gated": False, "here": True},
    ]


def get_weights(name: str) -> None:
    """Fetch the weights of an encoder or text tower: the one verb that uses the network."""
    _build(name)


def check_weights(name: str) -> dict[str, Any]:
    """Load ``name``, run one forward pass, and return the output's shape."""
    import torch

    from unisemalign.model import Encoder

    part = _build(name)
    with torch.inference_mode():
        if isinstance(part, Encoder):
            side = 224 // part.multiple * part.multiple
            shape = list(part.eval()(torch.zeros(1, 3, side, side))[1].shape)
        else:
            shape = list(part.eval()().shape)
    return {"name": name, "here": True, "output": shape}


def _build(name: str) -> Any:
    from unisemalign.errors import SettingsError, WeightsError
    from unisemalign.model import build_encoder, build_text_tower

    try:
        return build_encoder(name)
    except (SettingsError, WeightsError) as error:
        try:
            return build_text_tower(name, ["background", "gland"])
        except SettingsError:
            raise error from None
