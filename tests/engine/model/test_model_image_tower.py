"""Every pair's image tower loads its publisher's file and answers for each patch."""

import pytest
import torch
from torch.nn import functional as F

from tests.engine.model.published_files import image_tower_shapes, numbers, shrunk, write
from unisemalign.errors import WeightsError
from unisemalign.model.image_tower import (
    PatchEncoder,
    build_image_tower,
    load_image_tower,
    read_image_tower,
)
from unisemalign.model.reading import check_fit
from unisemalign.weights import PUBLISHED, find_published

PAIRS = [entry for entry in PUBLISHED if entry.image_tower]


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))


def small_pair(name, folder):
    small = shrunk(find_published(name))
    state = numbers(image_tower_shapes(small))
    return small, state, load_image_tower(small, write(small, state, folder))


def test_every_text_tower_but_a_reader_of_sentences_has_an_image_tower():
    towers = {entry.name for entry in PUBLISHED if entry.kind == "text" and entry.repo}
    assert {entry.name for entry in PAIRS} == towers - {"minilm"}


@pytest.mark.parametrize("entry", PAIRS, ids=lambda e: e.name)
def test_image_towers_load_their_publishers_file_and_keep_the_contract(entry, tmp_path):
    small, _, encoder = small_pair(entry.name, tmp_path)
    side, patch = small.image_tower.image_px, small.image_tower.patch
    images = torch.randn(2, 3, side, 2 * side)
    with torch.inference_mode():
        low, high = encoder(images)
        left, _ = encoder(images[..., :side])
    assert low is high
    assert low.shape == (2, small.arguments["output_dim"], side // patch, 2 * side // patch)
    assert low.shape[1] == encoder.low_channels
    assert low.isfinite().all()
    assert torch.equal(low[..., : side // patch], left), "each tile is seen by itself"
    assert not torch.allclose(low[..., 0, 0], low[..., 1, 1], atol=1e-5)
    assert len(encoder.weights_sha256) == 64


@pytest.mark.parametrize("entry", PAIRS, ids=lambda e: e.name)
def test_the_whole_file_fits_at_full_size(entry):
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in image_tower_shapes(entry).items()}
        state = read_image_tower(state, entry.name, entry.image_tower)
        inner = build_image_tower(entry.image_tower)
    check_fit(state, inner.state_dict(), entry.name)
    assert entry.image_tower.output_dim == entry.arguments["output_dim"]
    words, image = entry.parameters_m, sum(p.numel() for p in inner.parameters()) / 1e6
    assert entry.megabytes >= 4 * (words + image) * 0.98, "one file holds both"


def test_conchs_pooler_over_equal_tokens_says_what_one_of_them_says(tmp_path):
    """Attention over equal values is that value: the patch's way is the image's way then."""
    _, state, encoder = small_pair("conch", tmp_path)
    inner = encoder.inner
    token = torch.randn(1, 1, state["visual.trunk.norm.weight"].shape[0])
    with torch.inference_mode():
        pooled = inner.ln_contrast(inner.attn_pool_contrast(token.expand(1, 7, -1))[:, 0])
        whole = pooled @ inner.proj_contrast
        inner._tokens = lambda *_, **__: token.view(1, 1, 1, -1)
        alone = inner._pooled_alone(torch.zeros(1))
    assert torch.allclose(alone.flatten(), whole.flatten(), atol=1e-5)


@pytest.mark.parametrize("name", ["quiltnet-b-16", "plip"])
def test_clips_last_attention_lets_each_patch_see_itself_alone(name, tmp_path):
    """Against torch's own attention under a mask that leaves every token itself only."""
    _, _, encoder = small_pair(name, tmp_path)
    tower, side = encoder.inner.tower, encoder.multiple
    images = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        tokens = tower._embeds(images)
        for block in tower.transformer.resblocks[:-1]:
            tokens = block(tokens)
        last = tower.transformer.resblocks[-1]
        seen = last.ln_1(tokens)
        alone = torch.full((seen.shape[1],) * 2, float("-inf")).fill_diagonal_(0.0)
        out = last.attn(seen, seen, seen, need_weights=False, attn_mask=alone)[0]
        wanted = (tower.ln_post(out) @ tower.proj)[:, 1:]
        found = encoder(images)[0].flatten(2).transpose(1, 2)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_plips_image_tower_is_a_transformers_one(tmp_path):
    """The class token's way, written out from transformers' CLIPVisionModel."""
    small, state, encoder = small_pair("plip", tmp_path)
    images = torch.randn(1, 3, small.image_tower.image_px, small.image_tower.image_px)
    with torch.inference_mode():
        found = encoder.inner.tower(images)
        wanted = vision_forward(state, images, small.image_tower.depth, small.image_tower.heads)
    assert torch.allclose(found, wanted, atol=1e-5)


def vision_forward(state, images, depth, heads):
    def norm(name, x):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    embeddings = "vision_model.embeddings"
    kernel = state[f"{embeddings}.patch_embedding.weight"]
    x = F.conv2d(images, kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    x = torch.cat([state[f"{embeddings}.class_embedding"].view(1, 1, -1), x], 1)
    x = norm("vision_model.pre_layrnorm", x + state[f"{embeddings}.position_embedding.weight"])
    for i in range(depth):
        at = f"vision_model.encoder.layers.{i}"
        h = norm(f"{at}.layer_norm1", x)
        q, k, v = (
            linear(f"{at}.self_attn.{p}_proj", h).unflatten(-1, (heads, -1)).transpose(1, 2)
            for p in "qkv"
        )
        h = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + linear(f"{at}.self_attn.out_proj", h.transpose(1, 2).flatten(2))
        h = linear(f"{at}.mlp.fc1", norm(f"{at}.layer_norm2", x))
        x = x + linear(f"{at}.mlp.fc2", h * torch.sigmoid(1.702 * h))
    x = norm("vision_model.post_layernorm", x[:, 0])
    return x @ state["visual_projection.weight"].T


def test_a_file_of_another_model_is_told(tmp_path):
    small = shrunk(find_published("biomedclip"))
    state = numbers(image_tower_shapes(small))
    state.pop("visual.head.proj.weight")
    with pytest.raises(WeightsError, match="'head.proj.weight' is missing"):
        load_image_tower(small, write(small, state, tmp_path))
    state |= {"ears.weight": torch.ones(1), "visual.head.proj.weight": torch.ones(24, 32)}
    with pytest.raises(WeightsError, match="'ears.weight' is not part of it"):
        load_image_tower(small, write(small, state, tmp_path))
    with pytest.raises(WeightsError, match="weights get conch"):
        load_image_tower(find_published("conch"))
    with pytest.raises(WeightsError, match="words alone"):
        load_image_tower(find_published("free"))


def test_an_image_tower_is_an_encoder_like_any_other(tmp_path):
    _, _, encoder = small_pair("keep", tmp_path)
    assert isinstance(encoder, PatchEncoder)
    assert encoder.pretrained
    assert not encoder.ours
    assert encoder.low_stride == 16
