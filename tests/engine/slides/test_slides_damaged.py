"""Files that break in the middle, vanish, contradict themselves or are too large in one piece."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from slide_files import WRITERS, halved, write_aperio, write_tiff, write_zarr_04, write_zarr_05

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides import (
    OpenSlideSlide,
    Slide,
    SpacedSlide,
    TiffSlide,
    UnreadableTileError,
    open_slide,
    pyramid_levels,
    tissue_mask,
)
from unisemalign.slides.prefetch import Prefetch
from unisemalign.slides.tiles import TILES, TileCache

TILE = Rect(64, 32, 32, 32)
"""The tile that is spoiled; files here have tiles of 32² px."""


def spoil_tiff(path: Path) -> Path:
    """Overwrite the bytes of the tile at :data:`TILE` of level 0."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        index = 2 * -(-page.imagewidth // 32) + 1
        start, count = page.dataoffsets[index], page.databytecounts[index]
    content = bytearray(path.read_bytes())
    content[start : start + count] = b"\xaa" * count
    path.write_bytes(content)
    return path


def spoil_zarr(path: Path) -> Path:
    """Overwrite one colour of the chunk at :data:`TILE` of level 0."""
    chunks = [path / "0" / "c" / "1" / "2" / "1", path / "0" / "1.2.1"]
    chunk = next(each for each in chunks if each.exists())
    chunk.write_bytes(b"\xaa" * 40)
    return path


DAMAGED: dict[str, Callable[[Path, list[NDArray[np.uint8]]], Slide]] = {
    "TIFF": lambda folder, levels: TiffSlide(spoil_tiff(write_tiff(folder / "a.tif", levels))),
    "Aperio": lambda folder, levels: OpenSlideSlide(
        spoil_tiff(write_aperio(folder / "a.svs", levels))
    ),
    "OME-Zarr 0.4": lambda folder, levels: open_slide(
        spoil_zarr(write_zarr_04(folder / "a.zarr", levels))
    ),
    "OME-Zarr 0.5": lambda folder, levels: open_slide(
        spoil_zarr(write_zarr_05(folder / "a.zarr", levels))
    ),
}
EVERY_DAMAGE = pytest.mark.parametrize("name", DAMAGED)


