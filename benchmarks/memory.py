"""Memory of a training step: what is told before the first one, beside what it takes.

    python benchmarks/memory.py --data GLAS

One process a row: the seven labelled GlaS images, two steps on the CPU, resident memory at its peak
less what was there before.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import torch

from unisemalign.datasets import read_dataset
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.settings import build_settings
from unisemalign.training.batches import Batches
from unisemalign.training.loop import train_step
from unisemalign.training.memory import measure_step
from unisemalign.training.optimiser import build_optimiser
from unisemalign.training.tissue import open_tissue

ROWS = (
    "supervised,256,4,embedded",
    "unisemalign,256,4,embedded",
    "unisemalign,512,4,embedded",
    "mpamatch,256,4,embedded",
    "cps,256,4,embedded",
    "xnet_v2,256,4,embedded",
    "supervised,512,8,organs",
)
"""Method, side of a crop, labelled (and unlabelled) crops a step, encoder."""


def measure(data: Path, row: str) -> None:
    """Print one row."""
    name, side, crops, encoder = row.split(",")
    settings = build_settings(
        method=name,
        overrides=[
            f"views.crop_px={side}",
            f"training.batch_labelled={crops}",
            f"training.batch_unlabelled={crops}",
            f"model.encoder={encoder}",
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        dataset = read_dataset("glas", data, 10)
        with dataset.open_study(Path(folder) / "glas.unisem", encoder, "free") as project:
            tissue = open_tissue(project)
            network = build_network(list(dataset.classes), settings.model, settings.method)
            method = build_method(network, settings).to(memory_format=torch.channels_last)
            before = psutil.Process().memory_info().rss
            told = measure_step(method, tissue, settings, torch.device("cpu"), torch.float32).total
            optimiser = build_optimiser(method.groups(), settings.training)
            batches = Batches(tissue, settings, method.needs)
            for step in range(2):
                train_step(method, optimiser, settings, batches.draw(step), step, torch.float32)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(f"{row:28} {told / 1e9:5.2f} GB told, {peak / 1e9:5.2f} GB taken, {peak / told:4.2f}")


def main() -> None:
    """Read the command line; measure one row, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the GlaS folder")
    parser.add_argument("--row", help="one row only: METHOD,SIDE,CROPS,ENCODER")
    given = parser.parse_args()
    if given.row:
        return measure(given.data, given.row)
    for row in ROWS:
        command = [sys.executable, __file__, "--data", str(given.data), "--row", row]
        subprocess.run(command, check=True)
    return None


if __name__ == "__main__":
    main()
