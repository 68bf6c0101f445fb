"""What cannot be a slide says so in sentences: what was wanted, what was found, what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from slide_files import write_tiff, write_zarr_05

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides import open_slide

GREY = np.full((40, 50), 7, np.uint8)


def said(path: Path) -> str:
    with pytest.raises(SlideError) as told:
        open_slide(path)
    text = str(told.value)
    assert path.name in text
    assert text.endswith(".")
    return text


def test_nothing_there(tmp_path: Path) -> None:
    assert "There is no slide at" in said(tmp_path / "gone.svs")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.svs").touch()
    assert "empty" in said(tmp_path / "a.svs")


@pytest.mark.parametrize("content", [b"hello", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"\x89PNG\r\n"])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    assert "Cannot" in said(path)


def test_torn_files(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:9000])
    assert "Cannot read the pixels" in said(tmp_path / "a.png")

    path = write_tiff(tmp_path / "a.tif", [noise])
    with tifffile.TiffFile(path) as file:
        last = file.pages[0].dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[last : last + 40] = b"\xaa" * 40
    path.write_bytes(content)
    slide = open_slide(path)
    assert slide.read_level(0, Rect(0, 0, 20, 20)).shape == (20, 20, 3)
    with pytest.raises(SlideError, match="cannot be decoded"):
        slide.read_level(0, Rect(70, 70, 10, 10))


def test_folders_that_are_no_slide(tmp_path: Path) -> None:
    (tmp_path / "stuff").mkdir()
    assert "OME-Zarr" in said(tmp_path / "stuff")
    zarr.create_group(tmp_path / "b.zarr")
    assert "multiscales" in said(tmp_path / "b.zarr")
    path = write_zarr_05(tmp_path / "c.zarr", [np.zeros((4, 4, 3), np.uint8)])
    group = zarr.open_group(path, mode="r+")
    ome = group.attrs["ome"]
    ome["multiscales"][0]["datasets"][0]["path"] = "elsewhere"
    group.attrs["ome"] = ome
    assert "level that is not there" in said(path)


def test_neither_gray_nor_colour(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "two.ome.tif", np.zeros((2, 40, 50), np.uint8))
    write_zarr_05(tmp_path / "five.zarr", [np.zeros((40, 50, 5), np.uint8)])
    for name, channels in (("two.ome.tif", 2), ("five.zarr", 5)):
        text = said(tmp_path / name)
        assert f"has {channels}." in text
        assert "Convert to 8-bit RGB" in text
    inks = np.zeros((40, 50, 5), np.uint8)
    tifffile.imwrite(tmp_path / "inks.tif", inks, photometric="separated")
    assert "stores its colours as SEPARATED" in said(tmp_path / "inks.tif")
    for photometric in ("cielab", "itulab"):
        lab = np.zeros((40, 50, 3), np.uint8)
        tifffile.imwrite(tmp_path / "lab.tif", lab, photometric=photometric)
        assert f"stores its colours as {photometric.upper()}" in said(tmp_path / "lab.tif")


def test_values_that_are_no_brightness(tmp_path: Path) -> None:
    Image.fromarray(GREY > 3).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 50, 3), np.float32), photometric="rgb")
    write_zarr_05(tmp_path / "a.zarr", [np.zeros((40, 50, 3), np.int16)])  # type: ignore[list-item]
    for name in ("a.png", "a.tif", "a.zarr"):
        text = said(tmp_path / name)
        assert "8 or 16 bits" in text
        assert "Convert to 8-bit RGB" in text


def test_no_pixels(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", [np.zeros((40, 50, 3), np.uint8)])
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageLength"].overwrite(0)
    said(path)
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    group.create_array("0", shape=(3, 0, 50), chunks=(3, 8, 8), dtype="uint8")
    multiscales = [{"axes": [{"name": name} for name in "cyx"], "datasets": [{"path": "0"}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    assert "at least one pixel" in said(tmp_path / "a.zarr")


def test_an_unknown_compression(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", [np.zeros((40, 50, 3), np.uint8)])
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(12345)
    assert "12345" in said(path)


def test_a_stack_is_no_slide(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros((5, 40, 50, 3), np.uint8), metadata={"axes": "ZYXS"}
    )
    assert "one plane" in said(tmp_path / "a.ome.tif")


def test_palette_and_transparent_images_are_converted(tmp_path: Path) -> None:
    red = Image.new("RGB", (9, 5), (200, 10, 30))
    red.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    assert (open_slide(tmp_path / "p.png").read_level(0, Rect(0, 0, 5, 9)) == (200, 10, 30)).all()
    Image.new("RGBA", (9, 5), (0, 0, 0, 51)).save(tmp_path / "t.png")
    assert (open_slide(tmp_path / "t.png").read_level(0, Rect(0, 0, 5, 9)) == 204).all()


def test_real_broken_slides(real_slides: Path) -> None:
    assert "Check that the copy is complete" in said(real_slides / "broken.svs")
    assert "52479" in said(real_slides / "unopenable.tiff")
