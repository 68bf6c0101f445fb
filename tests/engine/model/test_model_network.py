import pytest
import torch
from open_clip.transformer import TextTransformer
from safetensors.torch import save_file

from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model import build_encoder, build_network, load_network, save_network
from unisemalign.model.checkpoints import load_trained_state, trained_state
from unisemalign.model.encoders import ViTEncoder
from unisemalign.model.text import PromptedText
from unisemalign.settings import build_settings

TWO = ["background", "gland"]


@pytest.mark.parametrize("name", ["embedded", "organs", "vit_tiny_patch16_224", "resnet18"])
def test_every_encoder_keeps_the_contract(name):
    encoder = build_encoder(name, weights=False).eval()
    side = 4 * encoder.multiple
    with torch.inference_mode():
        low, high = encoder(torch.rand(2, 3, side, 2 * side))
    for maps, channels, stride in (
        (low, encoder.low_channels, encoder.low_stride),
        (high, encoder.high_channels, encoder.high_stride),
    ):
        assert maps.shape == (2, channels, side // stride, 2 * side // stride)
    assert len(encoder.mean) == len(encoder.std) == 3


def test_unknown_names_are_told():
    with pytest.raises(SettingsError, match="no model of that name in timm"):
        build_encoder("resnet_of_dreams")


def test_absent_weights_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="unisemalign weights get"):
        build_encoder("hf-hub:nobody/nothing")


def test_a_vit_stops_at_the_deepest_tap():
    """methods.md G: outputs of the taps are equal whether 10 or 24 blocks exist."""
    import timm

    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", dynamic_img_size=True, num_classes=0, img_size=64
    ).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        whole = vit.forward_intermediates(images, indices=[1, 4], intermediates_only=True)
        cut = ViTEncoder(vit, (1, 4), pretrained=True).eval()
        stopped = cut(images)
    assert len(cut.vit.blocks) == 5
    for a, b in zip(whole, stopped, strict=True):
        assert torch.equal(a, b)


def test_released_trains_24_million_parameters():
    """methods.md G: ASPP 15.5, pixel head 4.7, projections 2.4, fuse 1.3, text 0.14 million."""
    settings = build_settings("released").model.model_copy(update={"encoder": "uni"})
    with torch.device("meta"):  # shapes only: 300 million random numbers would take minutes
        network = build_network(TWO, settings, encoder_weights=False)
    tower = TextTransformer(127, 32007, 768, 12, layers=1, output_dim=512, embed_cls=True)
    network.semantic.text = PromptedText(tower, torch.ones(2, 127, dtype=torch.long), 4)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trained / 1e6 == pytest.approx(24.1, abs=0.1)
    assert not any(p.requires_grad for p in network.encoder.parameters())
    assert not any(p.requires_grad for p in network.semantic.text.tower.parameters())
    assert network.semantic.text.context.requires_grad
    assert network.encoder.vit.blocks[0].attn.num_heads == 16
    assert len(network.encoder.vit.blocks) == 10


@pytest.mark.parametrize(("zoom", "stem", "crop"), [(0.5, 16, 96), (1.0, 0, 64), (2.0, 8, 32)])
def test_logits_are_as_large_as_the_image(zoom, stem, crop):
    settings = build_settings().model.model_copy(update={"zoom": zoom, "stem_dim": stem})
    network = build_network(["a", "b", "c"], settings).eval()
    with torch.inference_mode():
        logits = network.logits(network.features(torch.rand(2, 3, crop, crop)), network.words(), 1)
    assert logits.decoder.shape == logits.prototype.shape == logits.text.shape == (2, 3, crop, crop)
    assert logits.prototype.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("preset", ["recommended", "released"])
def test_training_reaches_every_trained_part(preset):
    settings = build_settings(preset)
    small = settings.model.model_copy(update={"high_dim": 32, "decoder_dim": 16})
    network = build_network(TWO, small).train()
    logits = network.logits(network.features(torch.rand(2, 3, 64, 64)), network.words(), 1.0)
    (logits.decoder**2 + logits.prototype + logits.text).mean().backward()
    still = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not still


def test_a_frozen_encoder_stays_as_it_is():
    settings = build_settings().model.model_copy(update={"train_encoder": "no"})
    network = build_network(TWO, settings).train()
    before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    loss = network.decode(network.features(torch.rand(2, 3, 64, 64))).mean()
    loss.backward()
    assert all(p.grad is None for p in network.encoder.parameters())
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_saved_networks_come_back_with_settings_and_classes(tmp_path):
    settings = build_settings(overrides={"model.decoder_dim": 16})
    network = build_network(TWO, settings.model).eval()
    save_network(network, tmp_path / "best.safetensors", settings, {n: n for n in TWO})
    again, their_settings, words = load_network(tmp_path / "best.safetensors")
    assert (their_settings, words) == (settings, TWO)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(
            network.decode(network.features(images)), again.decode(again.features(images))
        )


