"""Every encoder of the registry loads its publisher's file, exactly or not at all."""

import pickle

import pytest
import torch
from torch.nn import functional as F

from tests.engine.model.published_files import ENCODERS, numbers, shrunk, vit_shapes, write
from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model import build_encoder
from unisemalign.model.encoders.layouts import to_timm
from unisemalign.model.encoders.published import (
    _image_px,
    build_vit,
    load_encoder,
    random_encoder,
)
from unisemalign.model.reading import check_fit, read_checkpoint, wanted_parts
from unisemalign.weights import find_published

PUBLISHED_MILLIONS = {
    "uni": 303,
    "uni2-h": 681,
    "conch-vision": 86,
    "virchow": 632,
    "virchow2": 632,
    "h-optimus-0": 1130,
    "h-optimus-1": 1130,
    "h0-mini": 86,
    "hibou-b": 86,
    "hibou-l": 304,
    "midnight-12k": 1140,
    "phikon": 86,
    "phikon-v2": 304,
    "kaiko-s16": 21.7,
    "lunit-s8": 21.7,
}


@pytest.fixture(autouse=True)
def own_record(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))


def names(entries):
    return [entry.name for entry in entries]


@pytest.mark.parametrize("entry", ENCODERS, ids=names(ENCODERS))
def test_every_encoder_loads_its_publishers_file_and_keeps_the_contract(entry, tmp_path):
    small = shrunk(entry)
    path = write(small, numbers(vit_shapes(small)), tmp_path)
    encoder = load_encoder(small, path).eval()
    side = 4 * entry.patch
    with torch.inference_mode():
        low, high = encoder(torch.rand(2, 3, side, 2 * side))
    assert low.shape == high.shape == (2, encoder.high_channels, 4, 8)
    assert low.isfinite().all()
    assert not torch.equal(low, high)
    assert encoder.multiple == encoder.low_stride == entry.patch
    assert (encoder.mean, encoder.std) == (entry.mean, entry.std)
    assert encoder.pretrained
    assert len(encoder.weights_sha256) == 64
    assert all(p.device.type == "cpu" for p in encoder.parameters())


@pytest.mark.parametrize("entry", ENCODERS, ids=names(ENCODERS))
def test_the_whole_file_fits_and_counts_as_published(entry):
    """Full width and depth, on the meta device: names and shapes, no numbers."""
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in vit_shapes(entry).items()}
        state = wanted_parts(state, entry.name, entry.keys, entry.left_out)
        if entry.layout != "timm":
            state = to_timm(state, entry.layout)
        vit = build_vit(entry, _image_px(state, entry))
    check_fit(state, vit.state_dict(), entry.name)
    millions = sum(p.numel() for p in vit.parameters()) / 1e6
    assert millions == pytest.approx(entry.parameters_m, abs=0.06)
    if entry.name in PUBLISHED_MILLIONS:
        assert millions == pytest.approx(PUBLISHED_MILLIONS[entry.name], rel=0.006)
    assert (len(vit.blocks), vit.num_prefix_tokens) == (entry.depth, entry.prefix_tokens)
    assert (vit.embed_dim, vit.patch_embed.patch_size[0]) == (entry.width, entry.patch)


