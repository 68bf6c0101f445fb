"""Train the embedded encoder on EBHI-SEG and write it as float16 safetensors.

    python pretraining/pretrain.py --data EBHI_SEG --out RUN [--steps N]

Every number that shapes the result is a field of :class:`Recipe`, is written to ``RUN/log.jsonl``
first, and can be changed on the command line. A run that was stopped goes on where its last
checkpoint stands. ``RUN/embedded.safetensors`` is the average of the weights over time.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.model.encoders.embedded import EmbeddedEncoder
from unisemalign.runtime.files import write_atomically
from unisemalign.training.views import stain_jitter

GRADES = (
    "normal",
    "polyp",
    "low_grade_in",
    "high_grade_in",
    "serrated_adenoma",
    "adenocarcinoma",
)


@dataclass(frozen=True)
class Recipe:
    """What shapes the encoder."""

    seed: int = 0
    steps: int = 3800
    batch: int = 16
    crop_px: int = 192
    rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    average: float = 0.998
    mask_weight: float = 1.0
    deep_weight: float = 0.4
    grade_weight: float = 0.2
    rebuild_weight: float = 0.5
    hidden_share: float = 0.3
    hidden_px: int = 16
    scale_min: float = 0.6
    scale_max: float = 1.7
    stain: float = 0.35
    colour: float = 0.4
    tint: float = 0.1
    held_out: float = 0.1


@dataclass(frozen=True)
class Fields:
    """Images ``(N, 3, H, W)`` uint8, masks ``(N, H, W)`` uint8, grade of each, train or not."""

    images: Tensor
    masks: Tensor
    grades: Tensor
    train: Tensor


def read_fields(root: Path, recipe: Recipe) -> Fields:
    """Read every image that has a mask; whole cases are held out, by the stem's first part."""
    images, masks, grades, cases = [], [], [], []
    for grade, name in enumerate(GRADES):
        for path in sorted((root / "images" / name).iterdir()):
            mask = root / "masks" / name / f"{path.stem}.png"
            if not mask.exists():
                continue
            image = Image.open(path).convert("RGB").resize((224, 224))
            plane = Image.open(mask).convert("L").resize((224, 224), Image.Resampling.NEAREST)
            images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
            masks.append(torch.from_numpy((np.array(plane) > 0).astype(np.uint8)))
            grades.append(grade)
            cases.append(path.stem.split("-")[0])
    names = sorted(set(cases))
    order = np.random.default_rng(recipe.seed).permutation(len(names))
    held = {names[i] for i in order[: round(recipe.held_out * len(names))]}
    return Fields(
        torch.stack(images),
        torch.stack(masks),
        torch.tensor(grades),
        torch.tensor([case not in held for case in cases]),
    )


class Pretrainer(nn.Module):
    """The encoder and the heads that teach it: mask, coarse mask, grade, hidden pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EmbeddedEncoder(weights=False)
        low, high = self.encoder.low_channels, self.encoder.high_channels
        self.mask = nn.Conv2d(low, 1, 1)
        self.deep = nn.Conv2d(high, 1, 1)
        self.grade = nn.Sequential(nn.LayerNorm(high), nn.Linear(high, len(GRADES)))
        self.rebuild = nn.Conv2d(low, 3, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return logits of mask and coarse mask at image size, the deep map, rebuilt pixels."""
        mean = images.new_tensor(self.encoder.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.encoder.std).view(1, 3, 1, 1)
        low, high = self.encoder((images - mean) / std)
        size = images.shape[2:]

        def stretch(maps: Tensor) -> Tensor:
            return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

        return stretch(self.mask(low)), stretch(self.deep(high)), high, stretch(self.rebuild(low))


