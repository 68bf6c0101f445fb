"""How long the window is held up: event-loop lag of the viewer at work, and its start.

A timer of 10 ms ticks in the window's own thread; how much later than that each tick comes is the
lag. First painting in napari alone, over the same slide and as large a layer (mouse moves, one
every 16 ms); then a viewer with the dock goes through: idle; painting the region under the brush;
training; painting while training; segmenting the slide; painting while segmenting. Reported of
each: the median, the 95th and 99th percentile and the longest, in ms. Budget: while training and
while segmenting the 99th within 50 ms of idle's; painting is compared with napari's own.

`start_s`: from the interpreter's start to a painted window, of napari alone and of napari with the
dock and a project's slide on show, each in a process of its own, the median of `--starts`. Budget:
3 s more.

`acts_ms`: a project of 100 slides and 300 regions opened, and the longest time the window answered
nothing meanwhile (budget 100 ms); from the press of the mouse to the brush's mark; from
Accept-and-next to the next region under the brush (`acts.py`).

Needs a display, or a virtual one, whose software drawing takes a core's time of its own:

    xvfb-run -a -s "-screen 0 1600x1100x24" python benchmarks/window.py [--seconds 15] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from acts import make_large_project, measure_acts
from drawn import make_project
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_unisemalign.widgets.dock import DockWidget
from unisemalign.geometry import Rect
from unisemalign.project import Project
from unisemalign.slides import pyramid_levels

SIZE_PX, REGION_PX = 6144, 512
WINDOW_PX = (1440, 960)
TICK_MS, MOVE_MS = 10, 16
PATIENCE_S = 300.0


def open_window(root: Path | None) -> tuple[napari.Viewer, DockWidget | None]:
    """Open the viewer, with the dock and a project where one is given, and let it be painted."""
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW_PX)
    dock = None
    if root is not None:
        dock = DockWidget(viewer)
        viewer.window.add_dock_widget(dock, name="Segment slides", area="right")
        dock.controller.opener.open_project(root)
        _live(lambda: dock is not None and dock.controller.session.slide is not None, PATIENCE_S)
    viewer.screenshot(canvas_only=True, flash=False)
    return viewer, dock


class Brush:
    """Moves the mouse over the canvas with the button held, as a painting hand does."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._canvas: QWidget = viewer.window._qt_viewer.canvas.native
        self._angle = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._move)

    def _point(self) -> QPoint:
        middle = self._canvas.rect().center()
        radius = min(self._canvas.width(), self._canvas.height()) / 5
        turn = 0.15 * self._angle
        return middle + QPoint(
            round(radius * np.cos(self._angle)), round(radius * np.sin(self._angle + turn))
        )

    def _move(self) -> None:
        self._angle += 0.05
        QTest.mouseMove(self._canvas, self._point())

    def begin(self) -> None:
        """Press the button and begin to move."""
        QTest.mousePress(self._canvas, Qt.MouseButton.LeftButton, pos=self._point())
        self._timer.start(MOVE_MS)

    def end(self) -> None:
        """Let go."""
        self._timer.stop()
        QTest.mouseRelease(self._canvas, Qt.MouseButton.LeftButton, pos=self._point())


def lag(seconds: float, going: Callable[[], bool] = lambda: True) -> dict[str, float]:
    """Return the lag of the event loop over ``seconds``, or while ``going``, in ms."""
    late: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        late.append(max(0.0, 1000 * (now - last) - TICK_MS))
        last = now

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(tick)
    timer.start(TICK_MS)
    end = time.monotonic() + seconds
    while time.monotonic() < end and going():
        QApplication.processEvents()
        time.sleep(0.0005)
    timer.stop()
    found = np.percentile(late, [50, 95, 99, 100])
    return {
        name: round(float(value), 1)
        for name, value in zip(("median", "p95", "p99", "longest"), found, strict=True)
    } | {"ticks": len(late)}


def measure_napari(root: Path, seconds: float) -> dict[str, float]:
    """Return the lag of painting without the plugin."""
    viewer, _ = open_window(None)
    with Project.open(root) as project:
        levels = pyramid_levels(project.open_slide("colon").slide)
    viewer.add_image(levels, multiscale=True, rgb=True)
    layer = viewer.add_labels(np.zeros((REGION_PX, REGION_PX), np.uint8), translate=(1500, 1500))
    layer.brush_size, layer.selected_label, layer.mode = REGION_PX // 24, 1, "paint"
    viewer.scene.camera.center = (1500 + REGION_PX / 2, 1500 + REGION_PX / 2)
    viewer.scene.camera.zoom = 0.75 * min(viewer.canvas.size) / REGION_PX
    _live(seconds=2)
    brush = Brush(viewer)
    brush.begin()
    found = lag(seconds)
    brush.end()
    if not layer.data.any():
        raise SystemExit("The brush painted nothing: the mouse did not reach the canvas.")
    viewer.close()
    return found


