"""Masks as programs write them: palettes, few bits, white as zero, conventions, sizes."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from unisemalign.errors import DataError
from unisemalign.exchange import find_convention, import_mask, mask_files
from unisemalign.exchange import masks as masks_module
from unisemalign.exchange.mask_files import open_mask, read_whole
from unisemalign.exchange.png_bands import PngHeader
from unisemalign.geometry import Rect
from unisemalign.project import Project

SHAPE = (60, 80)
WHOLE = Rect(0, 0, *SHAPE)
TRUTH = np.zeros(SHAPE, np.uint8)
TRUTH[10:30, 20:70] = 1
TWO, THREE = ("background", "gland"), ("background", "gland", "stroma")


def make(folder: Path, classes: tuple[str, ...] = TWO) -> Project:
    project = Project.create(folder / "p", classes=list(classes))
    Image.new("RGB", SHAPE[::-1]).save(folder / "x.png")
    project.add_slide(folder / "x.png", spacing_um=0.5)
    return project


def imported(folder: Path, path: Path, classes: tuple[str, ...] = TWO) -> NDArray[np.uint8]:
    with make(folder, classes) as project:
        import_mask(project, "x", path)
        return project.labels("x").read(WHOLE)


def palette_png(path: Path, numbers: NDArray[np.uint8], colours: list[int]) -> Path:
    image = Image.fromarray(numbers).convert("L")
    image.putpalette(colours)
    image.save(path)
    return path


# What a number is


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_palette_of_black_and_white_in_any_order(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{kind}"
    if kind == "png":
        Image.fromarray(TRUTH * 255).convert("RGB").quantize(2).save(path)
        with Image.open(path) as image:
            assert np.asarray(image)[0, 0] == 1  # white came first: the numbers are swapped
    else:
        table = np.zeros((3, 256), np.uint16)
        table[:, 0] = 65535
        tifffile.imwrite(path, 1 - TRUTH, photometric="palette", colormap=table)
    assert np.array_equal(imported(tmp_path, path), TRUTH + 1)


def test_a_palette_of_grey_class_indices(tmp_path: Path) -> None:
    """As programs that shrink a PNG leave it: 8-bit indices behind a palette in another order."""
    mask = TRUTH.copy()
    mask[40:] = 2
    swapped = np.array([2, 0, 1], np.uint8)  # index → number in the palette
    greys = [1, 1, 1, 2, 2, 2, 0, 0, 0]
    path = palette_png(tmp_path / "m.png", swapped[mask], greys)
    assert np.array_equal(imported(tmp_path, path, THREE), mask + 1)


@pytest.mark.parametrize(
    "colours", [[0, 0, 0, 255, 0, 0, 0, 255, 0], [0, 0, 0, 128, 128, 128, 255, 255, 255]]
)
def test_a_palette_that_only_shows_classes_is_an_index(colours: list[int], tmp_path: Path) -> None:
    mask = TRUTH.copy()
    mask[40:] = 2
    path = palette_png(tmp_path / "m.png", mask, colours)
    assert np.array_equal(imported(tmp_path, path, THREE), mask + 1)


@pytest.mark.parametrize("bits", [1, 8])
def test_white_is_zero(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    stored = 255 - TRUTH * 255 if bits == 8 else TRUTH == 0
    tifffile.imwrite(path, stored, photometric="miniswhite", software="a fax")
    assert np.array_equal(imported(tmp_path, path), TRUTH + 1)


def few_bits_png(path: Path, numbers: NDArray[np.uint8], bits: int) -> Path:
    h, w = numbers.shape
    each = (numbers[..., None] >> np.arange(bits)[::-1]) & 1
    packed = np.packbits(each.reshape(h, -1).astype(np.uint8), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks
        )
    )
    return path


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_black_and_white_or_indices(bits: int, tmp_path: Path) -> None:
    black_and_white = few_bits_png(tmp_path / "m.png", TRUTH * (2**bits - 1), bits)
    assert np.array_equal(imported(tmp_path, black_and_white), TRUTH + 1)
    (tmp_path / "i").mkdir()
    indices = few_bits_png(tmp_path / "i" / "m.png", TRUTH, bits)
    assert np.array_equal(imported(tmp_path / "i", indices), TRUTH + 1)


def test_sixteen_bits_of_white(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    Image.fromarray(TRUTH.astype(np.uint16) * 65535).save(path)
    assert np.array_equal(imported(tmp_path, path), TRUTH + 1)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_mask_is_turned_like_an_image(kind: str, orientation: int, tmp_path: Path) -> None:
    stored = np.rot90(TRUTH, {3: 2, 6: 1, 8: 3}[orientation])
    path = tmp_path / f"m.{kind}"
    if kind == "png":
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(stored).save(path, exif=exif)
    else:
        tifffile.imwrite(path, stored, metadata=None, extratags=[(274, 3, 1, orientation)])
    assert np.array_equal(imported(tmp_path, path), TRUTH + 1)


def test_the_largest_image_of_a_mask_file(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for step in (4, 2, 1):
            level = np.ascontiguousarray(TRUTH[::step, ::step])
            file.write(level, subfiletype=int(step > 1), metadata=None, tile=(16, 16))
    assert np.array_equal(imported(tmp_path, path), TRUTH + 1)


def test_an_ome_zarr_is_a_mask(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "m.zarr", zarr_format=2)
    group.create_array("0", data=TRUTH[None], chunks=(1, 16, 16))
    axes = [{"name": axis} for axis in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    assert np.array_equal(imported(tmp_path, tmp_path / "m.zarr"), TRUTH + 1)


# What belongs together


def save(path: Path, pixels: NDArray[Any]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_the_folder_tells_what_255_means(tmp_path: Path) -> None:
    rim = TRUTH.copy()
    rim[50:] = 255
    only_rim = np.where(rim == 255, rim, 0).astype(np.uint8)
    both = [save(tmp_path / "a.png", rim), save(tmp_path / "b.png", only_rim)]
    convention = find_convention(both, TWO)
    assert not convention.white
    assert "255 is read as ignored" in convention.remark
    assert find_convention(both[1:], TWO).white
    assert "255 is read as 'gland'" in find_convention(both[1:], TWO).remark
    with make(tmp_path) as project:
        import_mask(project, "x", both[1], convention=convention)
        assert set(np.unique(project.labels("x").read(WHOLE))) == {0, 1}


def test_a_convention_is_read_off_palettes_together(tmp_path: Path) -> None:
    greys = [0, 0, 0, 128, 128, 128, 255, 255, 255]
    many, few = TRUTH.copy(), TRUTH * 2
    many[40:] = 2
    paths = [palette_png(tmp_path / f"{i}.png", mask, greys) for i, mask in enumerate((many, few))]
    assert not find_convention(paths, THREE).shown
    with make(tmp_path, THREE) as project:
        import_mask(project, "x", paths[1], convention=find_convention(paths, THREE))
        assert np.array_equal(project.labels("x").read(WHOLE), few + 1)


@pytest.mark.parametrize("mask", [TRUTH, TRUTH * 2])
def test_nothing_is_told_where_nothing_is_decided(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", mask)
    assert find_convention([path], THREE).remark == ""


# Sizes


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_a_png_is_read_by_bands(bits: int, rows: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(bits)
    numbers = rng.integers(0, 2**bits, (61, 83)).astype(np.uint16 if bits == 16 else np.uint8)
    path = tmp_path / "m.png"
    if bits >= 8:
        numbers[20:40] = np.arange(83)  # rows that filters like
        Image.fromarray(numbers).save(path)
    else:
        few_bits_png(path, numbers, bits)
    bands = list(PngHeader.read(path).iter_bands(rows))
    assert max(map(len, bands)) <= rows
    assert np.array_equal(np.concatenate(bands), numbers)


@pytest.mark.parametrize("kind", ["png", "tiled.tif", "strips.tif", "raw.tif", "zarr"])
def test_large_masks_are_read_in_parts(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_files, "KEPT_PX", 100)
    monkeypatch.setattr(mask_files, "_BAND_ROWS", 7)
    monkeypatch.setattr(masks_module, "_BAND_AREA_PX", 300)
    mask = np.random.default_rng(0).integers(0, 3, (120, 160)).astype(np.uint8)
    path = tmp_path / f"m.{kind}"
    if kind == "png":
        Image.fromarray(mask).save(path)
    elif kind == "zarr":
        group = zarr.create_group(path, zarr_format=2)
        group.create_array("0", data=mask, chunks=(16, 16))
        axes = [{"name": axis} for axis in "yx"]
        group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    else:
        how: dict[str, Any] = {
            "tiled": {"tile": (32, 32), "compression": "zlib"},
            "strips": {"rowsperstrip": 5, "compression": "lzw"},
            "raw": {},
        }[kind.partition(".")[0]]
        tifffile.imwrite(path, mask, metadata=None, **how)
    assert len(list(open_mask(path).iter_bands())) > 1
    with Project.create(tmp_path / "p", classes=list(THREE)) as project:
        Image.new("RGB", (160, 120)).save(tmp_path / "x.png")
        project.add_slide(tmp_path / "x.png", spacing_um=0.25)  # the mask is of level 0
        import_mask(project, "x", path)
        found = project.labels("x").read(Rect(0, 0, 60, 80))
    assert np.array_equal(found, mask[1::2, 1::2] + 1)
    assert np.array_equal(read_whole(open_mask(path)), mask)


def test_another_size_is_told_before_a_pixel_is_read(tmp_path: Path) -> None:
    """Headers alone, of masks that would not fit into memory."""
    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    png += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 9) + b"IDAT123456789"
    (tmp_path / "m.png").write_bytes(png + b"\0\0\0\0")
    tifffile.imwrite(tmp_path / "m.tif", TRUTH, metadata=None)
    with tifffile.TiffFile(tmp_path / "m.tif", mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages.first.tags[name].overwrite(200_000)
    group = zarr.create_group(tmp_path / "m.zarr", zarr_format=2)
    group.create_array("0", shape=(200_000, 200_000), chunks=(9999, 9999), dtype="uint8")
    axes = [{"name": axis} for axis in "yx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    with make(tmp_path) as project:
        for name in ("m.png", "m.tif", "m.zarr"):
            with pytest.raises(DataError, match="found 200000 × 200000"):
                import_mask(project, "x", tmp_path / name)


def test_a_png_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    """What is beyond the last row is never unpacked; what is missing is told."""
    rows = b"".join(b"\0" + row.tobytes() for row in TRUTH)
    header = struct.pack(">IIBBBBB", *SHAPE[::-1], 8, 0, 0, 0, 0)
    for packed, ends in ((rows + bytes(10**8), False), (rows[:-200], True)):
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(packed)), (b"IEND", b"")]
        (tmp_path / "m.png").write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(struct.pack(">I", len(c)) + k + c + bytes(4) for k, c in chunks)
        )
        mask = open_mask(tmp_path / "m.png")
        if ends:
            with pytest.raises(DataError, match="ends before its last row"):
                read_whole(mask)
        else:
            assert np.array_equal(read_whole(mask), TRUTH)


def test_what_is_no_file_is_no_mask(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError, match="a pipe"):
        open_mask(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="a device"):
        open_mask(Path("/dev/zero"))
    with pytest.raises(DataError, match="cannot be read as an image"):
        open_mask(tmp_path / "x.png")
