"""What a training step costs: published code, the same step by us, ours, and ours with tokens kept.

`literal` is benchmarks/literal.py, a plain version of what the published code computes, in float32.
`ours` is the product's own step, drawing of crops included, with a UNI-sized encoder, heads as wide
as the paper's and a text tower of CONCH's size, all with random weights; `released` is that of the
preset, which gives the very losses of the published code; `cached` is `ours` with the frozen
encoder's tokens read from disk. Each runs in a process of its own, one after another.
On a CPU a literal step takes a minute or more on one core; nothing but it is worth waiting for, so
one step warms up and `--repeats` (default 2) are timed. The median is reported, and beside it the
processor time of all threads, which other work on the machine lengthens less.

FLOPs are counted on tensors without data (2 to a multiply-add, forward and backward; attention as
its two products). Peak memory is what the process held above its state before the model was made;
on CUDA what torch allocated.

    python benchmarks/step.py [--json] [--device auto|cpu|cuda] [--repeats N] [--only KIND…]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from literal import CLASSES, Literal, build_optimiser, draw_batch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from towers import random_tower

from unisemalign import Project, Rect
from unisemalign.methods import Batch, Unlabelled, build_method
from unisemalign.model import Encoder, Network, build_encoder
from unisemalign.model.token_cache import TokenCache
from unisemalign.project import Origin, RegionState
from unisemalign.runtime import SilentEvents
from unisemalign.runtime.device import choose_device, choose_precision, seed_everything
from unisemalign.settings import Settings, build_settings
from unisemalign.slides import synthetic
from unisemalign.training.batches import Batches
from unisemalign.training.loop import train_step
from unisemalign.training.optimiser import build_optimiser as build_product_optimiser
from unisemalign.training.tissue import open_tissue

KINDS = ("literal", "released", "ours", "cached")
WORDS = ("background", "gland")
WIDE = {
    "model.zoom": 1.0,
    "model.stem_dim": 0,
    "model.low_dim": 256,
    "model.high_dim": 2048,
    "model.skip_dim": 48,
    "model.decoder_dim": 256,
    "model.embed_dim": 256,
}
"""The paper's widths and input size; all else is `recommended`."""


def choose_settings(kind: str, device: str) -> Settings:
    if kind == "released":
        return build_settings("released", overrides={"device": device})
    fixed = {} if kind == "ours" else {"training.distinct_batches": 1}
    return build_settings(overrides={**WIDE, **fixed, "device": device})


def build_product(settings: Settings, device: torch.device) -> Network:
    """Return the product's network, UNI-sized, with CONCH-sized words; random weights."""
    with device:
        encoder = build_encoder("uni", weights=False)
        network = Network(encoder, WORDS, settings.model, train_encoder=False)
        network.semantic.text = random_tower(
            CLASSES, pooling=settings.model.text_pooling, masks=settings.model.text_masks
        )
    return network.to(device)


# --- arithmetic: on tensors without data -------------------------------------------------------


