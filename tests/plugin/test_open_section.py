"""What Open remembers and tells: the projects opened last, and remarks on slides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tifffile
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unisemalign.actions.recent import MOST, recent_projects, remember_project
from unisemalign.project import Project


def _project(folder: Path, name: str) -> Path:
    with Project.create(folder / name, classes=["a", "b"]) as made:
        return made.root


def test_recent_projects_are_the_newest_first_and_only_those_that_are_there(tmp_path) -> None:
    roots = [_project(tmp_path, f"p{number}") for number in range(MOST + 2)]
    for root in roots:
        remember_project(root)
    remember_project(roots[4])
    newest = recent_projects()
    assert newest[0] == roots[4]
    assert len(newest) == MOST
    assert len(set(newest)) == MOST
    newest[1].joinpath("project.toml").unlink()
    assert newest[1] not in recent_projects()


def test_a_spoilt_or_forbidden_file_is_no_trouble(tmp_path, own_config) -> None:
    root = _project(tmp_path, "p")
    place = own_config / "napari-unisemalign" / "recent.json"
    place.parent.mkdir(parents=True)
    for spoilt in ("{", "3", json.dumps([1, None, str(root)])):
        place.write_text(spoilt)
        assert recent_projects() in ([], [root])
    place.unlink()
    place.mkdir()
    remember_project(root)
    assert recent_projects() == []


def test_a_project_is_opened_from_the_menu(dock, root, tmp_path, qtbot) -> None:
    other = _project(tmp_path, "other.unisem")
    dock.controller.opener.open_project(other)
    assert dock.controller.session.project.root == other
    dock.controller.layers.viewer.window._qt_window.show()
    dock.render_now()
    button = dock.open.recent
    chosen: list[str] = []

    def choose() -> None:
        menu = button.menu()
        chosen.extend(act.text() for act in menu.actions())
        QTest.mouseClick(
            menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(menu.actions()[1]).center()
        )

    QTimer.singleShot(300, choose)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    assert [text.split()[0] for text in chosen] == ["other", "study"]
    qtbot.waitUntil(lambda: dock.controller.session.project.root == root)


def test_remarks_stand_beside_the_slide(dock, tmp_path) -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    turned = tmp_path / "turned.tif"
    tifffile.imwrite(
        turned,
        np.stack([ramp] * 3, -1),
        photometric="rgb",
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
        extratags=[(274, 3, 1, 3, True)],
    )
    dock.open.add_slides([turned])
    dock.render_now()
    assert "orientation tag is 3" in dock.open.remarks.text()
    item = next(
        dock.open.slides.topLevelItem(row)
        for row in range(dock.open.slides.topLevelItemCount())
        if "turned" in dock.open.slides.topLevelItem(row).text(0)
    )
    assert item.text(0).endswith("(!)")
    assert "orientation tag is 3" in item.toolTip(0)
    dock.controller.opener.show_slide("a")
    dock.render_now()
    assert dock.open.remarks.text() == ""