def hf_forward(state, entry, images):
    """Return the states after each block, patches only, as transformers' models compute them."""

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name, x):
        eps = 1e-12 if entry.layout == "hf_vit" else 1e-6
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    projection = "embeddings.patch_embeddings.projection"
    x = F.conv2d(
        images, state[f"{projection}.weight"], state[f"{projection}.bias"], stride=entry.patch
    )
    x = torch.cat([state["embeddings.cls_token"], x.flatten(2).transpose(1, 2)], 1)
    x = x + state["embeddings.position_embeddings"]
    prefix = 1
    if "embeddings.register_tokens" in state:
        registers = state["embeddings.register_tokens"]
        prefix += registers.shape[1]
        x = torch.cat([x[:, :1], registers, x[:, 1:]], 1)
    before, after = ("layernorm_before", "layernorm_after")
    if entry.layout == "hf_dinov2":
        before, after = ("norm1", "norm2")
    out = []
    for i in range(entry.depth):
        at = f"encoder.layer.{i}"
        h = norm(f"{at}.{before}", x)
        q, k, v = (
            linear(f"{at}.attention.attention.{part}", h).unflatten(-1, (3, 64)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        h = ((q @ k.transpose(-1, -2)) / 8).softmax(-1) @ v
        h = linear(f"{at}.attention.output.dense", h.transpose(1, 2).flatten(2))
        x = x + h * state.get(f"{at}.layer_scale1.lambda1", 1)
        h = norm(f"{at}.{after}", x)
        if f"{at}.mlp.weights_in.weight" in state:
            first, second = linear(f"{at}.mlp.weights_in", h).chunk(2, -1)
            h = linear(f"{at}.mlp.weights_out", F.silu(first) * second)
        elif entry.layout == "hf_dinov2":
            h = linear(f"{at}.mlp.fc2", F.gelu(linear(f"{at}.mlp.fc1", h)))
        else:
            h = linear(f"{at}.output.dense", F.gelu(linear(f"{at}.intermediate.dense", h)))
        x = x + h * state.get(f"{at}.layer_scale2.lambda1", 1)
        out.append(x[:, prefix:])
    return out


@pytest.mark.parametrize("name", ["phikon", "phikon-v2", "midnight-12k", "hibou-b", "hibou-l"])
def test_models_of_transformers_compute_what_transformers_does(name, tmp_path):
    small = shrunk(find_published(name))
    state = numbers(vit_shapes(small))
    encoder = load_encoder(small, write(small, state, tmp_path)).eval()
    images = torch.rand(1, 3, 4 * small.patch, 4 * small.patch)
    with torch.inference_mode():
        maps = encoder(images)
    states = hf_forward(state, small, images)
    for tap, found in zip(small.taps, maps, strict=True):
        assert torch.allclose(found.flatten(2).transpose(1, 2), states[tap], atol=1e-4)


@pytest.mark.parametrize("name", ["uni", "uni2-h", "virchow", "virchow2", "h0-mini"])
def test_class_and_register_tokens_are_stripped(name, tmp_path):
    """The maps are the states after the tapped blocks, from the first patch on."""
    small = shrunk(find_published(name))
    encoder = load_encoder(small, write(small, numbers(vit_shapes(small)), tmp_path)).eval()
    vit = encoder.vit
    images = torch.rand(1, 3, 4 * small.patch, 4 * small.patch)
    with torch.inference_mode():
        maps = encoder(images)
        states, tokens = [], vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
        assert tokens.shape[1] == small.prefix_tokens + 16
        for block in vit.blocks:
            tokens = block(tokens)
            states.append(tokens[:, small.prefix_tokens :])
    for tap, found in zip(small.taps, maps, strict=True):
        assert torch.allclose(found.flatten(2).transpose(1, 2), states[tap], atol=1e-5)


def test_patches_of_14_px_take_images_of_any_size():
    from unisemalign.model.network import Network
    from unisemalign.settings import build_settings

    encoder = random_encoder(shrunk(find_published("virchow2")))
    settings = build_settings(overrides={"model.zoom": 1.0}).model
    network = Network(encoder, ["a", "b"], settings, train_encoder=False).eval()
    with torch.inference_mode():
        assert network.decode(network.features(torch.rand(1, 3, 64, 100))).shape == (1, 2, 64, 100)


def test_only_kept_blocks_are_made_without_weights():
    with torch.device("meta"):
        encoder = build_encoder("h-optimus-0", weights=False)
    assert len(encoder.vit.blocks) == 16
    assert encoder.pretrained
    assert encoder.weights_sha256 is None


def uni_parts():
    return vit_shapes(find_published("uni"))


def test_unis_whole_list_of_parts():
    """24 blocks of 14 parts, and 6 around them: methods.md A1's ViT-L/16 with layer scale."""
    shapes = uni_parts()
    assert len(shapes) == 24 * 14 + 6
    assert shapes["pos_embed"] == (1, 197, 1024)
    assert shapes["blocks.23.ls2.gamma"] == (1024,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("blocks.23.mlp.fc2.bias"), "'blocks.23.mlp.fc2.bias' is missing"),
        (lambda s: s.update({"head.weight": s["norm.weight"]}), "'head.weight' is not part of it"),
        (
            lambda s: s.update({"blocks.3.attn.qkv.bias": s["norm.weight"]}),
            r"'blocks.3.attn.qkv.bias' needs the shape \(3072,\), found \(1024,\)",
        ),
    ],
)
def test_unis_file_fits_exactly_or_the_part_is_named(change, says):
    entry = find_published("uni")
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in uni_parts().items()}
        wanted = build_vit(entry).state_dict()
    check_fit(state, wanted, "uni")
    change(state)
    with pytest.raises(WeightsError, match=f"The file does not fit 'uni': {says}"):
        check_fit(state, wanted, "uni")


@pytest.mark.parametrize("suffix", ["pytorch_model.bin", "model.safetensors"])
def test_uni_is_read_from_either_file_and_cut_after_its_deepest_tap(suffix, tmp_path):
    small = shrunk(find_published("uni")).model_copy(update={"files": (suffix,), "taps": (0, 1)})
    state = numbers(vit_shapes(small))
    write(small, state, tmp_path)
    encoder = load_encoder(small, tmp_path)
    assert len(encoder.vit.blocks) == 2
    assert torch.equal(encoder.vit.blocks[1].attn.qkv.weight, state["blocks.1.attn.qkv.weight"])
    del state["blocks.2.norm1.bias"]  # a block that is not even kept must be there
    write(small, state, tmp_path)
    with pytest.raises(WeightsError, match="'blocks.2.norm1.bias' is missing"):
        load_encoder(small, tmp_path)


