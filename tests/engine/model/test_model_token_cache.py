"""The token cache: a hit is a miss, whatever changes the tokens misses, the bound holds."""

import shutil

import pytest
import timm
import torch

from unisemalign.errors import SettingsError
from unisemalign.methods.teacher import Teacher
from unisemalign.model import build_network, token_cache
from unisemalign.model.encoders import EmbeddedEncoder, ViTEncoder
from unisemalign.model.token_cache import TokenCache
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings

PLENTY = 10**9
SMALL = {
    "model.decoder_dim": 16,
    "model.high_dim": 32,
    "model.low_dim": 16,
    "model.skip_dim": 8,
    "model.embed_dim": 16,
}


class Told:
    def __init__(self):
        self.texts = []

    def emit(self, event):
        self.texts.append(event.text)


def make_encoder(seed=0, taps=(1, 3)):
    torch.manual_seed(seed)
    vit = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True, num_classes=0)
    return ViTEncoder(vit, taps, pretrained=True).eval()


def crops(count=3, side=64, seed=0):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def cache_in(folder, limit=PLENTY, events=None):
    return TokenCache(folder, limit, events or SilentEvents())


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_hit_is_a_miss_whoever_lies_beside(tmp_path):
    encoder, pixels = make_encoder(), crops()
    with torch.inference_mode():
        cold = cache_in(tmp_path)
        first = cold(encoder, pixels)
        warm = cache_in(tmp_path)
        second = warm(encoder, pixels)
        turned = warm(encoder, pixels.flip(0).contiguous(memory_format=torch.channels_last))
        alone = cache_in(tmp_path / "other")(encoder, pixels[1:2])
    assert (cold.hits, cold.misses, warm.hits, warm.misses) == (0, 3, 6, 0)
    assert same(first, second)
    assert same([m.flip(0) for m in turned], first)
    assert same(alone, [m[1:2] for m in first])
    assert first[0].dtype == torch.float32


def test_what_is_kept_is_close_to_what_the_encoder_says(tmp_path):
    encoder, pixels = make_encoder(), crops()
    with torch.inference_mode():
        kept, said = cache_in(tmp_path)(encoder, pixels), encoder(pixels)
    for mine, theirs in zip(kept, said, strict=True):
        assert 0 < (mine - theirs).abs().max() < 2**-10 * theirs.abs().max()


def test_what_float16_cannot_hold_is_kept_in_float32(tmp_path):
    encoder, pixels = make_encoder(), crops(1)
    encoder.vit.pos_embed.data[..., 0] = 1e6
    with torch.inference_mode():
        low, _ = cache_in(tmp_path)(encoder, pixels)
        again, _ = cache_in(tmp_path)(encoder, pixels)
    assert low[:, 0].min() > 9e5
    assert torch.equal(low, again)


@pytest.mark.parametrize(
    "change",
    ["pixels", "weights", "taps", "size", "precision", "encoder"],
)
def test_whatever_changes_the_tokens_misses(tmp_path, change):
    with torch.inference_mode():
        cache_in(tmp_path)(make_encoder(), crops())
        cache, encoder, pixels = cache_in(tmp_path), make_encoder(), crops()
        if change == "pixels":
            pixels[:, 0, 0, 0] += 1e-6
        if change == "weights":
            encoder.vit.blocks[0].mlp.fc1.bias[0] += 1e-6
        if change == "taps":
            encoder = make_encoder(taps=(0, 3))
        if change == "size":
            pixels = crops(side=32)
        if change == "encoder":
            encoder = EmbeddedEncoder().eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=change == "precision"):
            cache(encoder, pixels)
    assert (cache.hits, cache.misses) == (0, 3)


def test_the_bound_holds_and_the_least_recently_used_go_first(tmp_path):
    encoder = make_encoder()
    with torch.inference_mode():
        cache_in(tmp_path)(encoder, crops(1))
        (one,) = files(tmp_path)
        size = one.stat().st_size
        limit = 5 * size + size // 2
        cache = cache_in(tmp_path, limit)
        many = crops(12, seed=1)
        for index in range(12):
            cache(encoder, crops(1))
            cache(encoder, many[index : index + 1])
            assert sum(path.stat().st_size for path in files(tmp_path)) <= limit
        assert one.exists()
        assert cache.hits == 12  # the one in use
        cache(encoder, many[11:])
        cache(encoder, many[:1])
        assert cache.hits == 13  # the newest is there, the oldest is not
        tiny = cache_in(tmp_path / "tiny", size - 1)
        tiny(encoder, crops(1))
    assert files(tmp_path / "tiny") == []


