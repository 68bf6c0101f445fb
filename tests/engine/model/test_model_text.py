"""Words: contexts reach the answer, padding does not, and the class row is CONCH's."""

import open_clip
import pytest
import torch

from unisemalign.errors import SettingsError
from unisemalign.model import build_text_tower
from unisemalign.model.text import FreeVectors, PromptedText

# "x x x x background" and "x x x x gland" as CONCH's tokenizer writes them (methods.md G).
IDS = torch.zeros(2, 127, dtype=torch.long)
IDS[0, :7] = torch.tensor([1, 1410, 1410, 1410, 1410, 1078, 2])
IDS[1, :7] = torch.tensor([1, 1410, 1410, 1410, 1410, 1245, 2])


def conch_tower(layers: int = 2) -> open_clip.transformer.TextTransformer:
    """A text tower of CONCH's shape, shallower, with random numbers."""
    torch.manual_seed(0)
    return open_clip.transformer.TextTransformer(
        context_length=127,
        vocab_size=32007,
        width=768,
        heads=12,
        layers=layers,
        output_dim=512,
        embed_cls=True,
        pad_id=0,
    ).eval()


def official(tower, ids, context):
    """The full 128 positions, with the tower's own masks: what the published code computes."""
    tokens = tower.token_embedding(ids)
    tokens[:, 1 : 1 + context.shape[1]] = context
    tokens = torch.cat([tokens, tower.cls_emb.expand(len(ids), 1, -1)], 1)
    mask = tower.attn_mask[None] + tower._build_additive_mask(ids, 128, tokens.dtype)
    hidden = tower.transformer(tokens + tower.positional_embedding, attn_mask=mask)
    return tower.ln_final(hidden[:, -1]) @ tower.text_projection


def test_only_the_tokens_that_matter_are_computed_and_the_answer_is_the_full_one():
    text = PromptedText(conch_tower(), IDS, 4)
    assert text._kept_ids().shape == (2, 8)
    with torch.inference_mode():
        assert torch.allclose(text(), official(text.tower, IDS, text.context), atol=1e-5)


def nudge(weights):
    """Noise, not a constant: layer norm would take a constant out again."""
    return torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))


def test_contexts_change_the_answer_and_padding_does_not():
    text = PromptedText(conch_tower(), IDS, 4)
    with torch.no_grad():
        before = text()
        positions = text.tower.positional_embedding
        positions[8:127] += nudge(positions[8:127])
        assert torch.allclose(text(), before, atol=1e-6)
        text.context += nudge(text.context)
        changed = text()
        assert not torch.allclose(changed, before, atol=1e-3)
        positions[7] += nudge(positions[7])
        assert not torch.allclose(text(), changed, atol=1e-4)  # the off-by-one: one pad is seen


def test_without_masks_padding_reaches_the_answer():
    text = PromptedText(conch_tower(), IDS, 4, masks=False)
    with torch.no_grad():
        before = text()
        positions = text.tower.positional_embedding
        positions[100] += nudge(positions[100])
        assert not torch.allclose(text(), before, atol=1e-4)


def test_released_reads_padding_and_no_class_embedding():
    """methods.md A8 rows 9 and 10: 128 ids, no mask, no class row; the highest id is a context."""
    tower = conch_tower()
    text = PromptedText(tower, IDS, 4, "argmax", masks=False)
    ids = torch.cat([IDS, torch.zeros(2, 1, dtype=torch.long)], dim=1)
    with torch.inference_mode():
        tokens = tower.token_embedding(ids)
        tokens[:, 1:5] = text.context
        hidden = tower.transformer(tokens + tower.positional_embedding)
        expected = tower.ln_final(hidden[:, 1]) @ tower.text_projection
        assert torch.allclose(text(), expected, atol=1e-5)
    with torch.no_grad():
        tower.cls_emb += nudge(tower.cls_emb)
        assert torch.allclose(text(), expected, atol=1e-5)


@pytest.mark.parametrize(("pooling", "index"), [("argmax", 1), ("eos", 6), ("cls", 8)])
def test_pooled_positions(pooling, index):
    text = PromptedText(conch_tower(), IDS, 4, pooling)
    assert text._pooled_at(text._kept_ids()).tolist() == [index, index]


def test_the_cls_row_sees_one_pad_and_not_itself():
    text = PromptedText(conch_tower(), IDS, 4)
    ids = text._kept_ids()
    mask = text._mask(ids, torch.zeros(2, 9, 768))
    assert (mask[0, -1] == 0).nonzero().flatten().tolist() == list(range(8))
    assert mask[0, -1, 8] == float("-inf")


def test_the_tower_is_frozen_and_the_context_learns():
    text = PromptedText(conch_tower(), IDS, 4)
    text().sum().backward()
    assert text.context.grad is not None
    assert text.context.grad.abs().sum() > 0
    assert all(p.grad is None for p in text.tower.parameters())


def test_an_open_clip_tower_by_name():
    text = build_text_tower("ViT-B-32", ["background", "gland"], context_tokens=2, weights=False)
    with torch.inference_mode():
        assert text().shape == (2, text.dim) == (2, 512)


def test_bare_names_without_context():
    text = build_text_tower("ViT-B-32", ["background", "gland"], context_tokens=0, weights=False)
    with torch.inference_mode():
        mine = text()
        theirs = official_clip(text.tower, text.token_ids)
    assert torch.allclose(mine, theirs, atol=1e-5)


def official_clip(model, ids):
    return model.encode_text(ids)


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "roberta-ViT-B-32"])
def test_towers_that_read_another_way_are_refused(name):
    with pytest.raises(SettingsError, match="not supported yet"):
        build_text_tower(name, ["a", "b"], weights=False)


def test_words_may_change_between_rounds():
    text = PromptedText(conch_tower(), IDS, 4)
    assert "token_ids" not in text.state_dict()


def test_free_vectors_and_unknown_names():
    free = build_text_tower("free", ["a", "b", "c"])
    assert isinstance(free, FreeVectors)
    assert free().shape == (3, 512)
    with pytest.raises(SettingsError, match="needs to be a model of open_clip"):
        build_text_tower("latin", ["a"])
