"""How well clusters tell GlaS's glands apart, once a person has named them as well as can be.

    python benchmarks/guess.py --data GLAS [--clusters 2,3,4,5,6] [--seed 0]

Every image of the partition's val part is guessed without any label; then, of all ways to call each
cluster gland or background, the one with the best mean Dice is taken. That is a person who names
well, not a lucky one: the names hold for all images at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from unisemalign.geometry import Rect
from unisemalign.guess import guess_by_clusters
from unisemalign.metrics import OverlapScores
from unisemalign.project import FirstGuess, Project
from unisemalign.runtime import CancelToken, SilentEvents

SPACING_UM = 0.62


def scored(project: Project, masks: dict[str, np.ndarray], count: int, seed: int) -> dict:
    """Return the best mean Dice with ``count`` clusters, its names, and the time they took."""
    started = time.monotonic()
    guess_by_clusters(
        project, list(masks), None, count, seed=seed, events=SilentEvents(), cancel=CancelToken()
    )
    seconds = time.monotonic() - started
    guess = FirstGuess(project)
    numbers = {
        name: guess.clusters(name).read(Rect(0, 0, *mask.shape)) for name, mask in masks.items()
    }
    best = {"clusters": count, "mdice": 0.0, "names": ()}
    for names in itertools.product((0, 1), repeat=count):
        table = np.array([0, *names], np.uint8)
        scores = OverlapScores(2)
        for name, mask in masks.items():
            scores.add(table[numbers[name]], mask)
        if (found := float(scores.dice.mean())) > best["mdice"]:
            best |= {"mdice": found, "names": names}
    return {**best, "seconds": round(seconds, 1)}


def main() -> None:
    """Guess, name, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clusters", default="2,3,4,5,6")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    splits = tomllib.loads((chosen.data / "splits.toml").read_text(encoding="utf-8"))
    masks = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "p.unisem"
        with Project.create(root, classes=["background", "gland"], spacing_um=SPACING_UM) as made:
            for stem in splits["glas_10"]["val"]:
                name = made.add_slide(
                    chosen.data / "images" / f"{stem}.png", spacing_um=SPACING_UM
                ).name
                with Image.open(chosen.data / "masks" / f"{stem}.png") as mask:
                    masks[name] = (np.array(mask) > 0).astype(np.uint8)
            for count in (int(each) for each in chosen.clusters.split(",")):
                print(json.dumps(scored(made, masks, count, chosen.seed)), flush=True)


if __name__ == "__main__":
    main()
