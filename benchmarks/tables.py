"""The tables of docs/experiments.md: GlaS val scores, mean ± SD over seeds, row by row.

    python benchmarks/tables.py presets --data GLAS [--fraction 10] [--seeds 0,1,2] [--steps N]

``presets``: `released`, `paper`, `recommended` and supervised training; and the first two in the
network and with the steps of `recommended`, which a CPU can train. ``branches`` and
``alignment``: the paper's Tables 4 and 5. ``lift``: one change of `recommended` at a time. Runs
that are there already are read, so a table can be made in several goes; ``--only ROW`` makes one
row.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from unisemalign import build_settings
from unisemalign.benchmark import run_benchmark, spread_text
from unisemalign.runtime import SilentEvents
from unisemalign.settings import Settings

# The published heads are 2048 wide on 1/16 of the image, for UNI's 1024 channels. The embedded
# encoder has 192, and a step on a CPU would take ten seconds.
NARROW = ("model.high_dim=256",)
_DEFAULTS = build_settings()
_KEPT = ("align_corners", "semantic_upsample", "text_pooling", "text_masks", "encoder", "text")
# Network and length of `recommended`: what is left of a preset are its losses, views, optimiser
# and windows.
ALIKE = (
    *(
        f"model.{name}={json.dumps(value)}"
        for name, value in _DEFAULTS.model.model_dump(mode="json").items()
        if name not in _KEPT
    ),
    f"training.steps={_DEFAULTS.training.steps}",
    f"training.validate_every={_DEFAULTS.training.validate_every}",
)


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    preset: str = "recommended"
    method: str | None = None
    overrides: tuple[str, ...] = ()


NO_TEXT = ("method.weight_text=0.0", "method.eta_text=0.0", "method.align=none")
NO_PROTOTYPE = ("method.weight_prototype=0.0", "method.eta_prototype=0.0", "method.align=none")

TABLES: dict[str, tuple[Row, ...]] = {
    "presets": (
        Row("recommended"),
        Row("supervised", method="supervised"),
        Row("paper", "paper", overrides=NARROW),
        Row("released", "released", overrides=NARROW),
        Row("paper, network and steps of recommended", "paper", overrides=ALIKE),
        Row("released, network and steps of recommended", "released", overrides=ALIKE),
    ),
    "branches": (
        Row("neither", overrides=(*NO_TEXT, *NO_PROTOTYPE)),
        Row("prototypes alone", overrides=NO_TEXT),
        Row("text alone", overrides=NO_PROTOTYPE),
        Row("both"),
    ),
    "alignment": tuple(
        Row(kind, overrides=(f"method.align={kind}",)) for kind in ("none", "cosine", "kl", "mse")
    ),
    "lift": (
        Row("recommended"),
        Row("encoder frozen", overrides=("model.train_encoder=no",)),
        Row("no teacher", overrides=("method.labeller=student", "method.ema=0.0")),
        Row("cross-entropy alone", overrides=("method.weight_dice=0.0",)),
        Row("mirrored left-right alone", overrides=("views.turns=false",)),
        Row("no stain change", overrides=("views.stain_weak=0.0", "views.stain_strong=0.0")),
        Row("dilations 12, 24, 36", overrides=("model.dilations=[12,24,36]",)),
        Row(
            "two strong views, complementary channels",
            overrides=("method.strong_views=2", "method.weight_dropout=0.0"),
        ),
        Row("soft confidence", overrides=("method.confidence=soft",)),
        Row("flips at test time", overrides=("inference.flips=true",)),
    ),
}


def main() -> None:
    """Read the command line, train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data", type=Path, required=True, help="GlaS")
    parser.add_argument("--fraction", type=int, default=10, choices=(10, 20))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, help="of every row; else the preset's own")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--only", action="append", metavar="ROW", help="rows to make")
    given = parser.parse_args()
    steps = () if given.steps is None else (f"training.steps={given.steps}",)
    print_table_head()
    for row in TABLES[given.table]:
        if given.only and row.name not in given.only:
            continue
        settings = build_settings(row.preset, row.method, [*row.overrides, *steps])
        print_row(row.name, settings, "embedded", given)


def print_table_head() -> None:
    """Print the table's first two lines."""
    print("| row | best val mDice | last | mJaccard | object F1 | seconds a step |")
    print("|---|---|---|---|---|---|")


def print_row(
    name: str, settings: Settings, encoder: str, given: argparse.Namespace, text: str = "free"
) -> None:
    """Train what is missing of a row, and print it.

    ``given`` holds ``data``, ``fraction``, ``seeds`` and ``out`` of the command line.
    """
    report = run_benchmark(
        "glas",
        given.data,
        given.fraction,
        settings,
        encoder=encoder,
        text=text,
        seeds=[int(seed) for seed in given.seeds.split(",")],
        out=given.out,
        events=SilentEvents(),
    )
    best, last, step = report["best_val"], report["last_val"], report["seconds_per_step"]
    values = (best["mdice"], last["mdice"], best["mjaccard"], best["object_f1"])
    cells = " | ".join(spread_text(value) for value in values)
    print(f"| {name} | {cells} | {step['mean']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
