"""What a file says of itself is read, or the file is refused, or a remark tells."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from slide_files import halved, write_tiff, write_zarr_04, write_zarr_05

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides import Opening, Slide, SpacedSlide, open_slide, reopen_slide
from unisemalign.slides.prefetch import Prefetch

H, W = 150, 101
WHOLE = Rect(0, 0, H, W)


def read(slide: Slide) -> NDArray[np.uint8]:
    return slide.read_level(0, Rect(0, 0, *slide.shape_yx))


def with_tag(path: Path, code: int, value: Any, dtype: int = 3) -> Path:
    """Add a tag of one value to the first page of a TIFF."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        pixels = page.asarray()
        photometric = page.photometric
    tifffile.imwrite(
        path, pixels, photometric=photometric, metadata=None, extratags=[(code, dtype, 1, value)]
    )
    return path


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg", "tiled.tif", "strips.tif"])
def test_orientation(
    kind: str, orientation: int, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[274] = orientation
    if kind.endswith("tif"):
        options: dict[str, Any] = {"tile": (32, 32)} if kind.startswith("tiled") else {}
        tags = [(274, 3, 1, orientation)]
        options |= {"photometric": "rgb", "metadata": None, "extratags": tags}
        tifffile.imwrite(path, pixels, **options)
    else:
        Image.fromarray(pixels).save(path, exif=exif, quality=100, subsampling=0)
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
        if kind.endswith("tif"):
            shown = as_shown(pixels, orientation)
    slide = open_slide(path)
    assert slide.shape_yx == shown.shape[:2]
    assert np.array_equal(read(slide), shown)
    part = Rect(20, 30, 41, 33)
    assert np.array_equal(slide.read_level(0, part), shown[part.slices])
    assert bool(slide.remarks) == (orientation > 1)
    beyond = slide.read_level(0, Rect(-3, -2, 10, 10))
    assert (beyond[:3] == 255).all()
    assert np.array_equal(beyond[3:, 2:], shown[:7, :8])


def as_shown(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(stream, "png", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(stream)))


def test_a_turned_slide_tells_bad_tiles_where_they_are_shown(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.tif"
    tags = [(274, 3, 1, 6)]
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "tile": (32, 32)}
    tifffile.imwrite(path, pixels, compression="zlib", extratags=tags, **options)
    with tifffile.TiffFile(path) as file:
        start, count = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + count] = b"\xaa" * count
    path.write_bytes(content)
    slide = open_slide(path)
    unreadable: list[Any] = []
    slide.read_level(0, Rect(0, 0, *slide.shape_yx), unreadable)
    # Stored at the top left, shown at the top right.
    assert [error.rect for error in unreadable] == [Rect(0, H - 32, 32, 32)]
    with pytest.raises(SlideError, match="cannot be decoded"):
        read(slide)


# Bits, palettes, colour spaces


def grey_tiff(path: Path, data: bytes, bits: int, size: int, photometric: int = 1) -> Path:
    """Write ``size`` × ``size`` pixels of a few bits each, which no library writes here."""
    tags = [(256, 4, size), (257, 4, size), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, size), (279, 4, len(data))]
    entries = b"".join(
        struct.pack("<HHI", code, kind, 1)
        + (struct.pack("<I", value) if kind == 4 else struct.pack("<HH", value, 0))
        for code, kind, value in tags
    )
    ifd = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + ifd)
    return path


@pytest.mark.parametrize("bits", [2, 4, 12])
@pytest.mark.parametrize("photometric", [0, 1])
def test_few_bits_span_black_to_white(bits: int, photometric: int, tmp_path: Path) -> None:
    most = 2**bits - 1
    row = np.linspace(0, most, 64).round().astype(int)
    text = "".join(f"{value:0{bits}b}" for value in np.tile(row, 64))
    data = int(text, 2).to_bytes(len(text) // 8, "big")
    slide = open_slide(grey_tiff(tmp_path / "a.tif", data, bits, 64, photometric))
    meant = (row * 255 + most // 2) // most
    meant = 255 - meant if photometric == 0 else meant
    assert np.array_equal(read(slide)[0, :, 1], meant)
    assert "bits a channel" in slide.remarks[0]


def test_a_png_of_few_bits(tmp_path: Path) -> None:
    rows = (b"\0" + bytes.fromhex("0123456789abcdef")) * 16
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 4, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    )
    chunks = [*parts, (b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks
        )
    )
    assert np.array_equal(read(open_slide(tmp_path / "a.png"))[0, :, 0], np.arange(0, 256, 17))


def test_the_largest_sample_value_is_white(tmp_path: Path) -> None:
    deep = np.full((40, 50), 4095, np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, deep, metadata=None, extratags=[(281, 3, 1, 4095)])
    assert (read(open_slide(path)) == 255).all()


@pytest.mark.parametrize("eight", [False, True])
def test_a_palette_names_colours(eight: bool, tmp_path: Path) -> None:
    numbers = np.arange(40 * 50, dtype=np.uint8).reshape(40, 50)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256), np.uint16)
    table = colours if eight else colours * 257
    tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="palette", colormap=table)
    assert np.array_equal(read(open_slide(tmp_path / "a.tif")), colours.T.astype(np.uint8)[numbers])