class Surprise:
    def __reduce__(self):
        return print, ("this was run",)


def test_a_pickled_surprise_is_refused_and_not_run(tmp_path, capsys):
    entry = find_published("uni")
    torch.save({"cls_token": torch.zeros(1), "more": Surprise()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="asks to run code when it is opened.*Nothing of it was"):
        load_encoder(entry, tmp_path)
    with (tmp_path / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Surprise(), file, protocol=2)
    with pytest.raises(WeightsError, match="was refused|Cannot read"):
        load_encoder(entry, tmp_path)
    assert "this was run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"neither numbers nor a pickle", b"PK\x03\x04 torn"])
def test_damaged_files_are_told(content, tmp_path):
    for name in ("weights.bin", "weights.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match="Cannot read the weights|was refused"):
            read_checkpoint(tmp_path / name)


def test_wrappings_of_a_checkpoint_are_taken_off(tmp_path):
    inner = {"module.a": torch.ones(2), "module.b": torch.zeros(1)}
    torch.save({"state_dict": inner, "epoch": 3}, tmp_path / "a.bin")
    assert read_checkpoint(tmp_path / "a.bin").keys() == {"a", "b"}
    torch.save({"epoch": 3}, tmp_path / "a.bin")
    with pytest.raises(WeightsError, match="tensors by name, found something else"):
        read_checkpoint(tmp_path / "a.bin")
    torch.save(inner, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "old.bin")["a"].tolist() == [1, 1]


def test_parts_of_another_model_are_told(tmp_path):
    small = shrunk(find_published("conch-vision"))
    state = numbers({**vit_shapes(small), "sound.trunk.weight": (3,)})
    with pytest.raises(WeightsError, match="holds a part that is not known: 'sound.trunk.weight'"):
        load_encoder(small, write(small, state, tmp_path))


@pytest.mark.parametrize(("name", "grid"), [("conch-vision", 28), ("conch-vision", 14)])
def test_a_position_grid_of_either_known_size_is_taken(name, grid, tmp_path):
    entry = find_published(name)
    small = shrunk(entry).model_copy(update={"image_px": entry.image_px})
    shapes = vit_shapes(small) | {"visual.trunk.pos_embed": (1, grid * grid + 1, small.width)}
    state = numbers(shapes)
    encoder = load_encoder(small, write(small, state, tmp_path))
    assert torch.equal(encoder.vit.pos_embed, state["visual.trunk.pos_embed"])
    odd = numbers(shapes | {"visual.trunk.pos_embed": (1, 5 * 5 + 1, small.width)})
    with pytest.raises(WeightsError, match="'pos_embed' needs the shape"):
        load_encoder(small, write(small, odd, tmp_path))


def test_halves_become_float32(tmp_path):
    small = shrunk(find_published("kaiko-s16"))
    state = {k: v.half() for k, v in numbers(vit_shapes(small)).items()}
    encoder = load_encoder(small, write(small, state, tmp_path))
    assert all(p.dtype == torch.float32 for p in encoder.parameters())


def test_ones_own_file_for_any_timm_transformer(tmp_path):
    import timm

    torch.manual_seed(0)
    vit = timm.create_model("test_vit", num_classes=7)
    torch.save(vit.state_dict(), tmp_path / "mine.pth")
    encoder = build_encoder(f"test_vit={tmp_path / 'mine.pth'}")
    assert torch.equal(encoder.vit.blocks[0].attn.qkv.weight, vit.blocks[0].attn.qkv.weight)
    assert encoder.pretrained
    with pytest.raises(SettingsError, match="found nothing there"):
        build_encoder("test_vit=/nowhere/at/all.pth")
    with pytest.raises(SettingsError, match="vision transformer timm knows by name"):
        build_encoder(f"resnet18={tmp_path / 'mine.pth'}")


def test_names_of_the_other_kind_and_hub_names_find_their_entry():
    with pytest.raises(SettingsError, match="'conch' is a text tower.*conch-vision"):
        build_encoder("conch")
    with pytest.raises(WeightsError, match="'uni' are not on this machine.*MahmoodLab/uni"):
        build_encoder("hf-hub:MahmoodLab/uni")


def test_a_file_in_the_cache_that_changed_is_refused(tmp_path):
    import hashlib
    import shutil

    small = shrunk(find_published("kaiko-s16"))
    path = write(small, numbers(vit_shapes(small)), tmp_path)
    blobs = tmp_path / "home" / "hub" / "models--x" / "blobs"
    blobs.mkdir(parents=True)
    blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
    shutil.copy(path, blob)
    cached = tmp_path / "snapshot" / "model.safetensors"
    cached.parent.mkdir()
    cached.symlink_to(blob)
    assert load_encoder(small, cached).weights_sha256 == blob.name
    write(small.model_copy(update={"files": (blob.name,)}), {"a": torch.ones(1)}, blobs)
    with pytest.raises(WeightsError, match="not the file that was fetched"):
        load_encoder(small, cached)
