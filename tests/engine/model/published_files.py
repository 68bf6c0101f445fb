"""Files of weights as their publishers write them: right names and shapes, random numbers.

The names are written out from the publishers' own code (timm, transformers, open_clip, CONCH), and
the shapes from their model cards, independently of what the engine builds.
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from unisemalign.weights import PUBLISHED
from unisemalign.weights.places import CONCH_TOKENIZER

ENCODERS = [e for e in PUBLISHED if e.kind == "encoder" and e.repo]
TOWERS = [e for e in PUBLISHED if e.kind == "text" and e.repo]

# positions in the file, width of the first linear map of a block's MLP, layer scale, registers
SHAPES = {
    "uni": (197, 4096, True, 0),
    "uni2-h": (256, 8192, True, 8),
    "conch-vision": (785, 3072, False, 0),
    "conch-v1.5": (785, 4096, True, 0),
    "virchow": (257, 6832, True, 0),
    "virchow2": (261, 6832, True, 4),
    "h-optimus-0": (256, 8192, True, 4),
    "h-optimus-1": (256, 8192, True, 4),
    "h0-mini": (256, 4096, True, 4),
    "hibou-b": (257, 4096, True, 4),
    "hibou-l": (257, 5472, True, 4),
    "midnight-12k": (1370, 8192, True, 0),
    "phikon": (197, 3072, False, 0),
    "phikon-v2": (197, 4096, True, 0),
    "kaiko-s16": (197, 1536, False, 0),
    "kaiko-s8": (785, 1536, False, 0),
    "kaiko-b16": (197, 3072, False, 0),
    "kaiko-b8": (785, 3072, False, 0),
    "kaiko-l14": (1369, 4096, True, 4),
    "lunit-s16": (197, 1536, False, 0),
    "lunit-s8": (785, 1536, False, 0),
}
SMALL = {"embed_dim": 192, "depth": 3, "num_heads": 3}
# methods.md G.
CONCH_IDS = {
    "<pad>": 0,
    "<start_of_text>": 1,
    "<end_of_text>": 2,
    "\u0120background": 1078,
    "\u0120gland": 1245,
    "\u0120x": 1410,
}


def shrunk(entry):
    """Return the entry with three narrow blocks and a grid of 4 × 4: everything else as it is."""
    if entry.kind == "text":
        arguments = {**entry.arguments, "heads": 2, "output_dim": 24}
        if arguments.get("head") in {"pooler", "mean"}:
            arguments["output_dim"] = 32
        changes = {"arguments": arguments, "width": 32, "depth": 2}
        if entry.image_tower:
            changes["image_tower"] = shrunk_image_tower(entry.image_tower, arguments["output_dim"])
        return entry.model_copy(update=changes)
    return entry.model_copy(
        update={
            "arguments": {**entry.arguments, **SMALL},
            "width": SMALL["embed_dim"],
            "depth": SMALL["depth"],
            "taps": (0, 2),
            "image_px": (4 * entry.patch,),
        }
    )


def shrunk_image_tower(image_tower, output_dim):
    """Return the image tower with three narrow blocks and two patches a side."""
    changes = {"width": 32, "depth": 3, "heads": 2, "output_dim": output_dim}
    if image_tower.layout == "timm":
        small = {"embed_dim": 32, "depth": 3, "num_heads": 2}
        changes["arguments"] = {**image_tower.arguments, **small}
    return image_tower.model_copy(update={**changes, "image_px": 2 * image_tower.patch})


def image_tower_shapes(entry):
    """Return names and shapes of a pair's whole file, its image side as published."""
    image_tower, out = entry.image_tower, entry.arguments["output_dim"]
    positions = (image_tower.image_px // image_tower.patch) ** 2 + 1
    words = tower_shapes(entry)
    beside = {k: v for k, v in words.items() if not k.startswith(("vis", "visual"))}
    if image_tower.layout == "hf_clip":
        return beside | hf_clip_vision(
            image_tower.width, image_tower.depth, image_tower.patch, positions, out
        )
    if image_tower.layout == "clip":
        return beside | clip_vision(
            image_tower.width, image_tower.depth, image_tower.patch, positions, out
        )
    scaled = "init_values" in image_tower.arguments
    hidden = 4 * image_tower.width
    sizes = (
        image_tower.width,
        image_tower.depth,
        image_tower.patch,
        positions,
        hidden,
        hidden,
        scaled,
        0,
    )
    inner = timm_vit(*sizes)
    if entry.name == "keep":
        head = linear("visual_head.0", out, image_tower.width) | linear("visual_head.2", out, out)
        return beside | {f"visual.{k}": v for k, v in inner.items()} | head
    inner = {f"visual.trunk.{k}": v for k, v in inner.items()}
    if entry.name != "conch":
        return beside | inner | {"visual.head.proj.weight": (out, image_tower.width)}
    return beside | inner | conch_pooler(out, image_tower.width)


def conch_pooler(out, width):
    """Return CONCH's contrastive pooler, and names of the captioning one, which is not wanted."""
    at = "visual.attn_pool_contrast"
    return {
        f"{at}.query": (1, out),
        f"{at}.attn.q_proj_weight": (out, out),
        f"{at}.attn.k_proj_weight": (out, width),
        f"{at}.attn.v_proj_weight": (out, width),
        f"{at}.attn.in_proj_bias": (3 * out,),
        **linear(f"{at}.attn.out_proj", out, out),
        **norm(f"{at}.ln_q", out),
        **norm(f"{at}.ln_k", width),
        **norm("visual.ln_contrast", out),
        "visual.proj_contrast": (out, out),
        "visual.attn_pool_caption.query": (256, 8),
        "visual.ln_caption.weight": (8,),
    }


def clip_vision(width, depth, patch, positions, out):
    blocks = open_clip_text(width, depth, 1, 1, 1)
    inner = {k: v for k, v in blocks.items() if k.startswith("transformer.")}
    inner |= {
        "class_embedding": (width,),
        "positional_embedding": (positions, width),
        "conv1.weight": (width, 3, patch, patch),
        "proj": (width, out),
        **norm("ln_pre", width),
        **norm("ln_post", width),
    }
    return {f"visual.{name}": shape for name, shape in inner.items()}


def hf_clip_vision(width, depth, patch, positions, out):
    at = "vision_model.embeddings"
    blocks = {k: v for k, v in hf_clip_text(width, depth, 1, 1, 1).items() if ".layers." in k}
    return {
        f"{at}.class_embedding": (width,),
        f"{at}.position_ids": (1, positions),
        f"{at}.patch_embedding.weight": (width, 3, patch, patch),
        f"{at}.position_embedding.weight": (positions, width),
        "visual_projection.weight": (out, width),
        **norm("vision_model.pre_layrnorm", width),
        **norm("vision_model.post_layernorm", width),
        **{k.replace("text_model", "vision_model"): v for k, v in blocks.items()},
    }


def linear(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def vit_shapes(entry):
    """Return names and shapes of the whole file of an encoder, as published."""
    positions, hidden, scaled, registers = SHAPES[entry.name]
    full = next(e for e in ENCODERS if e.name == entry.name)
    if entry.width != full.width:
        hidden = int(hidden * entry.width / full.width)
        positions = 16 + positions % full_grid(positions)
    second = hidden // 2 if full.swiglu or entry.name in {"h-optimus-0", "h-optimus-1"} else hidden
    if entry.name == "midnight-12k":
        second = hidden // 2
    sizes = (entry.width, entry.depth, entry.patch, positions, hidden, second, scaled, registers)
    inner = {"timm": timm_vit, "hf_vit": hf_vit, "hf_dinov2": hf_dinov2}[entry.layout](*sizes)
    return {entry.keys + name: shape for name, shape in inner.items()} | unwanted(entry)


def full_grid(positions):
    return int(positions**0.5) ** 2


def unwanted(entry):
    """Return parts of the file that are not wanted."""
    if entry.name == "conch-vision":
        return {
            "text.cls_emb": (8,),
            "text.positional_embedding": (8, 8),
            "text_decoder.text_projection": (8, 8),
            "visual.attn_pool_contrast.query": (1, 8),
            "visual.attn_pool_caption.attn.in_proj_bias": (8,),
            "visual.ln_contrast.weight": (8,),
            "visual.ln_caption.weight": (8,),
            "visual.proj_contrast": (8, 8),
            "logit_scale": (),
        }
    if entry.name == "conch-v1.5":
        return {"attn_pool_contrast.query": (1, 8), "ln_contrast.bias": (8,)}
    return {}


def timm_vit(width, depth, patch, positions, hidden, second, scaled, registers):
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, positions, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        **norm("norm", width),
    }
    if registers:
        shapes["reg_token"] = (1, registers, width)
    for i in range(depth):
        at = f"blocks.{i}"
        shapes |= norm(f"{at}.norm1", width) | norm(f"{at}.norm2", width)
        shapes |= linear(f"{at}.attn.qkv", 3 * width, width)
        shapes |= linear(f"{at}.attn.proj", width, width)
        shapes |= linear(f"{at}.mlp.fc1", hidden, width) | linear(f"{at}.mlp.fc2", width, second)
        if scaled:
            shapes |= {f"{at}.ls1.gamma": (width,), f"{at}.ls2.gamma": (width,)}
    return shapes


def hf_embeddings(width, patch, positions):
    return {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, positions, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
        **norm("layernorm", width),
    }


def hf_vit(width, depth, patch, positions, hidden, second, scaled, registers):
    shapes = hf_embeddings(width, patch, positions) | linear("pooler.dense", width, width)
    for i in range(depth):
        at = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= linear(f"{at}.attention.attention.{part}", width, width)
        shapes |= linear(f"{at}.attention.output.dense", width, width)
        shapes |= linear(f"{at}.intermediate.dense", hidden, width)
        shapes |= linear(f"{at}.output.dense", width, second)
        shapes |= norm(f"{at}.layernorm_before", width) | norm(f"{at}.layernorm_after", width)
    return shapes


def hf_dinov2(width, depth, patch, positions, hidden, second, scaled, registers):
    shapes = hf_embeddings(width, patch, positions) | {"embeddings.mask_token": (1, width)}
    if registers:
        shapes["embeddings.register_tokens"] = (1, registers, width)
    first, last = ("weights_in", "weights_out") if second < hidden else ("fc1", "fc2")
    for i in range(depth):
        at = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= linear(f"{at}.attention.attention.{part}", width, width)
        shapes |= linear(f"{at}.attention.output.dense", width, width)
        shapes |= linear(f"{at}.mlp.{first}", hidden, width)
        shapes |= linear(f"{at}.mlp.{last}", width, second)
        shapes |= norm(f"{at}.norm1", width) | norm(f"{at}.norm2", width)
        shapes |= {f"{at}.layer_scale1.lambda1": (width,), f"{at}.layer_scale2.lambda1": (width,)}
    return shapes


def tower_shapes(entry):
    """Return names and shapes of the whole file of a text tower, as published."""
    width, depth, out = entry.width, entry.depth, entry.arguments["output_dim"]
    vocab, length = entry.arguments["vocab_size"], entry.arguments["context_length"]
    if entry.layout == "coca":
        inner = {f"text.{k}": v for k, v in open_clip_text(width, depth, vocab, 128, out).items()}
        return inner | {
            "text.cls_emb": (width,),
            "visual.trunk.cls_token": (1, 1, 8),
            "visual.proj_contrast": (8, 8),
            "text_decoder.ln_final.weight": (8,),
            "logit_scale": (),
        }
    if entry.layout == "clip":
        inner = open_clip_text(width, depth, vocab, length, out)
        return inner | {"visual.class_embedding": (8,), "logit_scale": ()}
    if entry.layout == "hf_clip":
        return hf_clip_text(width, depth, vocab, length, out)
    if entry.name == "keep":
        inner = {f"text.{k}": v for k, v in bert(width, depth, vocab).items()}
        inner |= linear("text.pooler.dense", out, width)
        beside = {"visual.cls_token": (1, 1, 8), "visual_head.0.bias": (8,), "logit_scale": ()}
        return inner | beside
    if entry.name == "minilm":
        whole = bert(width, depth, vocab) | linear("pooler.dense", width, width)
        return whole | {"embeddings.position_ids": (1, 512)}
    inner = {f"text.transformer.{k}": v for k, v in bert(width, depth, vocab).items()}
    between = (width + out) // 2
    return inner | {
        "text.transformer.embeddings.position_ids": (1, 512),
        "text.proj.0.weight": (between, width),
        "text.proj.2.weight": (out, between),
        "visual.head.proj.weight": (8, 8),
        "logit_scale": (),
    }


def open_clip_text(width, depth, vocab, positions, out):
    shapes = {
        "token_embedding.weight": (vocab, width),
        "positional_embedding": (positions, width),
        "text_projection": (width, out),
        **norm("ln_final", width),
    }
    for i in range(depth):
        at = f"transformer.resblocks.{i}"
        shapes |= {
            f"{at}.attn.in_proj_weight": (3 * width, width),
            f"{at}.attn.in_proj_bias": (3 * width,),
            **linear(f"{at}.attn.out_proj", width, width),
            **linear(f"{at}.mlp.c_fc", 4 * width, width),
            **linear(f"{at}.mlp.c_proj", width, 4 * width),
            **norm(f"{at}.ln_1", width),
            **norm(f"{at}.ln_2", width),
        }
    return shapes


def hf_clip_text(width, depth, vocab, positions, out):
    shapes = {
        "text_model.embeddings.token_embedding.weight": (vocab, width),
        "text_model.embeddings.position_embedding.weight": (positions, width),
        "text_model.embeddings.position_ids": (1, positions),
        "text_projection.weight": (out, width),
        "vision_model.embeddings.class_embedding": (8,),
        "visual_projection.weight": (8, 8),
        "logit_scale": (),
        **norm("text_model.final_layer_norm", width),
    }
    for i in range(depth):
        at = f"text_model.encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"{at}.self_attn.{part}", width, width)
        shapes |= linear(f"{at}.mlp.fc1", 4 * width, width)
        shapes |= linear(f"{at}.mlp.fc2", width, 4 * width)
        shapes |= norm(f"{at}.layer_norm1", width) | norm(f"{at}.layer_norm2", width)
    return shapes


def bert(width, depth, vocab):
    shapes = {
        "embeddings.word_embeddings.weight": (vocab, width),
        "embeddings.position_embeddings.weight": (512, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        **norm("embeddings.LayerNorm", width),
    }
    for i in range(depth):
        at = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= linear(f"{at}.attention.self.{part}", width, width)
        shapes |= linear(f"{at}.attention.output.dense", width, width)
        shapes |= norm(f"{at}.attention.output.LayerNorm", width)
        shapes |= linear(f"{at}.intermediate.dense", 4 * width, width)
        shapes |= linear(f"{at}.output.dense", width, 4 * width)
        shapes |= norm(f"{at}.output.LayerNorm", width)
    return shapes


def numbers(shapes, seed=0):
    """Return random tensors of these shapes; position numbers are whole, as in the files."""
    generator = torch.Generator().manual_seed(seed)
    state = {k: 0.1 * torch.randn(v, generator=generator) for k, v in shapes.items()}
    for name in state:
        if name.endswith("position_ids"):
            state[name] = torch.arange(shapes[name][1])[None]
    return state


def write(entry, state, folder):
    """Write the state under the first of the entry's file names, and return its path."""
    path = folder / entry.files[0]
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def conch_tokenizer(folder, ids=CONCH_IDS):
    """Write a tokenizer like CONCH's: same normaliser, splitting, special ids; a few words."""
    vocab = dict(ids)
    merges = []
    free = iter(range(100, 1000))
    for word in [word for word in ids if word.startswith("\u0120")]:
        for size in range(1, len(word) + 1):
            vocab.setdefault(word[size - 1], next(free))
            if size > 1:
                vocab.setdefault(word[:size], next(free))
                merges.append((word[: size - 1], word[size - 1]))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start_of_text> $A <end_of_text>",
        special_tokens=[("<start_of_text>", 1), ("<end_of_text>", 2)],
    )
    tokenizer.save(str(folder / CONCH_TOKENIZER))