def disturbed(
    fields_: Fields, picked: Tensor, recipe: Recipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return crops ``(B, 3, S, S)`` in 0…1 and masks ``(B, S, S)`` of the picked fields.

    Turned by any angle, mirrored, scaled; stains, brightness, contrast and tint change.
    """
    side, count = recipe.crop_px, len(picked)
    images = fields_.images[picked].float() / 255
    masks = fields_.masks[picked].float()[:, None]
    width = images.shape[-1]
    theta = torch.zeros(count, 2, 3)
    for k in range(count):
        scale = math.exp(rng.uniform(math.log(recipe.scale_min), math.log(recipe.scale_max)))
        half = side / width / scale
        angle = rng.uniform(0, 2 * math.pi)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        room = max(0.0, 1 - half)
        c, s = half * math.cos(angle), half * math.sin(angle)
        shift = rng.uniform(-room, room, 2)
        theta[k] = torch.tensor([[mirror * c, -s, shift[0]], [mirror * s, c, shift[1]]])
    grid = F.affine_grid(theta, [count, 3, side, side], align_corners=False)
    crops = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    truth = F.grid_sample(
        masks, grid, mode="nearest", padding_mode="reflection", align_corners=False
    )
    out = []
    for crop in crops:
        image = stain_jitter(crop.clamp(0, 1), recipe.stain, rng)
        gain = torch.tensor(
            rng.uniform(1 - recipe.colour, 1 + recipe.colour)
            * rng.uniform(1 - recipe.tint, 1 + recipe.tint, 3),
            dtype=torch.float32,
        )
        gamma = math.exp(rng.uniform(-recipe.colour, recipe.colour))
        image = (image.clamp(1e-3, 1) ** gamma) * gain.view(3, 1, 1)
        if rng.random() < 0.1:
            image = image.mean(0, keepdim=True).expand(3, -1, -1)
        out.append(image.clamp(0, 1))
    return torch.stack(out), truth[:, 0]


def hidden(count: int, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Return ``(B, 1, S, S)``, 1 where pixels are hidden; half of the crops hide nothing."""
    cells = recipe.crop_px // recipe.hidden_px
    plane = rng.random((count, 1, cells, cells)) < recipe.hidden_share
    plane[: count // 2] = False
    return (
        torch.from_numpy(plane.astype(np.float32))
        .repeat_interleave(recipe.hidden_px, 2)
        .repeat_interleave(recipe.hidden_px, 3)
    )


def losses(
    model: Pretrainer, images: Tensor, masks: Tensor, grades: Tensor, cover: Tensor, recipe: Recipe
) -> dict[str, Tensor]:
    """Return the weighted parts."""
    seen = torch.where(cover > 0, images.mean((2, 3), keepdim=True), images)
    fine, coarse, high, rebuilt = model(seen)
    fine, coarse = fine[:, 0], coarse[:, 0]
    small = F.adaptive_avg_pool2d(masks[:, None], high.shape[2:])
    pooled = (high * small).sum((2, 3)) / small.sum((2, 3)).clamp(min=1e-3)
    covered = cover.sum().clamp(min=1)
    return {
        "mask": recipe.mask_weight
        * (F.binary_cross_entropy_with_logits(fine, masks) + dice_loss(fine, masks)),
        "deep": recipe.deep_weight * F.binary_cross_entropy_with_logits(coarse, masks),
        "grade": recipe.grade_weight * F.cross_entropy(model.grade(pooled), grades),
        "rebuild": recipe.rebuild_weight
        * ((rebuilt - images).abs() * cover).sum()
        / (3 * covered)
        * 10,
    }


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return 1 − soft Dice over the batch."""
    share = logits.sigmoid()
    return 1 - (2 * (share * truth).sum() + 1) / (share.sum() + truth.sum() + 1)


@torch.inference_mode()
def held_out_scores(model: Pretrainer, fields_: Fields) -> dict[str, float]:
    """Return Dice of the mask and share of right grades on the held-out cases."""
    model.eval()
    inter = total = right = 0.0
    rows = (~fields_.train).nonzero().flatten()
    for start in range(0, len(rows), 16):
        picked = rows[start : start + 16]
        masks = fields_.masks[picked].float()
        fine, _, high, _ = model(fields_.images[picked].float() / 255)
        said = (fine[:, 0] > 0).float()
        inter += float((said * masks).sum())
        total += float(said.sum() + masks.sum())
        small = F.adaptive_avg_pool2d(masks[:, None], high.shape[2:])
        pooled = (high * small).sum((2, 3)) / small.sum((2, 3)).clamp(min=1e-3)
        right += float((model.grade(pooled).argmax(1) == fields_.grades[picked]).sum())
    return {"dice": round(2 * inter / total, 4), "grade": round(right / len(rows), 4)}


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the averaged weights towards the model's."""
    mine = average.state_dict()
    for name, theirs in model.state_dict().items():
        if theirs.is_floating_point():
            mine[name].mul_(keep).add_(theirs, alpha=1 - keep)
        else:
            mine[name].copy_(theirs)


def write_encoder(model: Pretrainer, path: Path, about: dict[str, str]) -> None:
    """Write the encoder as float16 safetensors."""
    state = {
        k: (v.half() if v.is_floating_point() else v).contiguous().cpu()
        for k, v in model.encoder.state_dict().items()
    }
    with write_atomically(path) as part:
        save_file(state, part, metadata=about)


def pretrain(
    data: Path, out: Path, recipe: Recipe, *, every: int, until: int | None = None
) -> None:
    """Train, from the last checkpoint where there is one, and stop early at step ``until``."""
    if not (out / "log.jsonl").exists() and out.is_dir() and any(out.iterdir()):
        raise FileExistsError(
            f"A run needs a new folder or one of its own, found others in '{out}'"
        )
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    fields_ = read_fields(data, recipe)
    model = Pretrainer().to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.rate,
        weight_decay=recipe.weight_decay,
    )
    first, saved = 0, out / "last.pt"
    if saved.exists():
        state = torch.load(saved, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    log = (out / "log.jsonl").open("a", encoding="utf-8")

    def tell(**what: object) -> None:
        line = json.dumps(what)
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    tell(
        event="start",
        step=first,
        recipe=asdict(recipe),
        images=int(fields_.train.sum()),
        held_out=int((~fields_.train).sum()),
        parameters=sum(p.numel() for p in model.encoder.parameters()),
        device=device.type,
        threads=torch.get_num_threads(),
    )
    rows = fields_.train.nonzero().flatten()
    per_epoch = len(rows) // recipe.batch
    started = time.monotonic()
    for step in range(first, min(recipe.steps, until or recipe.steps)):
        rng = np.random.default_rng([recipe.seed, step])
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([recipe.seed, epoch, 1]).permutation(len(rows))
        picked = rows[order[place * recipe.batch : (place + 1) * recipe.batch]]
        images, masks = disturbed(fields_, picked, recipe, rng)
        cover = hidden(recipe.batch, recipe, rng)
        rise = min(1.0, (step + 1) / recipe.warmup_steps)
        fall = 0.5 + 0.5 * math.cos(math.pi * step / recipe.steps)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * rise * max(fall, 0.01)
        model.train()
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        parts = losses(
            model,
            images.to(device).contiguous(memory_format=torch.channels_last),
            masks.to(device),
            fields_.grades[picked].to(device),
            cover.to(device),
            recipe,
        )
        optimiser.zero_grad(set_to_none=True)
        total = torch.stack(list(parts.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        follow(average, model, min(recipe.average, (1 + step) / (10 + step)))
        done = step + 1
        if done % 50 == 0:
            seconds = (time.monotonic() - started) / (done - first)
            tell(
                event="step",
                step=done,
                seconds_per_step=round(seconds, 3),
                **{k: round(float(v.detach()), 4) for k, v in parts.items()},
            )
        if done % every == 0 or done == recipe.steps:
            scores = held_out_scores(average, fields_)
            tell(event="held_out", step=done, **scores)
            about = {"step": str(done), "recipe": json.dumps(asdict(recipe))}
            write_encoder(average, out / "embedded.safetensors", about)
            memory = io.BytesIO()
            torch.save(
                {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": done,
                },
                memory,
            )
            with write_atomically(saved) as part:
                part.write_bytes(memory.getbuffer())


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="EBHI-SEG: images/ and masks/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; it resumes")
    parser.add_argument("--until", type=int, help="stop at this step; the next call goes on")
    parser.add_argument("--every", type=int, default=250, help="steps between checkpoints")
    for field in fields(Recipe):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    given = vars(parser.parse_args())
    data, out = given.pop("data"), given.pop("out")
    every, until = given.pop("every"), given.pop("until")
    pretrain(data, out, Recipe(**given), every=every, until=until)


if __name__ == "__main__":
    main()
