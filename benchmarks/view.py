"""Seconds from asking for a view to its labels, engine cold and warm.

Drives ``unisemalign serve`` as the viewer does, on a drawn slide and a two-step round (the time
does not depend on what was learned). `first_labels`: the whole view has labels on disk, though only
sketched; `all_labels`: it has its final ones. Budget: first labels within 2 s warm, embedded
encoder, 2 cores.
`relabel_s`: the last view once more, after a round that trained the head alone; `relabel_anew_s`:
the same where nothing is kept of the encoder's work (`inference.recent_mb=0`).
`cpu_s` are seconds of processor time of the engine for a warm view, `first_cpu_s` those until its
first labels: other work lengthens them less.
`far_…`: a view of 4096² on a window of 1024 pixels, warm: it is labelled coarsely first.
`give_up_s` is how long the engine goes on with it when it is cancelled, as when the view moves on.

    python benchmarks/view.py [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisemalign import Project, Rect, build_settings, train_round
from unisemalign.project import Origin, RegionState
from unisemalign.protocol import (
    LAST_KINDS,
    CancelRequest,
    Failed,
    Request,
    SegmentRequest,
    Written,
    read_event,
)
from unisemalign.runtime import SilentEvents
from unisemalign.slides import synthetic

SIZE_PX, VIEW_PX, REPEATS = 4096, 1024, 5
FAR_PX = 4096


def make_project(folder: Path, slide: Path, size_px: int) -> Path:
    """Label one region of ``slide``, train two steps; return the project's folder."""
    rect = Rect(1024, 1024, 512, 512)
    with Project.create(folder / "view.unisem", classes=list(synthetic.CLASSES)) as project:
        name = project.add_slide(slide).name
        truth = synthetic.truth(rect, size_px=size_px, seed=0)
        project.write_labels(name, rect, truth, Origin.DRAWN, action="accept")
        project.add_region(name, rect, state=RegionState.ACCEPTED)
        train(project)
        return project.root


def train(project: Project, **more: object) -> None:
    """Train two steps."""
    settings = build_settings(overrides={"training.steps": 2, "training.cache_gb": 0, **more})
    train_round(project, settings, events=SilentEvents())


class Engine:
    """The viewer's end of the engine process."""

    def __init__(self, root: Path, *options: str) -> None:
        command = [sys.executable, "-u", "-m", "unisemalign", "serve", str(root), *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, rect: Rect, *, give_up: bool = False) -> dict[str, float]:
        """Ask for ``rect`` on a window of 1024 pixels.

        Return seconds to its first and last labels, and of processor time. ``give_up`` cancels
        it once it has its first labels; ``all`` is then the seconds until that is done.
        """
        started, worked = time.perf_counter(), self._cpu_s()
        y, x = rect.y + rect.h // 2, rect.x + rect.w // 2
        view = rect.w / VIEW_PX
        self._send(SegmentRequest(id=1, slide="drawn", rect=rect, focus=(y, x), downsample=view))
        covered, first, first_cpu = 0, None, 0.0
        for line in self.process.stdout:  # type: ignore[union-attr]
            event = read_event(line)
            if isinstance(event, Failed):
                raise SystemExit(event.text)
            if isinstance(event, Written):
                covered += event.rect.area
                if first is None and covered >= rect.area:
                    first = time.perf_counter() - started
                    first_cpu = self._cpu_s() - worked
                    if give_up:
                        started = time.perf_counter()
                        self._send(CancelRequest(target=1))
            if event.event in LAST_KINDS:
                seconds = time.perf_counter() - started
                return {
                    "first": seconds if first is None else first,
                    "first_cpu": first_cpu,
                    "all": seconds,
                    "cpu": self._cpu_s() - worked,
                }
        raise SystemExit("the engine went away")

    def _send(self, request: Request) -> None:
        self.process.stdin.write(request.model_dump_json() + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(20)


def measure_views(
    slide: Path, size_px: int, corners: Sequence[tuple[int, int]] = ()
) -> dict[str, Any]:
    """Return the figures of views of ``slide``, a drawn one called drawn.

    ``corners`` says where views begin, one more than are repeated; there is then none from far.
    """
    with tempfile.TemporaryDirectory() as name:
        root = make_project(Path(name), slide, size_px)
        started = time.perf_counter()
        engine = Engine(root)
        room = max(1, size_px - VIEW_PX)
        spread = [
            (0, 0),
            *(((700 + 1130 * k) % room, (900 + 1970 * k) % room) for k in range(REPEATS)),
        ]
        first, *views = (
            Rect(y, x, VIEW_PX, VIEW_PX) for y, x in (corners or spread)[: REPEATS + 1]
        )
        cold = engine.ask(first)
        cold_s = time.perf_counter() - started - cold["all"] + cold["first"]
        warm = [engine.ask(view) for view in views]
        side = min(FAR_PX, size_px)
        # None twice: windows met again are not encoded again.
        far_views = [Rect(16 * k, 24 * k, side - 16 * k, side - 24 * k) for k in range(REPEATS)]
        far: dict[str, float] = {}
        if not corners:
            given_up = [engine.ask(view, give_up=True) for view in far_views]
            far = {
                "far_px": side,
                "far_first_labels_s": _median(given_up, "first"),
                "far_first_cpu_s": _median(given_up, "first_cpu"),
                "far_all_labels_s": round(engine.ask(far_views[0])["all"], 2),
                "give_up_s": _median(given_up, "all"),
            }
            engine.ask(views[-1])
        with Project.open(root) as project:
            train(project, **{"model.train_encoder": "no"})
        engine.ask(Rect(0, 0, 64, 64))  # the new round is loaded
        relabel = engine.ask(views[-1])
        engine.close()
        engine = Engine(root, "--set", "inference.recent_mb=0")
        engine.ask(Rect(0, 0, 64, 64))
        anew = engine.ask(views[-1])
        engine.close()
    return {
        "view_px": VIEW_PX,
        "first_labels_cold_s": round(cold_s, 2),
        "first_labels_warm_s": _median(warm, "first"),
        "all_labels_warm_s": _median(warm, "all"),
        "first_cpu_s": _median(warm, "first_cpu"),
        "cpu_s": _median(warm, "cpu"),
        **far,
        "relabel_s": round(relabel["all"], 2),
        "relabel_cpu_s": round(relabel["cpu"], 2),
        "relabel_anew_s": round(anew["all"], 2),
        "relabel_anew_cpu_s": round(anew["cpu"], 2),
    }


def _median(views: list[dict[str, float]], what: str) -> float:
    return round(statistics.median(view[what] for view in views), 2)


def measure() -> dict[str, Any]:
    """Draw a slide and return the figures."""
    with tempfile.TemporaryDirectory() as name:
        slide = synthetic.draw_slide(Path(name) / "drawn.tif", size_px=SIZE_PX, seed=0)
        return measure_views(slide, SIZE_PX)


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