@EVERY_DAMAGE
def test_a_damaged_tile_is_named_and_the_rest_is_read(
    name: str, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    slide = DAMAGED[name](tmp_path, [pixels])
    whole = Rect(0, 0, 150, 101)
    with pytest.raises(UnreadableTileError) as told:
        slide.read_level(0, whole)
    assert told.value.rect == TILE
    assert f"'{slide.path.name}' cannot be decoded at {TILE}" in str(told.value)
    assert str(told.value).endswith("copy it again from its source.")

    found: list[UnreadableTileError] = []
    read = slide.read_level(0, whole, found)
    assert [error.rect for error in found] == [TILE]
    meant = pixels.copy()
    meant[TILE.slices] = 255
    assert np.array_equal(read, meant)
    # Again and elsewhere: the damage has not spoiled the open file.
    assert np.array_equal(slide.read_level(0, Rect(0, 0, 60, 90)), pixels[:60, :90])
    assert len(pyramid_levels(slide)) == 1
    with pytest.warns(UserWarning, match="cannot be decoded"):
        assert np.array_equal(np.asarray(pyramid_levels(slide)[0]), meant)
    slide.close()


@EVERY_DAMAGE
@pytest.mark.parametrize("spacing_um", [0.5, 0.8, 0.3])
def test_damage_at_working_spacing_covers_what_it_spoils(
    name: str, spacing_um: float, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    (tmp_path / "sound").mkdir()
    sound = SpacedSlide(TiffSlide(write_tiff(tmp_path / "sound" / "a.tif", [pixels])), spacing_um)
    damaged = SpacedSlide(DAMAGED[name](tmp_path, [pixels]), spacing_um)
    whole = Rect(0, 0, *sound.shape_yx)
    with pytest.raises(UnreadableTileError, match=f"at {spacing_um} µm a pixel"):
        damaged.read(whole)
    found: list[UnreadableTileError] = []
    read = damaged.read(whole, found)
    spoiled = np.zeros(whole.shape, bool)
    for error in found:
        assert whole.contains(error.rect)
        spoiled[error.rect.slices] = True
    assert np.array_equal(read[~spoiled], sound.read(whole)[~spoiled])
    assert spoiled.mean() < 0.25
    inside = TILE.scaled(1 / sound.downsample)
    assert spoiled[inside.y + 1 : inside.y1 - 1, inside.x + 1 : inside.x1 - 1].all()
    # Read ahead, as segmenting reads, the same places are named, once each.
    with Prefetch(damaged) as source:
        assert np.array_equal(source.read(whole), read)
    assert source.unreadable == list(dict.fromkeys(error.rect for error in found))


def test_threads_do_not_blame_sound_tiles(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    slide = DAMAGED["Aperio"](tmp_path, [pixels])
    rects = [Rect(32 * (i % 4), 8 * (i % 7), 32, 40) for i in range(56)]

    def bad_tiles(rect: Rect) -> set[Rect]:
        found: list[UnreadableTileError] = []
        slide.read_level(0, rect, found)
        return {error.rect for error in found}

    with ThreadPoolExecutor(8) as pool:
        for rect, bad in zip(rects, pool.map(bad_tiles, rects), strict=True):
            assert bad == ({TILE} if rect.intersect(TILE).area else set())


def test_damage_at_low_power_is_taken_for_tissue(tmp_path: Path) -> None:
    white = np.full((256, 256, 3), 250, np.uint8)
    slide = open_slide(spoil_tiff(write_tiff(tmp_path / "a.tif", [white])), spacing_um=2.0)
    mask = tissue_mask(SpacedSlide(slide, 2.0))
    assert mask.fraction(TILE) == 1
    assert mask.fraction(Rect(128, 128, 100, 100)) == 0


def test_a_file_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (640, 64, 3), np.uint8)
    path = write_tiff(tmp_path / "a.tif", [pixels])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    slide = open_slide(path)
    assert any("cut off" in remark and "of its 40 tiles" in remark for remark in slide.remarks)
    assert np.array_equal(slide.read_level(0, Rect(0, 0, 200, 64)), pixels[:200])
    with pytest.raises(UnreadableTileError):
        slide.read_level(0, Rect(600, 0, 40, 64))
    # A JPEG decoder would make up the half that is missing of the last tile.
    jpeg = tmp_path / "jpeg.tif"
    options = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    tifffile.imwrite(jpeg, pixels, tile=(64, 64), **options)
    with tifffile.TiffFile(jpeg) as file:
        half = file.pages.first.dataoffsets[4] + file.pages.first.databytecounts[4] // 2
    jpeg.write_bytes(jpeg.read_bytes()[:half])
    slide = open_slide(jpeg)
    torn: list[UnreadableTileError] = []
    slide.read_level(0, Rect(0, 0, 640, 64), torn)
    assert [error.rect.y for error in torn] == [256, 320, 384, 448, 512, 576]
    # Strips without compression have no decoder to notice.
    raw = tmp_path / "raw.tif"
    tifffile.imwrite(raw, pixels, photometric="rgb", metadata=None)
    raw.write_bytes(raw.read_bytes()[: 600 * 64 * 3])
    slide = open_slide(raw)
    found: list[UnreadableTileError] = []
    slide.read_level(0, Rect(0, 0, 640, 64), found)
    assert found
    assert "the file ends before it" in str(found[0])


@pytest.mark.parametrize("name", ["TIFF", "TIFF with separate planes"])
def test_a_drive_that_answers_no_more(
    name: str, tmp_path: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, file, _ = WRITERS[name]
    slide = open_slide(write(tmp_path / file, [pixels]))

    def gone(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(tifffile.FileHandle, "seek", gone)
    for unreadable in (None, []):
        with pytest.raises(SlideError, match=r"Stale file handle.*Check that its disk") as told:
            slide.read_level(0, Rect(80, 40, 60, 60), unreadable)
        assert not isinstance(told.value, UnreadableTileError)


def test_a_zarr_folder_that_disappears_is_no_white_slide(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    slide = open_slide(write_zarr_05(tmp_path / "a.zarr", [pixels]))
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(SlideError, match="can no longer be read"):
        slide.read_level(0, Rect(0, 0, 20, 20), [])


def test_a_vendor_file_that_disappears(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = spoil_tiff(write_aperio(tmp_path / "a.svs", [pixels]))
    slide = OpenSlideSlide(path)
    path.unlink()
    with pytest.raises(SlideError, match="can no longer be read") as told:
        slide.read_level(0, TILE, [])
    assert not isinstance(told.value, UnreadableTileError)


def test_a_level_that_contradicts_the_others_is_told(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    path = write_zarr_05(tmp_path / "a.zarr", halved(pixels, 3))
    group = zarr.open_group(path, mode="r+")
    ome = group.attrs["ome"]
    ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"] = [
        1,
        0.002,
        0.002,
    ]
    group.attrs["ome"] = ome
    slide = open_slide(path)
    assert slide.level_downsamples == (1.0, 2.0, 4.0)
    assert slide.remarks == (
        "Its level 1 says it has 2 µm a pixel, its shape says 1 µm: the shape is believed.",
    )
    # A level of another shape altogether is not a level.
    levels = [pixels, np.full((90, 30, 3), 9, np.uint8), *halved(pixels, 3)[2:]]
    for write, file in ((write_zarr_04, "b.zarr"), (write_tiff, "b.tif")):
        slide = open_slide(write(tmp_path / file, levels))
        assert slide.level_shapes == (pixels.shape[:2], levels[2].shape[:2])
        assert np.array_equal(slide.read_level(1, Rect(0, 0, 37, 25)), levels[2])
        if file == "b.zarr":
            assert "level 1 of 90 × 30 px is no smaller picture" in slide.remarks[0]


def test_a_level_that_is_missing_is_left_out(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    levels = halved(pixels, 3)
    path = write_zarr_05(tmp_path / "a.zarr", levels)
    shutil.rmtree(path / "1")
    slide = open_slide(path)
    assert slide.level_downsamples == (1.0, 4.0)
    assert "lists a level '1' that is not there" in slide.remarks[0]
    assert np.array_equal(slide.read_level(1, Rect(0, 0, 9, 9)), levels[2][:9, :9])


def test_one_huge_piece_is_told_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8)
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "rowsperstrip": 90, "metadata": None}
    tifffile.imwrite(path, pixels, compression="zlib", **options)
    assert np.array_equal(open_slide(path).read_level(0, Rect(3, 4, 50, 60)), pixels[3:53, 4:64])
    monkeypatch.setattr("unisemalign.slides.tiff_slide.LARGEST_PIECE_BYTES", 20_000)
    with pytest.raises(SlideError, match=r"90 × 80 px in pieces of 90 × 80.*vips tiffsave"):
        open_slide(path)
    # Without compression any part can be read, however long the strip.
    tifffile.imwrite(path, pixels, **options)
    monkeypatch.setattr("unisemalign.slides.tiff_levels._RAW_TILE_YX", (16, 16))
    assert np.array_equal(open_slide(path).read_level(0, Rect(3, 4, 50, 60)), pixels[3:53, 4:64])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90 * 80 // 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(SlideError, match=r"0 megapixels.*vips tiffsave"):
        open_slide(tmp_path / "a.png")


def test_a_large_slide_without_a_pyramid_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: NDArray[np.uint8]
) -> None:
    monkeypatch.setattr("unisemalign.slides.levels._OVERVIEW_PX", 100)
    told = open_slide(write_tiff(tmp_path / "a.tif", [pixels])).remarks
    assert len(told) == 1
    assert "coarsest level has 150 × 101 px" in told[0]
    assert "vips tiffsave" in told[0]
    assert not open_slide(write_tiff(tmp_path / "b.tif", halved(pixels, 3))).remarks


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1)])
@pytest.mark.parametrize("name", WRITERS)
def test_one_pixel_high(name: str, shape: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(1, 256, (*shape, 3), np.uint8)
    write, file, _ = WRITERS[name]
    slide = open_slide(write(tmp_path / file, [pixels]))
    assert np.array_equal(slide.read_level(0, Rect(0, 0, *shape)), pixels)


def test_a_wrong_extension_does_not_matter(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.svs")
    write_tiff(tmp_path / "b.jpg", [pixels])
    for name in ("a.svs", "b.jpg"):
        assert np.array_equal(
            open_slide(tmp_path / name).read_level(0, Rect(0, 0, 150, 101)), pixels
        )


def test_tiles_are_decoded_once_for_neighbours(
    tmp_path: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = TiffSlide(write_tiff(tmp_path / "a.tif", [pixels]))
    level, decoded = slide._levels[0], []
    decode = level.decode
    monkeypatch.setattr(level, "decode", lambda *at: decoded.append(at) or decode(*at))
    TILES.forget(level)
    for x in range(0, 60, 8):
        slide.read_level(0, Rect(0, x, 32, 40))
    assert sorted(decoded) == [(0, 0), (0, 1), (0, 2)]


def test_the_cache_is_bounded_and_lets_go(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    level = TiffSlide(write_tiff(tmp_path / "a.tif", [pixels]))._levels[0]
    tile = 32 * 32 * 3
    cache = TileCache(3 * tile)
    for row in range(4):
        cache.get(level, row, 0)
    assert (len(cache._tiles), cache._held) == (3, 3 * tile)
    assert (level.key, 0, 0) not in cache._tiles
    cache.forget(level)
    assert (len(cache._tiles), cache._held) == (0, 0)
    lone = TileCache(1)
    lone.get(level, 0, 0)
    lone.get(level, 1, 0)
    assert list(lone._tiles) == [(level.key, 1, 0)]
