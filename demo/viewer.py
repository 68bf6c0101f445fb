"""The demo's project in napari: for a person, or for a photograph of the plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from loop import say
from PIL import Image
from tissue import DRAWN, HERE, Plan


def has_display() -> bool:
    """Whether a window can be shown to a person."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def photograph(plan: Plan) -> Path | None:
    """Photograph the plugin with the project open, on a virtual screen where there is one."""
    path = plan.out / "6-plugin.png"
    virtual = shutil.which("xvfb-run")
    if virtual is None and not has_display():
        say("No screenshot: there is neither a display nor xvfb-run (package xvfb).")
        return None
    screen = [virtual, "-a", "-s", "-screen 0 1600x1100x24"] if virtual else []
    words = [*screen, sys.executable, str(HERE / "demo.py"), "--show", str(plan.project)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb"} if virtual else dict(os.environ)
    with (plan.out / "viewer.log").open("w", encoding="utf-8") as log:
        ended = subprocess.run(
            [*words, "--screenshot", str(path)],
            env=environment,
            stdout=log,
            stderr=log,
            timeout=180,
            check=False,
        )
    if ended.returncode != 0 or not path.exists():
        say(f"No screenshot: the viewer ended with status {ended.returncode}; see {log.name}.")
        return None
    return path


def show_project(root: Path, screenshot: Path | None) -> None:
    """Open napari on the project; with ``screenshot``, photograph it and close."""
    import napari
    from qtpy.QtCore import QTimer

    from napari_unisemalign.widgets.dock import DockWidget

    viewer = napari.Viewer(title="napari-unisemalign", show=True)
    dock = DockWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Segment slides", area="right")
    dock.controller.opener.open_project(root)
    dock.controller.opener.show_slide(DRAWN)
    if screenshot is not None:
        viewer.window.resize(1560, 1060)
        QTimer.singleShot(8000, lambda: _shoot(viewer, screenshot))
    napari.run()
    if "torch" in sys.modules:
        raise SystemExit("The viewer's process has loaded torch: it never may.")


def _shoot(viewer: Any, path: Path) -> None:
    viewer.reset_view()
    Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).save(path)
    viewer.close()
