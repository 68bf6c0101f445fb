"""What an encoder's frozen features are worth: a linear probe on three organs, in minutes.

    python pretraining/probe.py --data SHARED [--encoder embedded] [--zoom 0.5]
    python pretraining/probe.py --data SHARED --encoder run --file RUN/organs.safetensors
    python pretraining/probe.py --data SHARED --encoder imagenet --file LITE0.pth

Of each data set (``glas``, ``luad``, ``testis``, folders of ``--data`` with ``images/``, ``masks/``
and ``splits.toml``) the labelled images of the partition teach a logistic regression on each
pixel's features, both taps side by side at stride 4 of the encoder's input. Scored is the mean
Dice, in percent, over all pixels of the validation images and of up to 40 unlabelled ones, whose
masks nothing else reads here. Nothing is drawn at random: the same file gives the same scores.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lite import ImageNetLevels, organs_encoder
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unisemalign.model.encoders import Encoder, build_encoder

IGNORED = 255
STRIDE = 4
UNLABELLED = 40
PENALTY = 3e-3


@dataclass(frozen=True)
class Probed:
    """A data set: its folder, partition, classes, and whether masks are 0 and 255."""

    name: str
    partition: str
    classes: int
    binary: bool


SETS = (
    Probed("glas", "glas_10", 2, True),
    Probed("luad", "luad_8", 3, False),
    Probed("testis", "testis_5", 2, True),
)


def read_pairs(
    folder: Path, names: list[str], *, binary: bool
) -> Iterator[tuple[Tensor, NDArray[np.uint8]]]:
    """Yield images ``(3, H, W)`` in 0…1 and class planes ``(H, W)``, 255 where none is told."""
    for name in names:
        path = next(p for p in (folder / "images").iterdir() if p.stem == name)
        image = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
        plane = Image.open(folder / "masks" / f"{name}.png")
        if binary:
            truth = (np.array(plane.convert("L")) > 0).astype(np.uint8)
        else:
            truth = np.array(plane, np.uint8)
        yield torch.from_numpy(image).permute(2, 0, 1), truth


@torch.inference_mode()
def pixel_features(encoder: Encoder, image: Tensor, zoom: float) -> Tensor:
    """Return features ``(C, h, w)`` of both taps at stride 4 of the zoomed ``(3, H, W)``."""
    step = max(encoder.multiple, STRIDE)
    size = [max(1, round(side * zoom / step)) * step for side in image.shape[1:]]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (encoder.mean, encoder.std))
    seen = F.interpolate((image[None] - mean) / std, size=size, mode="bilinear", antialias=zoom < 1)
    low, high = encoder(seen)
    grid = (size[0] // STRIDE, size[1] // STRIDE)
    if low.shape[2] > grid[0]:
        low = F.adaptive_avg_pool2d(low, grid)
    maps = [F.interpolate(m, size=grid, mode="bilinear") for m in (low, high)]
    return torch.cat(maps, 1)[0]


def on_grid(truth: NDArray[np.uint8], grid: tuple[int, int]) -> Tensor:
    """Return the class plane at the features' size, by nearest neighbour."""
    plane = torch.from_numpy(truth)[None, None].float()
    return F.interpolate(plane, size=grid, mode="nearest-exact")[0, 0].long()


def fit(features: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return weights ``(C + 1, classes)`` of a logistic regression; each class counts alike."""
    count = torch.bincount(truth, minlength=classes).clamp(min=1)
    share = len(truth) / (classes * count.float())
    weights = torch.zeros(features.shape[1] + 1, classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights], max_iter=80, history_size=8, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = features @ weights[:-1] + weights[-1]
        loss = F.cross_entropy(logits, truth, share) + PENALTY * weights[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach()


def probe(encoder: Encoder, data: Path, probed: Probed, zoom: float) -> float:
    """Return the mean Dice, in percent, of a linear probe on one data set."""
    folder = data / probed.name
    split = tomllib.loads((folder / "splits.toml").read_text())[probed.partition]
    encoder = encoder.eval()
    rows, marks = [], []
    for image, truth in read_pairs(folder, split["labeled"], binary=probed.binary):
        found = pixel_features(encoder, image, zoom)
        plane = on_grid(truth, (found.shape[1], found.shape[2]))
        told = plane != IGNORED
        rows.append(found[:, told].T)
        marks.append(plane[told])
    features, truths = torch.cat(rows), torch.cat(marks)
    center, spread = features.mean(0), features.std(0) + 1e-5
    weights = fit((features - center) / spread, truths, probed.classes)
    names = split["val"] + split["unlabeled"][:UNLABELLED]
    both = torch.zeros(probed.classes, probed.classes)
    for image, truth in read_pairs(folder, names, binary=probed.binary):
        found = pixel_features(encoder, image, zoom)
        logits = ((found.flatten(1).T - center) / spread) @ weights[:-1] + weights[-1]
        said = logits.argmax(1).view(found.shape[1:])
        plane = on_grid(truth, (found.shape[1], found.shape[2]))
        told = plane != IGNORED
        both += torch.bincount(
            plane[told] * probed.classes + said[told], minlength=probed.classes**2
        ).view(probed.classes, -1)
    dice = 2 * both.diag() / (both.sum(0) + both.sum(1)).clamp(min=1)
    return round(100 * float(dice.mean()), 2)


def probe_all(encoder: Encoder, data: Path, zoom: float) -> dict[str, float]:
    """Return the score of every data set."""
    return {one.name: probe(encoder, data, one, zoom) for one in SETS}


def main() -> None:
    """Read the command line, probe, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds glas, luad and testis")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--file", type=Path, help="weights of 'run' or 'imagenet'")
    parser.add_argument("--zoom", type=float, default=0.5)
    given = parser.parse_args()
    ours = {"run": organs_encoder, "imagenet": ImageNetLevels}
    if given.encoder in ours:
        encoder: Encoder = ours[given.encoder](given.file)
    else:
        encoder = build_encoder(given.encoder)
    print(json.dumps(probe_all(encoder, given.data, given.zoom)))


if __name__ == "__main__":
    main()
