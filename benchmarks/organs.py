"""What an encoder is worth on several organs: few labelled images, one head, seeds.

    python benchmarks/organs.py --data SHARED [--sets luad,testis] [--encoder embedded,organs]
        [--seeds 0,1,2] [--steps 400] [--rest] [--set model.train_encoder=no]
        [--run RUN/organs.safetensors] [--imagenet LITE0.pth]

``--data`` holds the folders ``glas``, ``luad`` and ``testis``, each with ``images/``, ``masks/``
and ``splits.toml``. Of each, the labelled images of the partition are trained on; scored are the
validation images, at the best and the last step, and with ``--rest`` the unlabelled ones with the
best weights: their masks are read for that alone. Encoders beside the registry's: ``run``, the
weights ``--run`` that ``pretraining/pretrain_organs.py`` wrote, or from scratch without;
``imagenet``, EfficientNet-Lite0 as ImageNet taught it. A run that is there already is read.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisemalign.cli.options import parse_seeds
from unisemalign.exchange import import_mask
from unisemalign.inference import load_predictor, score_split
from unisemalign.model import build as building
from unisemalign.model.encoders import Encoder
from unisemalign.project import Project, Split
from unisemalign.runtime import SilentEvents
from unisemalign.runtime.files import write_json
from unisemalign.settings import Settings, build_settings
from unisemalign.training import train_round, unfinished_round

sys.path.append(str(Path(__file__).parents[1] / "pretraining"))
from lite import ImageNetLevels, organs_encoder


@dataclass(frozen=True)
class Organ:
    """A data set: its partition, classes in the order of the masks' values, and pixel size."""

    partition: str
    classes: tuple[str, ...]
    spacing_um: float


ORGANS = {
    "glas": Organ("glas_10", ("background", "gland"), 0.62),
    "luad": Organ("luad_8", ("tumour", "stroma", "normal"), 1.0),
    "testis": Organ("testis_5", ("background", "epithelium"), 1.0),
}


def make_project(
    root: Path, data: Path, organ: str, uses: tuple[tuple[str, Split, bool], ...]
) -> Project:
    """Return the project in ``root``, made where it is not there: part, split, whether labelled."""
    if root.exists():
        return Project.open(root)
    about, folder = ORGANS[organ], data / organ
    parts = tomllib.loads((folder / "splits.toml").read_text(encoding="utf-8"))[about.partition]
    images = {path.stem: path for path in (folder / "images").iterdir()}
    making = root.with_name(f"making-{root.name}")
    shutil.rmtree(making, ignore_errors=True)
    with Project.create(making, classes=about.classes, spacing_um=about.spacing_um) as project:
        for part, split, labelled in uses:
            for name in parts[part]:
                record = project.add_slide(images[name], spacing_um=about.spacing_um, split=split)
                if labelled:
                    import_mask(project, record.name, folder / "masks" / f"{name}.png")
    making.rename(root)
    return Project.open(root)


def make_run(
    data: Path, organ: str, settings: Settings, folder: Path, *, rest: bool
) -> dict[str, Any]:
    """Train once and score; a run that is there is read, one that was interrupted goes on.

    Without ``rest`` the unlabelled images are not scored.
    """
    result = folder / "result.json"
    if result.exists():
        return json.loads(result.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    parts = (("labeled", Split.TRAIN, True), ("val", Split.VAL, True))
    with make_project(folder / "p.unisem", data, organ, parts) as project:
        done = project.latest_round()
        if done is None:
            going = unfinished_round(project) is not None
            done = train_round(
                project, None if going else settings, resume=going, events=SilentEvents()
            )
        told = done.scores.model_dump() if done.scores else {}
        scores = {
            "best_val": told["best_val"]["mdice"],
            "last_val": told["last_val"]["mdice"],
            "unlabelled": math.nan,
            "seconds_per_step": told["seconds_per_step"],
        }
        predictor, _ = load_predictor(project, done.number, ["device=cpu"])
    if rest:
        unseen = (("unlabeled", Split.TEST, True),)
        with make_project(folder / "rest.unisem", data, organ, unseen) as project:
            scores["unlabelled"] = score_split(project, predictor, Split.TEST).summary()["mdice"]
        shutil.rmtree(folder / "rest.unisem")
    write_json(result, scores)
    return scores


def print_row(name: str, organ: str, found: list[dict[str, Any]]) -> None:
    """Print means and standard deviations over the seeds, in percent."""

    def cell(key: str) -> str:
        values = [100 * run[key] for run in found]
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.2f}{spread}"

    cells = " | ".join(cell(key) for key in ("best_val", "last_val", "unlabelled"))
    pace = statistics.mean(run["seconds_per_step"] for run in found)
    print(f"| {name} | {organ} | {cells} | {len(found)} | {pace:.2f} |", flush=True)


def main() -> None:
    """Read the command line, train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds glas, luad and testis")
    parser.add_argument("--sets", default="luad,testis")
    parser.add_argument("--encoder", default="embedded", help="a comma between several")
    parser.add_argument("--run", type=Path, help="the weights of a run")
    parser.add_argument("--imagenet", type=Path, help="EfficientNet-Lite0's weights")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--method", default="supervised")
    parser.add_argument("--set", action="append", default=[], help="as of 'unisemalign train'")
    parser.add_argument("--rest", action="store_true", help="score the unlabelled images too")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    yardsticks: dict[str, Callable[[], Encoder]] = {
        "run": lambda: organs_encoder(given.run),
        "imagenet": lambda: ImageNetLevels(given.imagenet),
    }
    known = building.build_encoder
    print("| encoder | set | best val mDice | last | unlabelled images | seeds | s a step |")
    print("|---|---|---|---|---|---|---|")
    for encoder in given.encoder.split(","):

        def stand_in(_: str, *, weights: bool = True, name: str = encoder) -> Encoder:
            return yardsticks[name]() if name in yardsticks else known(name, weights=weights)

        building.build_encoder = stand_in
        for organ in given.sets.split(","):
            found = []
            for seed in parse_seeds(given.seeds):
                overrides = [f"seed={seed}", f"training.steps={given.steps}", "device=cpu"]
                settings = build_settings(
                    "recommended", given.method, [*overrides, "training.compile=off", *given.set]
                )
                extra = "-".join(given.set).replace("/", "_")
                name = f"{organ}-{encoder}-{given.method}-{given.steps}-{extra}-s{seed}"
                folder = given.out / name
                found.append(make_run(given.data, organ, settings, folder, rest=given.rest))
            print_row(" ".join([encoder, *given.set]), organ, found)


if __name__ == "__main__":
    main()
