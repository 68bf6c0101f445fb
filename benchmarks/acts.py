"""Acts of a person at the window: from the hand to what is seen, and a large project opened.

Used by `window.py`. Each act is done with real key and mouse events; it ends with the first time
that the canvas is drawn after its effect is there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unisemalign.session.region_edit import RegionEdit
from napari_unisemalign.session.session import Session
from napari_unisemalign.widgets.dock import DockWidget
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project, Region, RegionState, Split

SLIDES, REGIONS_EACH, SIDE_PX, REGION_PX = 100, 3, 512, 96
PATIENCE_S = 20.0


def make_large_project(folder: Path) -> Path:
    """Make a project of 100 small slides and 300 regions, a third of them accepted."""
    rng = np.random.default_rng(0)
    with Project.create(folder / "large.unisem", classes=["background", "gland"]) as project:
        waiting = []
        for number in range(SLIDES):
            path = folder / f"slide-{number:03}.png"
            pixels = rng.integers(90, 230, (SIDE_PX // 8, SIDE_PX // 8, 3), np.uint8)
            Image.fromarray(pixels).resize((SIDE_PX, SIDE_PX)).save(path)
            name = project.add_slide(path, spacing_um=0.5).name
            rects = [Rect(150 * k, 150 * k, REGION_PX, REGION_PX) for k in range(REGIONS_EACH)]
            values = np.full(rects[0].shape, 1 + number % 2, np.uint8)
            edit = LabelEdit(rects[0], values, Origin.DRAWN, regions=(rects[0],))
            project.accept(name, [edit], action="accept")
            waiting += [(name, rect) for rect in rects[1:]]
        state, split = RegionState.PREDICTED, Split.TRAIN
        project.replace_queue(
            Region(0, name, rect, state, split, 1 - k / 1000, "model unsure on 40 %", None)
            for k, (name, rect) in enumerate(waiting)
        )
        return project.root


def _grew(layer: Labels, before: int) -> bool:
    return int(np.count_nonzero(layer.data)) > before


def _moved_on(session: Session, here: RegionEdit | None) -> bool:
    return session.edit is not None and session.edit is not here


def measure_acts(
    viewer: napari.Viewer, dock: DockWidget, root: Path, repeats: int = 8
) -> dict[str, Any]:
    """Open the large project and work in it; return milliseconds.

    Returns
    -------
    dict
        ``open``: until its first slide is drawn; ``open_longest``: the longest time, then and in
        the two seconds after it, in which the window answers nothing; ``mark``: median from the
        press of the button to the brush's mark; ``next``: from Accept-and-next (Shift+C) to the
        next region under the brush.
    """
    session = dock.controller.session
    canvas = viewer.window._qt_viewer.canvas
    drawn = [0]
    canvas._scene_canvas.events.draw.connect(lambda _event: drawn.__setitem__(0, drawn[0] + 1))

    def wait(effect: Callable[[], bool]) -> float:
        """Return the ms until the canvas is drawn with ``effect`` there."""
        began, seen = time.perf_counter(), -1
        while time.perf_counter() - began < PATIENCE_S:
            QApplication.processEvents()
            if seen < 0 and effect():
                seen = drawn[0]
                canvas.native.update()
            if 0 <= seen < drawn[0]:
                return 1000 * (time.perf_counter() - began)
        raise SystemExit("An act had no effect.")

    gaps, began = [0.0], time.perf_counter()
    dock.controller.opener.open_project(root)
    gaps.append(time.perf_counter() - began)
    opened = 1000 * gaps[-1] + wait(lambda: session.slide is not None)
    end = time.perf_counter() + 2
    while time.perf_counter() < end:
        began = time.perf_counter()
        QApplication.processEvents()
        gaps.append(time.perf_counter() - began)
    marks, nexts = [], []
    dock.controller.reviewer.next_region()
    wait(lambda: session.edit is not None)
    for _ in range(repeats):
        layer = dock.controller.layers.editing()
        if layer is None:
            raise SystemExit("No region is open.")
        canvas.native.setFocus()
        QTest.keyClick(canvas.native, Qt.Key.Key_2)
        before = int(np.count_nonzero(layer.data))
        middle = canvas.native.rect().center() + QPoint(7, 3)
        QTest.mouseMove(canvas.native, middle - QPoint(9, 0))
        QTest.mousePress(canvas.native, Qt.MouseButton.LeftButton, pos=middle)
        marks.append(wait(partial(_grew, layer, before)))
        QTest.mouseRelease(canvas.native, Qt.MouseButton.LeftButton, pos=middle)
        here = session.edit
        QTest.keyClick(canvas.native, Qt.Key.Key_C, Qt.KeyboardModifier.ShiftModifier)
        nexts.append(wait(partial(_moved_on, session, here)))
    return {
        "open": round(opened),
        "open_longest": round(1000 * max(gaps)),
        "mark": round(statistics.median(marks), 1),
        "next": round(statistics.median(nexts), 1),
    }