def test_published_weights_are_never_written_and_our_own_always_are():
    settings = build_settings().model.model_copy(update={"train_encoder": "no"})
    network = build_network(TWO, settings)
    assert any(k.startswith("encoder.") for k in trained_state(network))
    network.encoder.ours = False
    assert not any(k.startswith("encoder.") for k in trained_state(network))


def test_a_frozen_untrained_encoder_comes_back_the_same(tmp_path):
    settings = build_settings(overrides={"model.train_encoder": "no"})
    network = build_network(TWO, settings.model).eval()
    save_network(network, tmp_path / "best.safetensors", settings, {n: n for n in TWO})
    again, _, _ = load_network(tmp_path / "best.safetensors")
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network.encode(images)[1], again.encode(images)[1])


def test_a_model_says_which_weights_it_was_trained_on(tmp_path, monkeypatch):
    settings = build_settings(overrides={"model.decoder_dim": 16})
    network = build_network(TWO, settings.model).eval()
    network.encoder.weights_sha256 = "a" * 64
    save_network(network, tmp_path / "best.safetensors", settings, {n: n for n in TWO})
    assert load_network(tmp_path / "best.safetensors")[0].encoder.weights_sha256 is None
    monkeypatch.setattr(type(network.encoder), "weights_sha256", "b" * 64)
    with pytest.raises(WeightsError, match="trained on other weights of 'embedded'.*aaaa.*bbbb"):
        load_network(tmp_path / "best.safetensors")


def test_a_model_says_which_words_it_was_trained_on(tmp_path, monkeypatch):
    """Contexts learned through one tower's file mean nothing in another's."""
    settings = build_settings(overrides={"model.decoder_dim": 16})
    network = build_network(TWO, settings.model).eval()
    network.semantic.text.weights_sha256 = "a" * 64
    save_network(network, tmp_path / "best.safetensors", settings, {n: n for n in TWO})
    monkeypatch.setattr(type(network.semantic.text), "weights_sha256", "b" * 64)
    with pytest.raises(WeightsError, match="trained on other weights of 'free'.*aaaa.*bbbb"):
        load_network(tmp_path / "best.safetensors")


@pytest.mark.parametrize("name", ["mobilevit_xxs", "swin_tiny_patch4_window7_224"])
def test_hierarchical_models_work_or_are_refused_in_words(name):
    if name.startswith("swin"):
        with pytest.raises(SettingsError, match="images of any size, 'swin"):
            build_encoder(name, weights=False)
    else:
        with torch.inference_mode():
            assert build_encoder(name, weights=False)(torch.rand(1, 3, 64, 64))[1].shape[0] == 1


def test_weights_outside_the_hub_are_refused():
    with pytest.raises(WeightsError, match="no weights on the Hugging Face hub"):
        build_encoder("legacy_senet154")


def test_weights_of_another_shape_are_refused():
    settings = build_settings().model
    state = trained_state(build_network(["a", "b", "c"], settings))
    with pytest.raises(WeightsError, match="do not fit.*start_from=scratch"):
        load_trained_state(build_network(TWO, settings), state)


@pytest.mark.parametrize("content", [b"", b"no safetensors at all"])
def test_damaged_weights_are_told(tmp_path, content):
    path = tmp_path / "best.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="Cannot read the weights"):
        load_network(path)
    with pytest.raises(WeightsError, match="Cannot read the weights"):
        load_network(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    "about",
    [
        {"settings": "no JSON", "classes": "{}"},
        {"settings": "[" * 5000, "classes": '{"a": "a"}'},
        {"settings": "[1]", "classes": '{"a": "a"}'},
        {"settings": '{"model": 5}', "classes": '{"a": "a"}'},
        {"settings": "{}", "classes": '["a", "b"]'},
        {"settings": "{}", "classes": '{"a": 1}'},
        {"settings": "{}", "classes": "{}"},
    ],
)
def test_a_header_that_is_not_ours_is_told(tmp_path, about):
    path = tmp_path / "best.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata=about)
    with pytest.raises(WeightsError, match="needs our settings and classes in its header"):
        load_network(path)
