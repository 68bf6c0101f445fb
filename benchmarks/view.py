"""Seconds from asking for a 1024² view to its labels, engine cold and warm.

Drives ``unisemalign serve`` as the viewer does, on a drawn slide and a two-step round (the time
does not depend on what was learned). Budget: 2 s warm, embedded encoder, 2 cores.

    python benchmarks/view.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from unisemalign import Project, Rect, build_settings, train_round
from unisemalign.project import Origin, RegionState
from unisemalign.runtime import SilentEvents
from unisemalign.slides import synthetic

SIZE_PX, VIEW_PX, REPEATS = 4096, 1024, 5


def make_project(folder: Path) -> Path:
    """Draw a slide, label one region, train two steps; return the project's folder."""
    slide = synthetic.draw_slide(folder / "drawn.tif", size_px=SIZE_PX, seed=0)
    rect = Rect(1024, 1024, 512, 512)
    with Project.create(folder / "view.unisem", classes=list(synthetic.CLASSES)) as project:
        project.add_slide(slide)
        truth = synthetic.truth(rect, size_px=SIZE_PX, seed=0)
        project.write_labels("drawn", rect, truth, Origin.DRAWN, action="accept")
        project.add_region("drawn", rect, state=RegionState.ACCEPTED)
        train_round(project, build_settings(overrides={"training.steps": 2}), events=SilentEvents())
        return project.root


class Engine:
    """The viewer's end of the engine process."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-u", "-m", "unisemalign", "serve", str(root)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds_to_labels(self, rect: Rect) -> float:
        """Ask for ``rect`` and wait for its labels to be stored."""
        started = time.perf_counter()
        request = {"id": 1, "verb": "segment", "slide": "drawn", "rect": [*vars(rect).values()]}
        self.process.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        for line in self.process.stdout:  # type: ignore[union-attr]
            event = json.loads(line)
            if event["event"] == "failed":
                raise SystemExit(event["text"])
            if event["event"] == "done":
                return time.perf_counter() - started
        raise SystemExit("the engine went away")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(20)


def measure() -> dict[str, Any]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_project(Path(folder))
        started = time.perf_counter()
        engine = Engine(root)
        engine.seconds_to_labels(Rect(0, 0, VIEW_PX, VIEW_PX))
        cold = time.perf_counter() - started
        warm = [
            engine.seconds_to_labels(Rect(700 + 130 * k, 900 + 170 * k, VIEW_PX, VIEW_PX))
            for k in range(REPEATS)
        ]
        engine.close()
    return {
        "view_px": VIEW_PX,
        "first_labels_cold_s": round(cold, 2),
        "first_labels_warm_s": round(statistics.median(warm), 2),
        "warm_s": [round(value, 2) for value in warm],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    report = measure()
    if arguments.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:22} {value}")
