"""A training step beside a busy core: how much longer than alone, waiting passively or by spinning.

Each figure is `unisemalign train`, a process of its own with as many threads as the machine
has cores, on a drawn slide with two labelled regions; seconds a step as the round's scores say
them, the fewest of `--repeats`. Beside it another process keeps one core at work. Budget: at most
2.5 times the step alone, as the command line runs (`passive`); `spinning` is what OpenMP does by
itself.

    python benchmarks/busy.py [--steps 20] [--repeats 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drawn import make_project

from unisemalign.project import Project

SIZE_PX, REGION_PX = 2048, 256
POLICIES = {"passive": {}, "spinning": {"OMP_WAIT_POLICY": "ACTIVE"}}


def step_seconds(project: Path, folder: Path, steps: int, policy: dict[str, str]) -> float:
    """Train a round in a copy of ``project``; return the seconds a step took."""
    copy = folder / "copy.unisem"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(project, copy)
    keep = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    environment = {**keep, **policy, "OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    command = [sys.executable, "-m", "unisemalign", "train", str(copy), "--json"]
    subprocess.run(
        [*command, "--set", f"training.steps={steps}"],
        env=environment,
        check=True,
        capture_output=True,
    )
    with Project.open(copy) as opened:
        scores = opened.rounds()[-1].scores
    if scores is None:
        raise SystemExit("The round has no scores.")
    return scores.seconds_per_step


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep a core at work in another process."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _spin() -> None:
    while True:
        pass


def main() -> None:
    style = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = make_project(folder, SIZE_PX, REGION_PX)
        for policy, environment in POLICIES.items():
            alone, beside = [], []
            for _ in range(given.repeats):
                alone.append(step_seconds(project, folder, given.steps, environment))
                with busy_core():
                    beside.append(step_seconds(project, folder, given.steps, environment))
            times = min(alone), min(beside)
            result[policy] = {
                "alone_s": times[0],
                "beside_s": times[1],
                "ratio": round(times[1] / times[0], 2),
            }
    if given.json:
        print(json.dumps(result))
        return
    for policy, each in result.items():
        print(
            f"{policy}: {each['alone_s']:.2f} s a step alone, {each['beside_s']:.2f} s beside a "
            f"busy core: {each['ratio']:.2f} times"
        )


if __name__ == "__main__":
    main()