def measure_lag(root: Path, seconds: float) -> dict[str, dict[str, float]]:
    """Go through the work and return the lag of each part."""
    viewer, dock = open_window(root)
    if dock is None:
        raise SystemExit("No dock.")
    controller, session = dock.controller, dock.controller.session
    failures: list[str] = []
    controller.errors.failed.connect(lambda _section, sentence: failures.append(sentence))
    report = {}

    def painted(going: Callable[[], bool]) -> dict[str, float]:
        brush.begin()
        try:
            return lag(seconds, going)
        finally:
            brush.end()

    brush = Brush(viewer)
    _live(seconds=3)
    report["idle"] = lag(seconds)
    controller.layers.viewport.look_at(Rect(1500, 1500, REGION_PX, REGION_PX))
    controller.reviewer.mark_region(REGION_PX)
    _live(lambda: session.edit is not None, 10)
    layer = controller.layers.editing()
    if layer is None:
        raise SystemExit(f"No region opened: {failures}")
    report["painting"] = painted(lambda: True)
    if not np.asarray(layer.data).any():
        raise SystemExit("The brush painted nothing: the mouse did not reach the canvas.")
    dock.train.form.fields["training.steps"].value = 2000
    dock.train.start.click()
    _live(lambda: len(session.curve.loss) > 5, PATIENCE_S)
    report["training"] = lag(seconds, lambda: session.training is not None)
    report["painting while training"] = painted(lambda: session.training is not None)
    controller.trainer.cancel()
    _live(lambda: session.training is None, PATIENCE_S)
    dock.segment.slide.click()
    _live(lambda: bool(session.segmenting and session.segmenting.done), PATIENCE_S)
    report["segmenting"] = lag(seconds, lambda: session.segmenting is not None)
    report["painting while segmenting"] = painted(lambda: session.segmenting is not None)
    if session.segmenting is None:
        failures.append("The slide was done before painting was: fewer --seconds are wanted.")
    controller.segmenter.cancel()
    _live(lambda: session.segmenting is None, PATIENCE_S)
    if failures:
        raise SystemExit("\n".join(failures))
    viewer.close()
    return report


def measure_start(root: Path, starts: int) -> dict[str, float]:
    """Return seconds to a painted window, of napari alone and with a project."""
    seconds: dict[str, list[float]] = {"napari": [], "with a slide": []}
    for _ in range(starts):
        for kind, folder in (("napari", []), ("with a slide", ["--open", str(root)])):
            began = time.perf_counter()
            command = [sys.executable, __file__, "--only-start", *folder]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                if process.stdout is None or "painted" not in process.stdout.readline():
                    raise SystemExit("A viewer did not start.")
                seconds[kind].append(time.perf_counter() - began)
                process.wait()
    return {kind: round(statistics.median(found), 2) for kind, found in seconds.items()}


def _live(until: Callable[[], bool] = lambda: False, seconds: float = 1.0) -> None:
    """Let the window live until something holds, at most ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.005)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=15, help="of each part")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only-start", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_start:
        viewer, _ = open_window(given.open)
        print("painted", flush=True)
        viewer.close()
        return
    with tempfile.TemporaryDirectory() as name:
        root = make_project(Path(name), SIZE_PX, REGION_PX)
        report: dict[str, Any] = {"start_s": measure_start(root, given.starts)}
        alone = measure_napari(root, given.seconds)
        viewer, dock = open_window(root)
        if dock is None:
            raise SystemExit("No dock.")
        report |= {"acts_ms": measure_acts(viewer, dock, make_large_project(Path(name)))}
        viewer.close()
        report |= {"lag_ms": {"painting in napari": alone, **measure_lag(root, given.seconds)}}
    if given.json:
        print(json.dumps(report))
        return
    print(f"start                      {report['start_s']} s")
    print(f"acts                       {report['acts_ms']} ms")
    for part, found in report["lag_ms"].items():
        print(f"{part:26} {found}")


if __name__ == "__main__":
    main()
