"""A trained round met by another stain: what matching and the slide's own statistics are worth.

    python benchmarks/stains.py --data SHARED [--organ glas] [--steps 400] [--seeds 0,1,2]

Trains on the labelled images of a partition (``benchmarks/organs.py``) and scores its validation
images as they are and in three drawn stains: each a fixed change of optical densities, as another
laboratory or scanner would give. Every image is a slide of its own.
"""

from __future__ import annotations

import argparse
import statistics
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from organs import ORGANS, make_project
from PIL import Image

from unisemalign.cli.options import parse_seeds
from unisemalign.exchange import import_mask
from unisemalign.inference import load_predictor, score_split
from unisemalign.project import Project, Split
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import train_round, unfinished_round

STAINS: dict[str, NDArray[np.float64]] = {
    "as it is": np.eye(3),
    "pale": 0.55 * np.eye(3),
    "brown": np.array([[0.7, 0.0, 0.25], [0.0, 0.7, 0.25], [0.0, 0.1, 0.9]]),
    "blue and dark": np.array([[1.5, 0.15, 0.0], [0.25, 1.1, 0.0], [0.0, 0.0, 0.9]]),
}
USES: dict[str, tuple[str, ...]] = {
    "as trained": (),
    "match_stain": ("inference.match_stain=true",),
    "slide_norms 0.5": ("inference.slide_norms=0.5",),
    "slide_norms 1": ("inference.slide_norms=1",),
    "both, norms 0.5": ("inference.match_stain=true", "inference.slide_norms=0.5"),
}


def draw_stained(data: Path, organ: str, stain: str, root: Path) -> Project:
    """Return a project of the validation images in a stain, as test slides; made if missing."""
    if root.exists():
        return Project.open(root)
    about, folder = ORGANS[organ], data / organ
    names = tomllib.loads((folder / "splits.toml").read_text(encoding="utf-8"))[about.partition]
    images = {path.stem: path for path in (folder / "images").iterdir()}
    drawn = root.with_suffix(".images")
    drawn.mkdir(parents=True, exist_ok=True)
    making = root.with_name(f"making-{root.name}")
    with Project.create(making, classes=about.classes, spacing_um=about.spacing_um) as project:
        for name in names["val"]:
            pixels = np.array(Image.open(images[name]).convert("RGB"))
            density = -np.log(np.maximum(pixels, 1) / 255) @ STAINS[stain]
            path = drawn / f"{name}.png"
            Image.fromarray(np.round(255 * np.exp(-density)).astype(np.uint8)).save(path)
            record = project.add_slide(path, spacing_um=about.spacing_um, split=Split.TEST)
            import_mask(project, record.name, folder / "masks" / f"{name}.png")
    making.rename(root)
    return Project.open(root)


def main() -> None:
    """Train what is missing, score, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds glas, luad and testis")
    parser.add_argument("--organ", default="glas", choices=ORGANS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {}
    parts = (("labeled", Split.TRAIN, True), ("val", Split.VAL, True))
    for seed in parse_seeds(given.seeds):
        overrides = [f"seed={seed}", f"training.steps={given.steps}", "device=cpu"]
        overrides += ["training.compile=off", f"training.validate_every={given.steps}"]
        settings = build_settings("recommended", "supervised", overrides)
        root = given.out / f"stains-{given.organ}-{given.steps}-s{seed}" / "p.unisem"
        root.parent.mkdir(parents=True, exist_ok=True)
        with make_project(root, given.data, given.organ, parts) as project:
            if project.latest_round() is None:
                going = unfinished_round(project) is not None
                train_round(
                    project, None if going else settings, resume=going, events=SilentEvents()
                )
            for stain in STAINS:
                place = given.out / f"stained-{given.organ}-{stain.replace(' ', '-')}.unisem"
                with draw_stained(given.data, given.organ, stain, place) as drawn:
                    for use, more in USES.items():
                        predictor, _ = load_predictor(project, None, ["device=cpu", *more])
                        score = score_split(drawn, predictor, Split.TEST).summary()["mdice"]
                        found.setdefault((use, stain), []).append(100 * score)
                        print(f"seed {seed}, {stain}, {use}: {100 * score:.2f}", flush=True)
    print(f"| | {' | '.join(STAINS)} |")
    print("|---|" + "---|" * len(STAINS))
    for use in USES:
        cells = []
        for stain in STAINS:
            values = found[use, stain]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread}")
        print(f"| {use} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
