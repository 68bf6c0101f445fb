"""What a refresh of the dock reads of a project with many slides and regions.

Counts queries of the project's tables and file checks while the dock's state is resolved: when
nothing changed, after a region was skipped, and after another process wrote.

    python benchmarks/refresh.py [--slides 100] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_unisemalign.session.dock_state import resolve_state
from napari_unisemalign.session.session import Session
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState
from unisemalign.slides.synthetic import CLASSES, draw_slide

SLIDE_PX, REGION_PX, ROUNDS = 512, 64, 10
STATES = (RegionState.ACCEPTED, RegionState.PREDICTED, RegionState.ACCEPTED)


def make_project(folder: Path, n_slides: int) -> Path:
    """Make a project of small slides, three regions each, and ten rounds."""
    first = draw_slide(folder / "s0.tif", size_px=SLIDE_PX)
    with Project.create(folder / "study.unisem", classes=list(CLASSES)) as project:
        for index in range(n_slides):
            path = folder / f"s{index}.tif"
            if index:
                shutil.copy(first, path)
            name = project.add_slide(path).name
            for row, state in enumerate(STATES):
                rect = Rect(REGION_PX * row, 0, REGION_PX, REGION_PX)
                project.add_region(name, rect, state=state, score=0.1, reason="unsure")
        rect = Rect(0, 0, REGION_PX, REGION_PX)
        project.write_labels("s0", rect, np.ones(rect.shape, np.uint8), Origin.DRAWN, action="x")
        for _ in range(ROUNDS):
            made = project.new_round(method="unisemalign", preset="recommended")
            made.layout.weights.write_bytes(b"weights")
            project.set_round(made.number, state="done")
        return project.root


@contextmanager
def counted_checks(counts: dict[str, int]) -> Iterator[None]:
    """Count calls of ``os.stat`` while the block runs."""
    real = os.stat

    def stat(*args: Any, **keywords: Any) -> os.stat_result:
        counts["file checks"] += 1
        return real(*args, **keywords)

    os.stat = stat
    try:
        yield
    finally:
        os.stat = real


def measure(session: Session, act: Callable[[], object]) -> dict[str, float]:
    """Return what one refresh after ``act`` reads, and how long it takes."""
    if session.project is None:
        raise SystemExit("No project.")
    act()
    counts = {"queries": 0, "file checks": 0}

    def on_query(_sql: str) -> None:
        counts["queries"] += 1

    connection = session.project._database._connection
    connection.set_trace_callback(on_query)
    began = time.perf_counter()
    with counted_checks(counts):
        resolve_state(session)
    ms = 1000 * (time.perf_counter() - began)
    connection.set_trace_callback(None)
    return {**counts, "ms": round(ms, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--slides", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = make_project(Path(name), given.slides)
        session = Session()
        session.open(root)
        session.mark_region(Rect(300, 300, REGION_PX, REGION_PX))
        resolve_state(session)
        report = {"nothing changed": measure(session, lambda: None)}
        report["a region was skipped"] = measure(session, session.skip)
        with Project.open(root) as other:
            rect = Rect(200, 200, REGION_PX, REGION_PX)
            report["another process wrote"] = measure(
                session, lambda: other.add_region("s1", rect, state=RegionState.PREDICTED)
            )
        session.close()
    if given.json:
        print(json.dumps(report))
        return
    for part, found in report.items():
        print(f"{part:22} {found}")


if __name__ == "__main__":
    main()