class Ready:
    """Stands for tokens that are there already: shapes, no work."""

    def __call__(self, encoder: Encoder, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps without data."""
        size = [side // encoder.high_stride for side in pixels.shape[2:]]
        low = pixels.new_empty(len(pixels), encoder.low_channels, *size)
        return low, pixels.new_empty(len(pixels), encoder.high_channels, *size)


def count_step(kind: str) -> float:
    """Return the GFLOP of one training step."""
    meta = torch.device("meta")
    if kind == "literal":
        with meta:
            literal = Literal().train()
            crops = draw_batch(meta)
        return _gflop(lambda: literal.loss(crops).backward())
    settings = choose_settings(kind, "cpu")
    network = build_product(settings, meta)
    if kind == "cached":
        network.tokens = Ready()  # type: ignore[assignment]
    method = build_method(network, settings).to(meta)
    method.train()
    crops = draw_batch(meta)
    views = settings.method.strong_views
    strong = crops.strong.expand(views, *crops.strong.shape)
    valid = torch.ones_like(crops.box)
    unlabelled = Unlabelled(crops.weak, strong, valid)
    donor = Unlabelled(crops.donor, crops.pasted.expand_as(strong), valid)
    box = crops.box.expand(views, *crops.box.shape)
    drawn = donor if method.needs.drawn_donor else None
    batch = Batch(crops.images, crops.labels, unlabelled, box, drawn)
    return _gflop(lambda: method.loss(batch)[0].backward())


def count_window() -> float:
    """Return the GFLOP of one window of 256 px, as published."""
    with torch.device("meta"):
        literal = Literal().eval()
        window = draw_batch("meta").images[:1]
    with torch.no_grad():
        return _gflop(lambda: literal(window))


def _gflop(work: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops() / 1e9)


# --- seconds and memory: one kind in this process ----------------------------------------------


def measure_here(kind: str, device: torch.device, repeats: int) -> dict[str, float]:
    """Return seconds a step, wait for data a step, peak MB."""
    seed_everything(0, device)
    with tempfile.TemporaryDirectory() as folder:
        before = _resident_mb(device)
        maker = literal_steps if kind == "literal" else product_steps
        steps = maker(kind, device, Path(folder), repeats + 1)
        next(steps)  # model made, first step taken
        seconds, busy, waits = [], [], []
        for _ in range(repeats):
            started, worked = time.perf_counter(), time.process_time()
            waits.append(next(steps))
            _synchronise(device)
            seconds.append(time.perf_counter() - started)
            busy.append(time.process_time() - worked)
        peak = _resident_mb(device) - before
    return {
        "seconds_per_step": statistics.median(seconds),
        "cpu_seconds_per_step": statistics.median(busy),
        "wait_per_step": statistics.median(waits),
        "peak_mb": peak,
    }


def literal_steps(kind: str, device: torch.device, folder: Path, count: int) -> Iterator[float]:
    """Take literal steps on one batch that is there already; yield the wait, which is none."""
    del kind, folder
    with device:
        network = Literal().train()
    optimiser = build_optimiser(network)
    batch = draw_batch(device)
    for _ in range(count):
        optimiser.zero_grad()
        network.loss(batch).backward()
        optimiser.step()
        yield 0.0


def product_steps(kind: str, device: torch.device, folder: Path, count: int) -> Iterator[float]:
    """Take the product's steps on crops it draws; yield the wait for each batch."""
    settings = choose_settings(kind, device.type)
    network = build_product(settings, device).to(memory_format=torch.channels_last)
    if kind == "cached":
        network.keep_tokens(TokenCache(folder / "tokens", 10**9, SilentEvents()))
    method = build_method(network, settings).to(device)
    optimiser = build_product_optimiser(method.groups(), settings.training)
    precision = choose_precision(settings.precision, device)
    with draw_project(folder) as project:
        batches = Batches(open_tissue(project), settings, method.needs).iterate(0, count)
        for step in range(count):
            started = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - started
            train_step(method, optimiser, settings, batch.to(device), step, precision)
            yield waited


def draw_project(folder: Path) -> Project:
    """Return a project with one drawn slide and one labelled region."""
    slide = synthetic.draw_slide(folder / "drawn.tif", size_px=2048, seed=0)
    rect = Rect(512, 512, 512, 512)
    project = Project.create(folder / "step.unisem", classes=list(synthetic.CLASSES)[:CLASSES])
    project.add_slide(slide)
    truth = synthetic.truth(rect, size_px=2048, seed=0).clip(1, CLASSES)
    project.write_labels("drawn", rect, truth, Origin.DRAWN, action="accept")
    project.add_region("drawn", rect, state=RegionState.ACCEPTED)
    return project


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _resident_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


# --- the report ---------------------------------------------------------------------------------


def measure_apart(kind: str, device: torch.device, repeats: int) -> dict[str, float]:
    """Run :func:`measure_here` in a process of its own."""
    command = [sys.executable, __file__, "--here", kind, "--device", device.type]
    done = subprocess.run(
        [*command, "--repeats", str(repeats)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(device: torch.device, repeats: int, kinds: list[str]) -> dict[str, Any]:
    """Return every figure and what they come to, kind against literal."""
    out: dict[str, Any] = {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "precision": str(choose_precision("auto", device)).removeprefix("torch."),
        "repeats": repeats,
    }
    for kind in kinds:
        found = measure_apart(kind, device, repeats)
        out[kind] = {"gflop_per_step": count_step(kind), **found}
    if "literal" in out:
        out["literal"]["gflop_per_window"] = count_window()
        for kind in set(KINDS[1:]) & out.keys():
            mine, theirs = out[kind], out["literal"]
            out[kind]["flop_share"] = mine["gflop_per_step"] / theirs["gflop_per_step"]
            out[kind]["times_faster"] = theirs["seconds_per_step"] / mine["seconds_per_step"]
            cpu = "cpu_seconds_per_step"
            out[kind]["times_less_cpu"] = theirs[cpu] / mine[cpu]
            out[kind]["memory_share"] = mine["peak_mb"] / theirs["peak_mb"]
    return out


def table(found: dict[str, Any]) -> str:
    kinds = [kind for kind in KINDS if kind in found]
    lines = [
        f"{found['device']}, {found['threads']} threads, ours in {found['precision']}, "
        f"median of {found['repeats']}",
        f"{'':18}" + "".join(f"{kind:>12}" for kind in kinds),
    ]
    rows = dict.fromkeys(name for kind in kinds for name in found[kind])
    for row in rows:
        cells = (f"{found[k][row]:12.4g}" if row in found[k] else f"{'':12}" for k in kinds)
        lines.append(f"{row:18}" + "".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--repeats", type=int, default=2, help="timed steps of each kind")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--here", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    where = choose_device(arguments.device)
    if arguments.here:
        print(json.dumps(measure_here(arguments.here, where, arguments.repeats)))
        raise SystemExit
    figures = report(where, arguments.repeats, arguments.only)
    print(json.dumps(figures) if arguments.json else table(figures))
