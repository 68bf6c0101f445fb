"""Labels of other programs come in through the dock; unknown classes are asked for, once."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox

from napari_unisemalign.actions import class_map
from napari_unisemalign.widgets.class_map_dialog import ClassMapDialog
from unisemalign.geometry import Rect


def _square(x: int, y: int, name: str | None) -> dict:
    ring = [[x, y], [x + 100, y], [x + 100, y + 100], [x, y + 100], [x, y]]
    properties = {"objectType": "annotation"}
    if name is not None:
        properties["classification"] = {"name": name}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }


@pytest.fixture
def outlines(tmp_path):
    path = tmp_path / "qupath.geojson.gz"
    features = [
        _square(0, 0, "Tumor"),
        _square(200, 0, "Tumor"),
        _square(400, 0, "stroma"),
        _square(600, 0, "Artefact"),
        _square(0, 400, None),
    ]
    path.write_bytes(
        gzip.compress(json.dumps({"type": "FeatureCollection", "features": features}).encode())
    )
    return path


def _answer(choose: dict[str, str], button, seen: list[str]) -> None:
    """Answer the dialog once it is there, with the keyboard and a click."""

    def act() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, ClassMapDialog):
            QTimer.singleShot(50, act)
            return
        for theirs, box in dialog.choices.items():
            seen.append(f"{theirs}={box.currentText()}")
            if theirs in choose:
                box.setFocus()
                QTest.keyClicks(box, choose[theirs])
        buttons = dialog.findChild(QDialogButtonBox)
        QTest.mouseClick(buttons.button(button), Qt.MouseButton.LeftButton)

    QTimer.singleShot(50, act)


def test_unknown_classes_are_asked_for_and_remembered(dock, outlines) -> None:
    session, seen = dock.controller.session, []
    _answer({"Tumor": "epithelium"}, QDialogButtonBox.StandardButton.Ok, seen)
    dock.open.import_file(outlines)
    assert seen == ["Tumor=leave out", "Artefact=leave out"]  # most outlines first
    names = session.project.info.class_names
    labels = session.project.labels("a").read(Rect(0, 0, 100, 700))
    assert {names[v - 1] for v in np.unique(labels) if v} == {"epithelium", "stroma"}
    assert class_map.remembered_classes() == {"Tumor": "epithelium", "Artefact": ""}
    assert session.next_undo().verb == "import"

    again: list[str] = []
    session.undo()
    _answer({}, QDialogButtonBox.StandardButton.Ok, again)
    dock.open.import_file(outlines)
    assert again == ["Tumor=epithelium", "Artefact=leave out"]
    again_labels = session.project.labels("a").read(Rect(0, 0, 100, 700))
    assert np.array_equal(again_labels, labels)


def test_cancel_takes_nothing(dock, outlines) -> None:
    session = dock.controller.session
    _answer({"Tumor": "epithelium"}, QDialogButtonBox.StandardButton.Cancel, [])
    dock.open.import_file(outlines)
    assert session.labelled_values() == set()
    assert class_map.remembered_classes() == {}


def test_what_is_left_out_is_said(dock, outlines, monkeypatch) -> None:
    from napari_unisemalign.widgets import open_section

    said: list[str] = []
    monkeypatch.setattr(open_section, "show_info", said.append)
    _answer({"Tumor": "epithelium"}, QDialogButtonBox.StandardButton.Ok, [])
    dock.open.import_file(outlines)
    assert "3 outlines became labels" in said[0]
    assert "1 without a class" in said[0]
    assert "1 of the class 'Artefact'" in said[0]


def test_imagescope_comes_in_through_the_dock(dock, tmp_path) -> None:
    path = tmp_path / "scope.xml"
    corners = "".join(
        f'<Vertex X="{x}" Y="{y}"/>' for x, y in ((0, 0), (100, 0), (100, 100), (0, 100))
    )
    path.write_text(
        f'<Annotations MicronsPerPixel="0.5"><Annotation Name="stroma"><Regions><Region>'
        f"<Vertices>{corners}</Vertices></Region></Regions></Annotation></Annotations>"
    )
    dock.open.import_file(path)
    session = dock.controller.session
    stroma = session.project.info.class_names.index("stroma") + 1
    assert session.labelled_values() == {stroma}


def test_a_damaged_memory_is_no_memory(tmp_path) -> None:
    place = tmp_path / "config" / "napari-unisemalign"
    place.mkdir(parents=True)
    (place / "class-map.json").write_text("[1, 2")
    assert class_map.remembered_classes() == {}
    (place / "class-map.json").write_text('{"a": 1, "b": "c"}')
    assert class_map.remembered_classes() == {"b": "c"}
