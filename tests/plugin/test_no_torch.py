"""The viewer's process must never import torch: it would crash, stall and starve the window."""

from __future__ import annotations

import subprocess
import sys

from standins import FAKE_ENGINE

SCRIPT = """
import sys
from pathlib import Path
import napari
from napari_unisemalign.widgets.dock import DockWidget
from napari_unisemalign.actions.controller import Controller

root, engine = Path(sys.argv[1]), sys.argv[2:]
viewer = napari.Viewer(show=False)
dock = DockWidget(viewer, controller=Controller(viewer, engine=engine))
viewer.window.add_dock_widget(dock)
dock.controller.opener.open_project(root)
dock.controller.reviewer.mark_region(128)
dock.controller.session.edit.values[:] = 1
dock.controller.reviewer.accept()
dock.controller.session.refresh_area()
dock.render_now()
assert dock.controller.session.slide == "a"
viewer.close()
heavy = {"torch", "torchvision", "timm", "open_clip", "triton"} & set(sys.modules)
print("HEAVY", sorted(heavy))
"""


def test_viewer_dock_and_project_without_torch(root) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root), *FAKE_ENGINE],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_rooms_below_the_widgets_import_no_qt() -> None:
    rooms = ("session.dock_state", "session.session", "canvas.layer_manager", "canvas.reader")
    imports = ", ".join(f"napari_unisemalign.{room}" for room in rooms)
    code = (
        f"import sys, {imports}; "
        "print('QT', sorted({'qtpy', 'PyQt6', 'PySide6', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "QT []" in done.stdout, done.stdout + done.stderr
