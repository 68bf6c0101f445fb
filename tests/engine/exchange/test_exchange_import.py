"""Masks and GeoJSON in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from unisemalign.errors import DataError
from unisemalign.exchange import import_geojson, import_mask
from unisemalign.exchange import masks as masks_module
from unisemalign.exchange import outlines as outlines_module
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState

WHOLE = Rect(0, 0, 300, 620)


@pytest.fixture
def two_classes(tmp_path):
    with Project.create(tmp_path / "two", classes=["background", "gland"]) as made:
        Image.new("RGB", (40, 30)).save(tmp_path / "b.png")
        made.add_slide(tmp_path / "b.png", spacing_um=0.5)
        yield made


def _indices() -> np.ndarray:
    mask = np.full(WHOLE.shape, 255, np.uint8)
    mask[50:100, 60:160] = 0
    mask[60:90, 70:80] = 2
    return mask


def _save(path, pixels: np.ndarray):
    Image.fromarray(pixels).save(path)
    return path


def test_class_indices_become_labels(project, tmp_path):
    drawn = Rect(0, 0, 60, 100)
    project.write_labels("a", drawn, np.full(drawn.shape, 2, np.uint8), Origin.DRAWN, action="draw")
    region = import_mask(project, "a", _save(tmp_path / "m.png", _indices()))
    store = project.labels("a")
    wanted = (_indices() + 1).astype(np.uint8)
    wanted[:60, :100][wanted[:60, :100] == 0] = 2
    assert np.array_equal(store.read(WHOLE), wanted)
    assert (store.read_origin(region.rect) == np.where(_indices() < 255, 4, 1)[region.rect.slices])[
        10:
    ].all()
    assert (region.rect, region.state) == (Rect(50, 60, 50, 100), RegionState.ACCEPTED)
    project.undo()
    assert (store.read(drawn) == 2).all()
    assert store.read(WHOLE).sum() == 2 * drawn.area


def test_importing_twice_makes_one_region(project, tmp_path):
    path = _save(tmp_path / "m.png", _indices())
    first = import_mask(project, "a", path, state=RegionState.REVIEW)
    second = import_mask(project, "a", path)
    assert (first.id, second.state) == (second.id, RegionState.ACCEPTED)
    assert len(project.regions()) == 1


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_files_and_depths(project, tmp_path, suffix, dtype):
    path = tmp_path / f"m.{suffix}"
    pixels = _indices().astype(dtype)
    if suffix == "tif":
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    import_mask(project, "a", path)
    assert np.array_equal(project.labels("a").read(WHOLE), _indices() + np.uint8(1))


def test_a_palette_is_read_as_indices(project, tmp_path):
    image = Image.fromarray(_indices() % 255).convert("L")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "m.png")
    import_mask(project, "a", tmp_path / "m.png")
    assert project.labels("a").read(Rect(60, 70, 30, 10)).min() == 3


def test_a_mask_at_level_0_is_sampled(project, tmp_path):
    full = np.kron(_indices(), np.ones((2, 2), np.uint8))
    import_mask(project, "a", _save(tmp_path / "m.png", full))
    assert np.array_equal(project.labels("a").read(WHOLE), _indices() + np.uint8(1))


def test_bands_give_the_same(project, tmp_path, monkeypatch):
    monkeypatch.setattr(masks_module, "_BAND_AREA_PX", 1000)
    import_mask(project, "a", _save(tmp_path / "m.png", _indices()))
    assert np.array_equal(project.labels("a").read(WHOLE), _indices() + np.uint8(1))
    assert len(project.journal()) == 5


@pytest.mark.parametrize("kind", ["1-bit", "0 and 255", "255 alone", "1-bit tiff"])
def test_black_and_white_in_two_classes(two_classes, tmp_path, kind):
    white = np.zeros((30, 40), bool)
    white[10:20, 10:30] = True
    if kind == "255 alone":
        white[:] = True
    path = tmp_path / "m.img"
    if kind == "1-bit tiff":
        tifffile.imwrite(path, white)
    else:
        pixels = white if kind == "1-bit" else white.astype(np.uint8) * 255
        Image.fromarray(pixels).save(path, format="PNG")
    region = import_mask(two_classes, "b", path)
    assert region.rect == Rect(0, 0, 30, 40)
    assert np.array_equal(two_classes.labels("b").read(region.rect), white + np.uint8(1))


def test_0_and_1_in_two_classes_are_indices(two_classes, tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[3] = 1
    import_mask(two_classes, "b", _save(tmp_path / "m.png", mask))
    assert np.array_equal(two_classes.labels("b").read(Rect(0, 0, 30, 40)), mask + 1)


def test_values_may_be_told(project, tmp_path):
    mask = np.full(WHOLE.shape, 7, np.uint8)
    mask[0] = 255
    path = _save(tmp_path / "m.png", mask)
    import_mask(project, "a", path, values={7: 2, 255: 3})
    labels = project.labels("a").read(WHOLE)
    assert (labels[0] == 3).all()
    assert (labels[1:] == 2).all()
    with pytest.raises(DataError, match="0…3, found 4"):
        import_mask(project, "a", path, values={7: 4})


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((5, 6), np.uint8), "300 × 620 at 0.5 µm or 600 × 1240 at level 0, found 5 × 6"),
        (np.full((300, 620), 3, np.uint8), "needs the values 0, 1, 2, 255 (255 = ignore), found 3"),
        (np.zeros((300, 620, 3), np.uint8), "needs one channel, found RGB"),
        (np.full((300, 620), 255, np.uint8), "at least one pixel with a class"),
        (np.zeros((300, 620), bool), "needs a project of two classes, found 3"),
        (np.full((300, 620), 300, np.uint16), "needs values 0…255, found 300"),
    ],
)
def test_masks_that_do_not_fit(project, tmp_path, pixels, sentence):
    with pytest.raises(DataError) as told:
        import_mask(project, "a", _save(tmp_path / "m.png", pixels))
    assert sentence in str(told.value)
    assert project.journal() == []
    assert project.regions() == []


def test_files_that_are_no_masks(project, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found a folder"):
        import_mask(project, "a", tmp_path / "empty")
    with pytest.raises(DataError, match="found nothing"):
        import_mask(project, "a", tmp_path / "none.png")
    for content in (b"", b"text", b"II*\0torn", b"\x89PNG\r\n\x1a\ntorn"):
        (tmp_path / "m.png").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as an image"):
            import_mask(project, "a", tmp_path / "m.png")
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((300, 620), np.float32))
    with pytest.raises(DataError, match="one channel of whole numbers, found float32"):
        import_mask(project, "a", tmp_path / "m.tif")


def _square(y: float, x: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def _feature(kind: str, coordinates, name="gland") -> dict:
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


def _collection(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_polygons_with_holes_become_labels(project, tmp_path):
    path = _collection(
        tmp_path / "a.geojson",
        _feature("Polygon", [_square(100, 100, 100), _square(120, 120, 40)]),
        _feature("MultiPolygon", [[_square(0, 0, 20)], [_square(400, 1000, 900)]], " Stroma "),
    )
    regions = import_geojson(project, "a", path)
    wanted = np.zeros(WHOLE.shape, np.uint8)
    wanted[50:100, 50:100] = 2
    wanted[60:80, 60:80] = 0
    wanted[:10, :10] = 3
    wanted[200:, 500:] = 3
    store = project.labels("a")
    assert np.array_equal(store.read(WHOLE), wanted)
    assert np.array_equal(store.read_origin(WHOLE), np.where(wanted > 0, 4, 0))
    assert [each.rect for each in regions] == [
        Rect(0, 0, 10, 10),
        Rect(50, 50, 50, 50),
        Rect(200, 500, 100, 120),
    ]
    assert {each.state for each in regions} == {RegionState.ACCEPTED}


def test_tiles_give_the_same(project, tmp_path, monkeypatch):
    monkeypatch.setattr(outlines_module, "_TILE_PX", 64)
    path = _collection(tmp_path / "a.geojson", _feature("Polygon", [_square(100, 100, 300)]))
    import_geojson(project, "a", path)
    labels = project.labels("a").read(WHOLE)
    assert (labels[50:200, 50:200] == 2).all()
    assert labels.sum() == 2 * 150 * 150


def test_rectangles_that_touch_are_one_region(project, tmp_path):
    path = _collection(
        tmp_path / "a.geojson",
        _feature("Polygon", [_square(0, 0, 100)]),
        _feature("Polygon", [_square(50, 50, 100)]),
    )
    (region,) = import_geojson(project, "a", path)
    assert region.rect == Rect(0, 0, 75, 75)


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        ([], "at least one feature, found none"),
        (
            [_feature("Polygon", [_square(0, 0, 9)], "tumour")],
            "background, gland, stroma; found 'tu",
        ),
        ([_feature("Polygon", [_square(0, 0, 9)], None)], "found none"),
        ([{"type": "Feature"}], "found none"),
        ([_feature("Point", [1, 2])], "1 without an area (Point)"),
        ([_feature("Polygon", [[[0, 0], [1, 1]]])], "at least three points"),
        ([_feature("Polygon", [[[0, "x"], [1, 1], [2, 2]]])], "at least three points"),
        ([_feature("Polygon", [[[0], [1], [2]]])], "at least three points"),
        ([_feature("Polygon", [])], "at least three points"),
        ([_feature("Polygon", [_square(9e3, 9e3, 9)])], "at least one polygon on slide 'a'"),
        ([_feature("Polygon", [_square(0, 1e30, 9)])], "at least three points"),
        (
            [_feature("Polygon", [_square(0, 0, 9)]), _feature("Polygon", [_square(0, 0, 9)], "x")],
            "found 'x' (1). Say what each means with",
        ),
    ],
)
def test_geojson_that_does_not_fit(project, tmp_path, features, sentence):
    with pytest.raises(DataError) as told:
        import_geojson(project, "a", _collection(tmp_path / "a.geojson", *features))
    assert sentence in str(told.value)
    assert project.journal() == []


@pytest.mark.parametrize("content", [b"", b"no json", b"3", b"{}", b"\xff\xfe", b'{"features": 3}'])
def test_files_that_are_no_geojson(project, tmp_path, content):
    (tmp_path / "a.geojson").write_bytes(content)
    with pytest.raises(DataError, match=r"GeoJSON|FeatureCollection"):
        import_geojson(project, "a", tmp_path / "a.geojson")
    with pytest.raises(DataError, match="There is no GeoJSON at"):
        import_geojson(project, "a", tmp_path / "none.geojson")
