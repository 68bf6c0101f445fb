"""Models of timm and open_clip that are not in the registry: which hub files they want."""

import pytest

from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model.hub_files import hub_files

TIMM = ("model.safetensors", "pytorch_model.bin")
CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("resnet18", ("timm/resnet18.a1_in1k", [TIMM])),
        ("vit_small_patch16_224.dino", ("timm/vit_small_patch16_224.dino", [TIMM])),
        ("ViT-B-16/openai", ("timm/vit_base_patch16_clip_224.openai", [CLIP])),
        ("ViT-B-32/laion2b_s34b_b79k", ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", [CLIP])),
    ],
)
def test_names_of_timm_and_open_clip(name, wanted):
    assert hub_files(name) == wanted


def test_hub_names_want_a_description_too():
    repo, (descriptions, files) = hub_files("hf-hub:me/mine")
    assert repo == "me/mine"
    assert "config.json" in descriptions
    assert set(files) == {*TIMM, *CLIP}


def test_names_nobody_knows_and_weights_outside_the_hub():
    with pytest.raises(SettingsError, match="none of the registry"):
        hub_files("resnet_of_dreams")
    with pytest.raises(WeightsError, match="do not lie on the Hugging Face hub"):
        hub_files("legacy_senet154")
