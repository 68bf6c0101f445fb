"""Outlines of QuPath, ImageScope and ASAP: as these programs write them, and as enemies do."""

from __future__ import annotations

import gzip
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unisemalign.errors import DataError
from unisemalign.exchange import (
    UnknownClassesError,
    export_labels,
    geojson_classes,
    import_geojson,
    import_labels,
    import_xml,
    json_stream,
    outlines,
)
from unisemalign.exchange.json_stream import iter_features
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, Region, RegionState
from unisemalign.runtime.safe_xml import UnsafeXmlError, parse_xml

SHAPE = (300, 400)
WHOLE = Rect(0, 0, *SHAPE)
CLASSES = ["Stroma", "Tumor", "Tumor: Positive"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", classes=CLASSES) as made:
        Image.new("RGB", (800, 600)).save(tmp_path / "x.png")
        made.add_slide(tmp_path / "x.png", spacing_um=0.25)
        yield made


def square(y: float, x: float, side: float) -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def feature(geometry: Any, classification: Any = "Tumor", **properties: Any) -> dict[str, Any]:
    said = {} if classification is None else {"classification": classification}
    return {"type": "Feature", "geometry": geometry, "properties": {**said, **properties}}


def save(path: Path, *features: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def told(project: Project, path: Path, **more: Any) -> str:
    """Import and return what was told."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import_labels(project, "x", path, **more)
    return " ".join(str(each.message) for each in caught)


def labels(project: Project) -> NDArray[np.uint8]:
    return project.labels("x").read(WHOLE)


# Classes


@pytest.mark.parametrize(
    ("classification", "label"),
    [
        ({"name": "Tumor", "color": [1, 2, 3]}, 2),
        ({"name": "tumor ", "colorRGB": -123}, 2),
        ("Tumor", 2),
        ({"names": ["Tumor", "Positive"], "color": [200, 0, 0]}, 3),
        ({"names": ["Tumor"]}, 2),
        ({"name": "Tumor: Positive"}, 3),
        ("Tumor:Positive", 3),
        ({"name": "Positive", "names": ["Tumor", "Positive"]}, 3),
    ],
)
def test_ways_to_say_a_class(
    classification: Any, label: int, project: Project, tmp_path: Path
) -> None:
    import_geojson(
        project, "x", save(tmp_path / "a.geojson", feature(square(20, 20, 100), classification))
    )
    assert (labels(project)[10:60, 10:60] == label).all()
    assert np.count_nonzero(labels(project)) == 2500


def test_unknown_classes_are_named_and_mapped(project: Project, tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.geojson",
        feature(square(0, 0, 20), {"names": ["Immune", "Other"]}),
        feature(square(40, 0, 20), "Necrosis"),
        feature(square(80, 0, 20), "Necrosis"),
        feature(square(120, 0, 20), "Stroma"),
        feature(square(160, 0, 20), "Ignore*"),
    )
    assert geojson_classes(path) == {
        "Immune: Other": 1,
        "Necrosis": 2,
        "Stroma": 1,
        "Ignore*": 1,
    }
    with pytest.raises(
        UnknownClassesError, match=r"'Necrosis' \(2\), 'Immune: Other' \(1\)"
    ) as error:
        import_geojson(project, "x", path)
    assert error.value.counts == {"Immune: Other": 1, "Necrosis": 2}
    assert project.journal() == []
    mapping = {"immune:other": "tumor", "Necrosis": ""}
    said = told(project, path, mapping=mapping)
    assert "2 of the class 'Necrosis'" in said
    assert "1 of the class 'Ignore*'" in said
    assert sorted(np.unique(labels(project))) == [0, 1, 2]
    with pytest.raises(DataError, match="needs one of the project's classes Stroma, Tumor"):
        import_geojson(project, "x", path, mapping={"Necrosis": "Bone"})


def test_odd_objects_are_left_out_and_counted(project: Project, tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.geojson",
        feature(square(0, 0, 20)),
        feature(square(0, 40, 20), None),
        feature(square(0, 80, 20), {"color": [1, 2, 3]}),
        feature({"type": "Point", "coordinates": [1, 2]}),
        feature({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        feature(None),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 1], [4, 4]]]}),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [10**400, 1], [4, 4]]]}),
        feature({"type": "Polygon", "coordinates": {"a": 1}}),
        feature(square(5000, 5000, 20)),
        3,
    )
    said = told(project, path)
    assert "1 outlines became labels" in said
    for part in (
        "2 without a class",
        "1 without an area (Point)",
        "1 without an area (LineString)",
        "1 without an area (no geometry)",
        "4 without a ring",
        "1 outside the slide",
        "1 that is no feature",
    ):
        assert part in said
    assert np.count_nonzero(labels(project)) == 100


def test_what_labels_cannot_keep_is_told(project: Project, tmp_path: Path) -> None:
    cell = feature(square(0, 0, 20), objectType="cell", measurements={"Area": 3.5})
    cell["nucleusGeometry"] = square(5, 5, 8)
    said = told(project, save(tmp_path / "a.geojson", cell, feature(square(0, 40, 20), name="T1")))
    assert "Only class and area are kept, not the measurements of 1, " in said
    assert "nuclei inside of 1" in said
    assert "names of 1" in said


def test_collections_and_points_of_three_numbers(project: Project, tmp_path: Path) -> None:
    deep = {"type": "Polygon", "coordinates": [[[0, 0, 0], [20, 0], [20, 20, 1], [0, 20]]]}
    both = {"type": "GeometryCollection", "geometries": [deep, square(40, 40, 20)]}
    import_geojson(project, "x", save(tmp_path / "a.geojson", feature(both)))
    assert np.count_nonzero(labels(project)) == 200


# Ways a text comes


@pytest.mark.parametrize("way", ["bom", "utf-16", "gzip", "zip", "list", "one", "late", "pretty"])
def test_ways_a_geojson_is_packed(way: str, project: Project, tmp_path: Path) -> None:
    one = feature(square(20, 20, 100))
    content: Any = {"type": "FeatureCollection", "features": [one]}
    if way == "late":
        content = {"crs": {"deep": [1, {"features": 2}]}, "type": "x", "features": [one], "z": None}
    content = {"list": [one], "one": one}.get(way, content)
    text = json.dumps(content, indent=3 if way == "pretty" else None)
    encoding = {"bom": "utf-8-sig", "utf-16": "utf-16"}.get(way, "utf-8")
    data = text.encode(encoding)
    path = tmp_path / "a.geojson"
    if way == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("__MACOSX/._a.geojson", b"x")
            packed.writestr("a.geojson", data)
    else:
        path.write_bytes(gzip.compress(data) if way == "gzip" else data)
    assert told(project, path) == ""
    assert np.count_nonzero(labels(project)) == 2500


def test_a_text_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_PIECE_CHARS", 3)
    features = [feature(square(i, 2.5e-3, 12345), "Tümör") for i in range(20)]
    assert list(iter_features(save(tmp_path / "a.geojson", *features))) == features
    (tmp_path / "n.json").write_text("[123456789, 1.5e10]")
    assert list(iter_features(tmp_path / "n.json")) == [123456789, 1.5e10]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"features": ' + b"[" * 100_000,
        b'[{"a":' * 50_000,
        b"[" + b"9" * 5000 + b"]",
        b'{"type": "FeatureCollection", "features": [{"type": "Feature"}',
        b'{"features": [1 2]}',
        b'{"type": "FeatureCollection"}',
        b"\x1f\x8b\x08\0torn",
        b"PK\x03\x04torn",
        b"\0" * 100_000,
        b"",
    ],
)
def test_texts_that_are_none(content: bytes, project: Project, tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_bytes(content)
    with pytest.raises(DataError) as error:
        import_geojson(project, "x", tmp_path / "a.geojson")
    assert str(error.value).endswith(".")
    assert project.journal() == []


def test_more_than_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MOST_BYTES", 10_000)
    monkeypatch.setattr(json_stream, "_PIECE_CHARS", 1000)
    path = tmp_path / "a.geojson"
    path.write_bytes(b"[" + b" " * 20_000)
    with pytest.raises(DataError, match="Export fewer objects"):
        list(iter_features(path))
    path.write_bytes(gzip.compress(b"[" + b" " * 20_000))  # small as it lies there
    with pytest.raises(json_stream.NoJsonError, match="it has more than"):
        list(iter_features(path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe"):
        list(iter_features(tmp_path / "pipe"))


def test_rings_of_many_points(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
    ring = np.stack([400 + 100 * np.cos(turns), 300 + 100 * np.sin(turns)], axis=1)
    path = save(
        tmp_path / "a.geojson", feature({"type": "Polygon", "coordinates": [ring.tolist()]})
    )
    import_geojson(project, "x", path)
    assert abs(np.count_nonzero(labels(project)) - np.pi * 50**2) < 60
    monkeypatch.setattr(outlines, "_MOST_ROWS_CROSSED", 10_000)
    zigzag = [[i % 800, 600 * (i % 2)] for i in range(1000)]
    path = save(tmp_path / "b.geojson", feature({"type": "Polygon", "coordinates": [zigzag]}))
    with pytest.raises(DataError, match="too intricate"):
        import_geojson(project, "x", path)


# Many objects


def test_regions_stay_few_and_cover_every_outline() -> None:
    rng = np.random.default_rng(0)
    rects = [Rect(int(y), int(x), 9, 11) for y, x in rng.integers(0, 60_000, (3000, 2))]
    found = outlines.joined(rects)
    assert len(found) <= outlines._MANY_REGIONS
    for index, each in enumerate(found):
        assert not any(each.intersect(other).area for other in found[index + 1 :])
    assert all(any(each.contains(rect) for each in found) for rect in rects)
    # Few ones stay as they are.
    assert outlines.joined([Rect(0, 0, 5, 5), Rect(9, 9, 2, 2)]) == [
        Rect(0, 0, 5, 5),
        Rect(9, 9, 2, 2),
    ]


def test_many_cells_are_one_act(project: Project, tmp_path: Path) -> None:
    cells = [feature(square(y, x, 6)) for y in range(0, 590, 12) for x in range(0, 790, 12)]
    regions = import_geojson(project, "x", save(tmp_path / "a.geojson", *cells))
    assert len(regions) <= outlines._MANY_REGIONS
    assert np.count_nonzero(labels(project)) == 9 * len(cells)
    project.undo()
    assert not labels(project).any()
    assert {each.state for each in project.regions()} == {RegionState.UNLABELLED}


# Round trips


def patches() -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return np.kron(rng.integers(0, 4, (30, 40), np.uint8), np.ones((10, 10), np.uint8))


@pytest.mark.parametrize("fmt", ["geojson", "imagescope", "asap"])
def test_outlines_come_back_as_they_went(fmt: Any, project: Project, tmp_path: Path) -> None:
    drawn = patches()
    project.write_labels("x", WHOLE, drawn, Origin.DRAWN, action="draw")
    (path,) = export_labels(project, tmp_path / "out", fmt)
    with Project.create(tmp_path / "q", classes=CLASSES) as other:
        other.add_slide(tmp_path / "x.png", spacing_um=0.25)
        assert told(other, path) == ""
        assert np.array_equal(labels(other), drawn)


def test_what_qupath_wrote_comes_back_to_it(project: Project, tmp_path: Path) -> None:
    """In, out, and in again: the same pixels and the same names."""
    path = save(
        tmp_path / "a.geojson",
        feature(square(20, 20, 100), {"names": ["Tumor", "Positive"], "color": [9, 9, 9]}),
        feature(square(200, 20, 60), {"name": "Stroma"}),
    )
    import_geojson(project, "x", path)
    (out,) = export_labels(project, tmp_path / "out", "geojson")
    written = json.loads(out.read_text())["features"]
    said = [each["properties"]["classification"] for each in written]
    assert {json.dumps(each.get("names")) for each in said} == {"null", '["Tumor", "Positive"]'}
    assert {each["name"] for each in said} == {"Tumor: Positive", "Stroma"}
    before = labels(project)
    project.undo()
    import_geojson(project, "x", out)
    assert np.array_equal(labels(project), before)


# XML


def imagescope(*layers: str) -> str:
    return (
        f'<?xml version="1.0"?><Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>'
    )


def region(points: list[tuple[Any, Any]], **attributes: Any) -> str:
    said = "".join(f' {key}="{value}"' for key, value in attributes.items())
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return f"<Region{said}><Vertices>{vertices}</Vertices></Region>"


def corners(y: float, x: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def layer(name: str, *regions: str) -> str:
    return f'<Annotation Id="1" Name="{name}"><Regions>{"".join(regions)}</Regions></Annotation>'


def test_imagescope(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        imagescope(
            layer(
                "Tumor",
                region(corners(20, 20, 100), Type=0),
                region(corners(40, 40, 20), Type=0, NegativeROA=1),
                region([(1, 2), (3, 4)], Type=4),
            ),
            layer("Stroma", region([(300, 100), (400, 200)], Type=2)),
            layer(
                "", region([("300,0", "300,0"), (340, 300), (340, 340), (300, 340)], Text="Stroma")
            ),
        )
    )
    said = told(project, path)
    assert "1 rulers" in said
    found = labels(project)
    assert np.count_nonzero(found[:, :100] == 2) == 50**2 - 10**2
    assert found[25, 25] == 0
    assert abs(np.count_nonzero(found[40:110, 140:210] == 1) - np.pi * 25**2) < 30
    assert (found[150:170, 150:170] == 1).all()


def test_a_hole_that_reaches_over_the_rim(project: Project, tmp_path: Path) -> None:
    rim = region(corners(60, 60, 100), NegativeROA=1)
    path = tmp_path / "a.xml"
    path.write_text(imagescope(layer("Tumor", region(corners(20, 20, 100)), rim)))
    import_xml(project, "x", path)
    assert np.count_nonzero(labels(project)) == 50**2 - 30**2


def test_asap(project: Project, tmp_path: Path) -> None:
    def annotation(kind: str, group: str, points: list[tuple[float, float]]) -> str:
        said = "".join(
            f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points)
        )
        return (
            f'<Annotation Name="a" Type="{kind}" PartOfGroup="{group}"><Coordinates>{said}'
            f"</Coordinates></Annotation>"
        )

    path = tmp_path / "a.xml"
    path.write_text(
        "<ASAP_Annotations><Annotations>"
        + annotation("Polygon", "Tumor", corners(20, 20, 100))
        + annotation("Rectangle", "Stroma", corners(20, 200, 40))
        + annotation("Polygon", "None", corners(200, 200, 40))
        + annotation("Dot", "Tumor", [(5, 5)])
        + "</Annotations></ASAP_Annotations>"
    )
    said = told(project, path)
    assert "1 without a class" in said
    assert "1 without an area (dot)" in said
    assert np.count_nonzero(labels(project) == 2) == 2500
    assert np.count_nonzero(labels(project) == 1) == 400


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;">]>'
    "<Annotations>&c;</Annotations>"
)
FETCH = '<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><Annotations/>'


@pytest.mark.parametrize(
    "text", [BOMB, FETCH, "<a>" * 5000, "<Annotations>", "<other/>", "<a b='\0'/>", "<"]
)
def test_xml_that_is_not_read(text: str, project: Project, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match="XML of ImageScope"):
        import_xml(project, "x", tmp_path / "a.xml")


def test_xml_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_xml('<?xml version="1.0" encoding="UTF-16"?><o:a xmlns:o="x" b="ü"/>').tag == "a"
    monkeypatch.setattr("unisemalign.runtime.safe_xml.MOST_BYTES", 100)
    with pytest.raises(UnsafeXmlError, match="more than is read"):
        parse_xml("<a>" + " " * 100 + "</a>")


def test_a_region_is_returned(project: Project, tmp_path: Path) -> None:
    (found,) = import_geojson(
        project, "x", save(tmp_path / "a.geojson", feature(square(20, 20, 100)))
    )
    assert isinstance(found, Region)
    assert found.rect == Rect(10, 10, 50, 50)