def test_inks_become_colours(tmp_path: Path) -> None:
    inks = np.zeros((40, 50, 4), np.uint8)
    inks[:20, :, 1] = 255
    inks[20:, :, 3] = 55
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated", metadata=None)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=100)
    for name in ("a.tif", "a.jpg"):
        slide = open_slide(tmp_path / name)
        assert np.abs(read(slide)[5, 5].astype(int) - (255, 0, 255)).max() < 6
        assert np.abs(read(slide)[35, 5].astype(int) - 200).max() < 6
        assert "inks (CMYK)" in slide.remarks[-1]


def test_a_fourth_sample_that_is_no_alpha(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    four = np.dstack([pixels, np.full((H, W), 7, np.uint8)])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unspecified"], metadata=None)
    slide = open_slide(path)
    assert np.array_equal(read(slide), pixels)
    assert "not said to be transparency" in slide.remarks[0]
    tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    assert (read(open_slide(path)) > 240).all()
    gray = np.dstack([pixels[..., 0], np.full((H, W), 7, np.uint8)])
    for kind, seen in (("unspecified", pixels[..., 0]), ("unassalpha", None)):
        tifffile.imwrite(
            path, gray, photometric="minisblack", planarconfig="contig", extrasamples=[kind]
        )
        found = read(open_slide(path))
        assert np.array_equal(found[..., 1], seen) if seen is not None else (found > 240).all()


FLUORESCENCE = ("DAPI", "FITC", "TRITC", "Cy5")


@pytest.mark.parametrize("count", [3, 4])
def test_channels_that_are_no_colours(count: int, tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (count, 40, 50), np.uint8)
    metadata = {"axes": "CYX", "Channel": {"Name": FLUORESCENCE[:count]}}
    tifffile.imwrite(tmp_path / "named.ome.tif", planes, metadata=metadata)
    with pytest.raises(SlideError, match="red, green and blue.*'DAPI', 'FITC'"):
        open_slide(tmp_path / "named.ome.tif")
    zarred = write_zarr_04(tmp_path / "a.zarr", [planes.transpose(1, 2, 0)])
    group = zarr.open_group(zarred, mode="r+")
    group.attrs["omero"] = {"channels": [{"label": name} for name in FLUORESCENCE[:count]]}
    with pytest.raises(SlideError, match="red, green and blue.*'DAPI', 'FITC'"):
        open_slide(zarred)
    tifffile.imwrite(tmp_path / "plain.ome.tif", planes, metadata={"axes": "CYX"})
    if count == 3:
        slide = open_slide(tmp_path / "plain.ome.tif")
        assert slide.remarks[0].startswith("It does not say that its 3 channels are red")
    else:
        with pytest.raises(SlideError, match="4 channels and does not say"):
            open_slide(tmp_path / "plain.ome.tif")
        group.attrs["omero"] = {}
        with pytest.raises(SlideError, match="4 channels and does not say"):
            open_slide(zarred)


def test_channels_named_as_colours_are_colours(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    for names in (("Red", "Green", "Blue"), ("R", "G", "B")):
        metadata = {"axes": "CYX", "Channel": {"Name": names}}
        tifffile.imwrite(tmp_path / "a.ome.tif", planes, metadata=metadata)
        slide = open_slide(tmp_path / "a.ome.tif")
        assert np.array_equal(read(slide), pixels)
        assert slide.remarks == ()
    zarred = write_zarr_05(tmp_path / "a.zarr", [pixels])
    group = zarr.open_group(zarred, mode="r+")
    ome = group.attrs["ome"]
    ome["omero"] = {
        "channels": [{"color": c, "label": "x"} for c in ("FF0000", "00FF00", "0000FF")]
    }
    group.attrs["ome"] = ome
    assert open_slide(zarred).remarks == ()


# Colour profiles


def swapped_profile() -> bytes:
    """Return an RGB profile that is not sRGB: made by renaming and another gamma."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Red's and green's places in the table of tags change, so that colours are swapped.
    at = [profile.find(name, 128) for name in (b"rXYZ", b"gXYZ")]
    profile[at[0] : at[0] + 4], profile[at[1] : at[1] + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace(b"s\0R\0G\0B", b"o\0w\0n\0 ").replace(b"sRGB", b"own ")


@pytest.mark.parametrize("kind", ["tif", "svs", "png", "jpg"])
def test_colour_profiles_are_applied(kind: str, tmp_path: Path) -> None:
    pixels = np.full((40, 50, 3), (200, 60, 60), np.uint8)
    path, profile = tmp_path / f"a.{kind}", swapped_profile()
    options: dict[str, Any] = {"tile": (32, 32), "photometric": "rgb", "metadata": None}
    if kind == "svs":
        options |= {"description": "Aperio Image Library v1\n1x1|MPP = 0.5"}
    if kind in ("tif", "svs"):
        tifffile.imwrite(path, pixels, compression="zlib", iccprofile=profile, **options)
    else:
        Image.fromarray(pixels).save(path, icc_profile=profile, quality=100)
    slide = open_slide(path)
    red, green = read(slide)[..., 0], read(slide)[..., 1]
    assert (green.astype(int) > red.astype(int) + 50).all()
    assert "is applied: colours are turned into sRGB" in slide.remarks[0]
    stored = open_slide(path, profile=False)
    assert np.abs(read(stored).astype(int) - pixels).max() < 4
    assert "is not applied, as asked" in stored.remarks[0]
    again = reopen_slide(path, None, stored.opening)
    assert np.array_equal(read(again), read(stored))


def test_a_profile_for_other_colours_is_told_and_left_alone(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, said in ((lab, "for other colours"), (b"no profile at all", "cannot be read")):
        Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
        slide = open_slide(tmp_path / "a.png")
        assert said in slide.remarks[0]
        assert np.array_equal(read(slide), pixels)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=srgb)
    assert open_slide(tmp_path / "a.png").remarks == ()


# Several images, levels in any order


def test_the_largest_image_is_the_slide(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.ome.tif"
    small = np.full((60, 50, 3), 9, np.uint8)
    sizes = {"PhysicalSizeX": 10, "PhysicalSizeY": 10}, {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as file:
        for image, name, size in ((small, "overview 1", sizes[0]), (pixels, "scan", sizes[1])):
            metadata = {"axes": "YXS", "Name": name, **size}
            file.write(image, photometric="rgb", metadata=metadata, tile=(32, 32))
    slide = open_slide(path)
    assert np.array_equal(read(slide), pixels)
    assert slide.spacing_um == 0.5
    assert "'overview 1'" in slide.remarks[0]
    assert "`unisemalign add --series N`" in slide.remarks[0]
    other = open_slide(path, series=0)
    assert (other.shape_yx, other.spacing_um) == ((60, 50), 10)
    assert np.array_equal(read(reopen_slide(path, 10.0, other.opening)), small)
    with Prefetch(SpacedSlide(other, 10), 1) as ahead:
        assert np.array_equal(ahead.read(Rect(0, 0, 60, 50)), small)
    with pytest.raises(SlideError, match="no image 7. It holds image 0"):
        open_slide(path, series=7)
    for plain in ("a.png", "b.tif"):
        write_tiff(tmp_path / plain, [pixels])
        with pytest.raises(SlideError, match="no image 3"):
            open_slide(tmp_path / plain, series=3)


def test_a_macro_is_not_the_slide_however_large(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.ome.tif"
    large = np.full((300, 300, 3), 9, np.uint8)
    with tifffile.TiffWriter(path, ome=True) as file:
        for image, name in ((large, "macro image"), (large, "Label"), (pixels, "tissue")):
            file.write(image, photometric="rgb", metadata={"axes": "YXS", "Name": name})
    assert open_slide(path).shape_yx == (H, W)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1), (0, 1, 2)])
def test_levels_in_any_order(
    order: tuple[int, ...], marked: bool, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    levels = halved(pixels, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for level in order:
            file.write(
                np.ascontiguousarray(levels[level]),
                photometric="rgb",
                tile=(32, 32),
                metadata=None,
                subfiletype=1 if level and marked else 0,
            )
    slide = open_slide(tmp_path / "a.tif")
    assert slide.level_shapes == tuple(level.shape[:2] for level in levels)
    for number, level in enumerate(levels):
        assert np.array_equal(slide.read_level(number, Rect(0, 0, *level.shape[:2])), level)
    assert bool(slide.remarks) == (not marked)


def test_several_images_in_a_zarr(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    folder = tmp_path / "a.zarr"
    group = zarr.create_group(folder, zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    write_zarr_04(folder / "0", [pixels[:20, :30]])
    write_zarr_04(folder / "1", [pixels])
    slide = open_slide(folder)
    assert np.array_equal(read(slide), pixels)
    assert "It holds 2 images: image 1" in slide.remarks[0]
    assert open_slide(folder, series=0).shape_yx == (20, 30)
    with pytest.raises(SlideError, match="holds 2 image"):
        open_slide(folder, series=2)


def test_several_pictures_in_one_png(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    slide = open_slide(tmp_path / "a.png")
    assert np.array_equal(read(slide), pixels)
    assert "It holds 2 pictures" in slide.remarks[0]
    assert np.array_equal(read(open_slide(tmp_path / "a.png", series=1)), 255 - pixels)


# Pixel sizes


def ome(path: Path, x: Any, y: Any, **more: Any) -> Path:
    metadata = {"axes": "YXS", "PhysicalSizeX": x, "PhysicalSizeY": y}
    tifffile.imwrite(
        path, np.zeros((40, 50, 3), np.uint8), photometric="rgb", metadata=metadata, **more
    )
    return path


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"0.5 µm high and 0.25 µm wide. Resample"):
        open_slide(ome(tmp_path / "a.ome.tif", 0.25, 0.5))
    assert open_slide(tmp_path / "a.ome.tif", spacing_um=0.3).spacing_um == 0.3
    slide = open_slide(ome(tmp_path / "b.ome.tif", 0.25, 0.255))
    assert slide.spacing_um == pytest.approx(0.2525)
    assert "the mean, 0.2525 µm, is used" in slide.remarks[0]
    assert open_slide(ome(tmp_path / "c.ome.tif", 0.25, 0.251)).remarks == ()
    Image.new("RGB", (40, 50)).save(tmp_path / "a.png", dpi=(25400, 50800))
    with pytest.raises(SlideError, match="square pixels"):
        open_slide(tmp_path / "a.png")


@pytest.mark.parametrize("absurd", [2.5e-4, 0.0099, 100.5, 250000.0])
def test_absurd_pixel_sizes_are_not_used(absurd: float, tmp_path: Path) -> None:
    slide = open_slide(ome(tmp_path / "a.ome.tif", absurd, absurd))
    assert slide.spacing_um is None
    assert "which no microscope makes" in slide.remarks[0]
    zarred = write_zarr_05(tmp_path / "a.zarr", [np.zeros((40, 50, 3), np.uint8)], absurd)
    slide = open_slide(zarred, fallback_um=0.5)
    assert slide.spacing_um == 0.5
    assert "0.5 µm is used, as given" in slide.remarks[-1]


def test_an_empty_ome_block_leaves_the_tags_their_say(tmp_path: Path) -> None:
    for name, more in (("none", {}), ("pixel", {"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel"})):
        path = tmp_path / f"{name}.ome.tif"
        tifffile.imwrite(
            path,
            np.zeros((40, 50, 3), np.uint8),
            photometric="rgb",
            metadata={"axes": "YXS", **more},
            resolution=(20000, 20000),
            resolutionunit="CENTIMETER",
        )
        assert open_slide(path).spacing_um == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("unit", "per_unit"), [("micron", 2), ("\\u00B5m", 2), ("um", 2), ("mm", 2000), ("inch", 50800)]
)
def test_units_that_imagej_writes(unit: str, per_unit: float, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.zeros((40, 50), np.uint8),
        imagej=True,
        resolution=(per_unit, per_unit),
        metadata={"unit": unit},
    )
    assert open_slide(path).spacing_um == pytest.approx(0.5)


def test_an_aperio_file_in_strips(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for said, size in (("MPP = 0.2520", 0.252), ("MPP = 0,2520", 0.252), ("AppMag = 20", None)):
        path = tmp_path / "a.svs"
        about = f"Aperio Image Library v11\n1x1|AppMag = 20|{said}|Left = 1"
        tifffile.imwrite(path, pixels, photometric="rgb", description=about, metadata=None)
        slide = open_slide(path)
        assert np.array_equal(read(slide), pixels)
        assert slide.spacing_um == size


def test_a_given_size_serves_the_silent_only(tmp_path: Path) -> None:
    slide = open_slide(ome(tmp_path / "a.ome.tif", 0.25, 0.25), fallback_um=0.5)
    assert slide.spacing_um == 0.25
    assert "0.25 µm a pixel: that is used, and not the 0.5 µm" in slide.remarks[0]
    assert open_slide(tmp_path / "a.ome.tif", fallback_um=0.2501).remarks == ()
    Image.new("RGB", (40, 50)).save(tmp_path / "a.png")
    slide = open_slide(tmp_path / "a.png", fallback_um=0.5)
    assert slide.spacing_um == 0.5
    assert "does not state its pixel size: 0.5 µm is used" in slide.remarks[0]


# What is no image


def test_only_named_formats_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    header = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 50\n%%EndComments\nshowpage\n"
    (tmp_path / "x.png").write_bytes(header)
    Image.new("RGB", (40, 50)).save(tmp_path / "p.png", format="PCX")
    Image.new("RGB", (40, 50)).save(tmp_path / "g.png", format="GIF")
    for name in ("x.png", "p.png", "g.png"):
        with pytest.raises(SlideError, match="no slide or image in a format known here"):
            open_slide(tmp_path / name)
    assert not ran.exists()


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "s.png"))
        found = {"pipe.png": "a pipe", "loop.png": "cannot be opened", "s.png": "a socket"}
        for name, said in found.items():
            with pytest.raises(SlideError, match=said):
                open_slide(tmp_path / name)
    with pytest.raises(SlideError, match="a device"):
        open_slide("/dev/zero")
    with pytest.raises(SlideError, match="cannot be opened"):
        open_slide("a\0b.png")


def test_a_pipe_in_a_zarr_is_no_chunk(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    folder = write_zarr_04(tmp_path / "a.zarr", [pixels])
    slide = open_slide(folder)
    chunk = folder / "0" / "0.0.0"
    if not chunk.exists():
        chunk = folder / "0" / "0" / "0" / "0"
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(SlideError):
        read(slide)
    (folder / ".zattrs").unlink()
    os.mkfifo(folder / ".zattrs")
    with pytest.raises(SlideError):
        open_slide(folder)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"multiscales": 3},
        {"multiscales": [[]]},
        {"multiscales": [{"datasets": 7}]},
        {"multiscales": [{"datasets": [{"path": "../../0"}]}]},
        {"multiscales": [{"datasets": [{"path": "0"}], "axes": [3, {}, None]}]},
        {"multiscales": [{"datasets": [{"path": "0", "coordinateTransformations": 5}]}]},
        {"multiscales": [{"datasets": [{"path": "0", "coordinateTransformations": [{}]}]}]},
    ],
)
def test_zarr_attributes_that_make_no_sense(
    nonsense: dict[str, Any], tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    folder = write_zarr_04(tmp_path / "a.zarr", [pixels])
    group = zarr.open_group(folder, mode="r+")
    axes = group.attrs["multiscales"][0]["axes"]
    for each in nonsense["multiscales"] if isinstance(nonsense["multiscales"], list) else []:
        if isinstance(each, dict):
            each.setdefault("axes", axes)
    group.attrs.update(nonsense)
    said = ""
    try:
        assert open_slide(folder).spacing_um is None
    except SlideError as error:
        said = str(error)
    assert not said or said.endswith(".")


def test_chunks_larger_than_memory_are_refused(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.create_array("0", shape=(3, 90000, 90000), chunks=(3, 90000, 90000), dtype="uint8")
    axes = [{"name": name} for name in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    with pytest.raises(SlideError, match="chunks of less than 1024 MB"):
        open_slide(tmp_path / "a.zarr")


def test_the_opening_is_known(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    assert open_slide(write_tiff(tmp_path / "a.tif", [pixels])).opening == Opening(None, True)
