"""The tables of docs/experiments.md: GlaS val scores, mean ± SD over seeds, row by row.

    python benchmarks/tables.py presets --data GLAS [--fraction 10] [--seeds 0,1,2] [--steps N]

``presets``: `released`, `paper`, `recommended` and supervised training; and the first two in the
network and with the steps of `recommended`, which a CPU can train. ``branches`` and
``alignment``: the paper's Tables 4 and 5. ``contexts``: its Table 3, which needs a text tower, such
as ``--text conch``; ``--text random`` is one of CONCH's size that knows no words. ``lift``: one
change of `recommended` at a time; with ``--method supervised`` those that labelled tissue alone can
show, in a third of the time. Runs that are there already are read, so a table can be made in
several goes; ``--only ROW`` makes one row.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from towers import RANDOM, offer_tower, random_tower

from unisemalign.benchmark import benchmark_settings, run_benchmark, spread_text
from unisemalign.cli.options import parse_seeds
from unisemalign.runtime import SilentEvents
from unisemalign.settings import Settings

# The published heads are 2048 wide on 1/16 of the image, for UNI's 1024 channels. The embedded
# encoder has 192, and a step on a CPU would take ten seconds.
NARROW = ("model.high_dim=256",)
_DEFAULTS = benchmark_settings(10)
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
    "contexts": tuple(
        Row(f"{count} context tokens", overrides=(f"model.context_tokens={count}",))
        for count in range(6)
    ),
    "lift": (
        Row("recommended"),
        Row("encoder frozen", overrides=("model.train_encoder=no",)),
        Row("no teacher", overrides=("method.labeller=student", "method.ema=0.0")),
        Row("cross-entropy alone", overrides=("method.weight_dice=0.0",)),
        Row("mirrored left-right alone", overrides=("views.turns=false",)),
        Row("no stain change", overrides=("views.stain_weak=0.0", "views.stain_strong=0.0")),
        Row("shallow map at 1/16", overrides=("model.low_stride=16",)),
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
    parser = table_parser(__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--text", default="free", help="what reads the class names")
    given = parser.parse_args()
    if given.table == "contexts" and given.text == "free":
        parser.error("contexts needs a text tower, found free vectors: --text conch, or random")
    offer_tower(RANDOM, lambda classes, **how: random_tower(len(classes), **how))
    names = [row.name for row in TABLES[given.table]]
    if unknown := sorted({*(given.only or ())} - {*names}):
        parser.error(f"wanted a row of {given.table}: {'; '.join(names)}, found {unknown[0]}")
    print_table_head()
    for row in TABLES[given.table]:
        if given.only and row.name not in given.only:
            continue
        settings = row_settings(given, row.overrides, row.preset, row.method)
        print_row(row.name, settings, given.encoder, given, given.text)


def table_parser(doc: str) -> argparse.ArgumentParser:
    """Return a command line with what every table of GlaS scores is asked for."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="GlaS")
    parser.add_argument("--fraction", type=int, default=10, choices=(10, 20))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, help="of every row; else the preset's own")
    parser.add_argument("--method", help="of rows that name none; else UniSemAlign")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--only", action="append", metavar="ROW", help="rows to make")
    return parser


def row_settings(
    given: argparse.Namespace,
    overrides: Sequence[str] = (),
    preset: str = "recommended",
    method: str | None = None,
) -> Settings:
    """Return a row's settings; steps and method of the command line where it names none."""
    steps = () if given.steps is None else (f"training.steps={given.steps}",)
    return benchmark_settings(given.fraction, preset, method or given.method, [*overrides, *steps])


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
        seeds=parse_seeds(given.seeds),
        out=given.out,
        events=SilentEvents(),
    )
    best, last, step = report["best_val"], report["last_val"], report["seconds_per_step"]
    values = (best["mdice"], last["mdice"], best["mjaccard"], best["object_f1"])
    cells = " | ".join(spread_text(value) for value in values)
    print(f"| {name} | {cells} | {step['mean']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
