"""Which hub files a model that is not in the registry needs: any of timm, any of open_clip."""

from __future__ import annotations

import open_clip
import timm

from unisemalign.errors import SettingsError, WeightsError

Wanted = tuple[str, list[tuple[str, ...]]]

_CONFIGS = ("open_clip_config.json", "config.json")
_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")
_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def hub_files(name: str) -> Wanted:
    """Return the repository of ``name`` and, for each file it needs, the names it may have.

    Raises
    ------
    SettingsError
        If neither timm nor open_clip knows the name.
    WeightsError
        If its weights lie outside the hub: no hash of them is published.
    """
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:"), [_CONFIGS, _CLIP_FILES + _TIMM_FILES]
    if timm.is_model(name):
        about = timm.get_pretrained_cfg(name)
        files = (about.hf_hub_filename,) if about and about.hf_hub_filename else _TIMM_FILES
        return _on_hub(about.hf_hub_id if about else None, name, files)
    model, _, tag = name.partition("/")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tags:
        raise SettingsError(
            f"Fetching weights needs a model's name, found '{name}', which is none of the registry "
            f"(unisemalign weights list), of timm or of open_clip. Check the name."
        )
    clip = open_clip.get_pretrained_cfg(model, tag or tags[0])
    return _on_hub(clip.get("hf_hub"), name, _CLIP_FILES)


def _on_hub(place: str | None, name: str, files: tuple[str, ...]) -> Wanted:
    """Read ``OWNER/NAME`` or ``OWNER/NAME/FILE``, as timm and open_clip write them."""
    if not place or "/" not in place:
        raise WeightsError(
            f"The weights of '{name}' do not lie on the Hugging Face hub, so there is no hash to "
            f"check them by. Use another model, or fetch them by hand and use {name}=PATH."
        )
    owner, repo, file = [*place.split("/", 2), ""][:3]
    return f"{owner}/{repo}", [(file,) if file else files]