def test_two_caches_in_one_folder_keep_the_bound_together(tmp_path):
    encoder = make_encoder()
    with torch.inference_mode():
        cache_in(tmp_path)(encoder, crops(1))
        size = files(tmp_path)[0].stat().st_size
        caches = [TokenCache(tmp_path, 40 * size, SilentEvents(), sharers=2) for _ in range(2)]
        # In turns, then one long after the other: what one has not seen of the other must fit.
        for index, crop in enumerate(crops(120, seed=2).split(1)):
            caches[index % 2 if index < 60 else index // 30 % 2](encoder, crop)
            assert len(files(tmp_path)) <= 40
    assert len(files(tmp_path)) > 30


def test_heads_are_part_of_an_encoders_digest():
    def with_heads(count):
        torch.manual_seed(0)
        vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, num_heads=count)
        return ViTEncoder(vit, (1, 3), pretrained=True)

    three, six = with_heads(3), with_heads(6)
    six.load_state_dict(three.state_dict())
    digests = {token_cache.encoder_digest(e) for e in (three, six, with_heads(3))}
    assert len(digests) == 2


def test_a_file_another_process_deletes_while_it_is_read_stays_deleted(tmp_path, monkeypatch):
    encoder, pixels = make_encoder(), crops(1)
    cache = cache_in(tmp_path)
    with torch.inference_mode():
        whole = cache(encoder, pixels)
        (path,) = files(tmp_path)
        check = token_cache._check
        monkeypatch.setattr(token_cache, "_check", lambda *maps: path.unlink() or check(*maps))
        assert same(cache(encoder, pixels), whole)
    assert cache.hits == 1
    assert files(tmp_path) == []


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_file_is_told_and_made_anew(tmp_path, harm):
    encoder, pixels = make_encoder(), crops(1)
    told = Told()
    with torch.inference_mode():
        whole = cache_in(tmp_path)(encoder, pixels)
        (path,) = files(tmp_path)
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[-5] ^= 1
        path.write_bytes(
            {"cut": data[:-9], "flipped": bytes(flipped), "empty": b"", "foreign": b"hello" * 9}[
                harm
            ]
        )
        cache = cache_in(tmp_path, events=told)
        assert same(cache(encoder, pixels), whole)
        assert same(cache(encoder, pixels), whole)
    assert (cache.hits, cache.misses) == (1, 1)
    assert len(told.texts) == 1
    assert "damaged" in told.texts[0]
    assert path.read_bytes() == data


def test_a_disk_that_refuses_is_told_once_and_training_goes_on(tmp_path):
    encoder, told = make_encoder(), Told()
    folder = tmp_path / "file"
    folder.write_text("in the way")
    with torch.inference_mode():
        cache = cache_in(folder, events=told)
        kept = cache(encoder, crops())
        assert same(kept, cache_in(tmp_path / "else")(encoder, crops()))
    assert len(told.texts) == 1
    assert "keeps nothing more" in told.texts[0]


def test_a_network_and_its_teacher_share_one_cache(tmp_path):
    model = build_settings(overrides={**SMALL, "model.train_encoder": "no"}).model
    network = build_network(["a", "b"], model)
    tokens = cache_in(tmp_path)
    network.keep_tokens(tokens)
    teacher = Teacher(network, 0.9).network
    assert teacher.tokens is tokens
    images = torch.rand(2, 3, 64, 64)
    kept = network.encode(images)
    assert same(teacher.encode(images), kept)
    assert (tokens.hits, tokens.misses) == (2, 2)
    shutil.rmtree(tmp_path)
    assert same(network.encode(images), kept)


def test_a_zoom_of_its_own_misses(tmp_path):
    networks = []
    for zoom in (0.5, 1.0):
        torch.manual_seed(0)
        chosen = {**SMALL, "model.train_encoder": "no", "model.zoom": zoom}
        networks.append(build_network(["a", "b"], build_settings(overrides=chosen).model))
    tokens = cache_in(tmp_path)
    for network in networks:
        network.keep_tokens(tokens)
        network.encode(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert (tokens.hits, tokens.misses) == (0, 4)


def test_a_trained_encoder_is_refused(tmp_path):
    network = build_network(["a", "b"], build_settings(overrides=SMALL).model)
    with pytest.raises(SettingsError, match="cache_gb=0.*train_encoder=no"):
        network.keep_tokens(cache_in(tmp_path))
