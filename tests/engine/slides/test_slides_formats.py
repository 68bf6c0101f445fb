"""What single formats need: DICOM, scanned areas, transparency, depth, colour profiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scanner_files import write_dicom, write_leica
from slide_files import halved, write_aperio

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides import OpenSlideSlide, one_file_a_slide, open_slide

WHOLE = Rect(0, 0, 150, 101)


def test_dicom(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for level, array in enumerate(halved(pixels, 2)):
        write_dicom(tmp_path / f"{level}.dcm", array, 0.5 * 2**level, instance=level)
    slide = open_slide(tmp_path / "1.dcm")
    assert slide.level_shapes == ((150, 101), (75, 50))
    assert slide.spacing_um == pytest.approx(0.5)
    assert np.array_equal(slide.read_level(0, WHOLE), pixels)
    slide.close()


def test_a_dicom_series_is_one_slide(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    paths = [tmp_path / f"{name}.dcm" for name in "abc"]
    for level, (path, array) in enumerate(zip(paths[:2], halved(pixels, 2), strict=True)):
        write_dicom(path, array, 0.5 * 2**level, instance=level)
    paths[2].write_bytes(b"no DICOM")
    other = tmp_path / "d.svs"
    assert one_file_a_slide([*paths, other, other]) == [paths[0], paths[2], other, other]


def test_the_scanned_area_lies_where_the_scanner_put_it(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    slide = open_slide(write_leica(tmp_path / "a.scn", pixels, (64, 96)))
    assert isinstance(slide, OpenSlideSlide)
    assert slide.shape_yx == (1024, 1024)
    assert slide.spacing_um == pytest.approx(0.5)
    meant = np.full((1024, 1024, 3), 255, np.uint8)
    meant[64 : 64 + 150, 96 : 96 + 101] = pixels
    assert np.array_equal(slide.read_level(0, Rect(0, 0, 1024, 1024)), meant)
    assert np.array_equal(slide.read_level(0, Rect(60, 90, 33, 44)), meant[60:93, 90:134])


def test_colours_multiplied_with_alpha(tmp_path: Path) -> None:
    rgba = np.full((20, 30, 4), (60, 40, 20, 102), np.uint8)
    for kind, meant in (("assocalpha", (213, 193, 173)), ("unassalpha", (177, 169, 161))):
        path = tmp_path / f"{kind}.tif"
        tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=[kind], tile=(16, 16))
        assert (open_slide(path).read_level(0, Rect(0, 0, 20, 30)) == meant).all()


def test_gray_whose_largest_value_is_black(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 30), 15, np.uint8), photometric="miniswhite")
    slide = open_slide(tmp_path / "a.tif")
    assert (slide.read_level(0, Rect(0, 0, 20, 30)) == 240).all()


def test_values_beyond_eight_bits(tmp_path: Path) -> None:
    deep = np.zeros((20, 30, 3), np.uint16)
    deep[..., :] = 4095, 2048, 0
    options = {"photometric": "rgb", "tile": (16, 16)}
    for bits, meant in ((12, (255, 128, 0)), (16, (16, 8, 0))):
        path = tmp_path / f"{bits}.ome.tif"
        metadata = {"axes": "YXS", "SignificantBits": bits}
        tifffile.imwrite(path, deep, metadata=metadata, **options)
        slide = open_slide(path)
        assert (slide.read_level(0, Rect(0, 0, 20, 30)) == meant).all()
        assert slide.remarks[0].startswith(f"Its {bits} bits a channel are read as 8: the value")
    Image.fromarray(np.full((20, 30), 257 * 9, np.uint16)).save(tmp_path / "a.png")
    assert (open_slide(tmp_path / "a.png").read_level(0, Rect(0, 0, 20, 30)) == 9).all()


def test_jpeg_2000_in_rgb_only(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    write = {"tile": (32, 32), "photometric": "rgb", "metadata": None}
    path, said = tmp_path / "rgb.svs", "Aperio Image Library v1\n1x1"
    tifffile.imwrite(path, pixels, compression=33005, description=said, **write)
    by_openslide = OpenSlideSlide(path)
    assert type(open_slide(path)).__name__ == "TiffSlide"
    assert np.array_equal(open_slide(path).read_level(0, WHOLE), by_openslide.read_level(0, WHOLE))
    tifffile.imwrite(tmp_path / "ycc.tif", pixels, compression=33003, **write)
    with pytest.raises(SlideError, match="JP2000_YCBC.*Convert to 8-bit RGB"):
        open_slide(tmp_path / "ycc.tif")


@pytest.mark.parametrize(("photometric", "subsampling"), [("rgb", (1, 1)), ("ycbcr", (2, 2))])
def test_aperio_in_jpeg_is_read_by_the_faster_backend(
    photometric: str, subsampling: tuple[int, int], tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as file:
        for level in halved(pixels, 2):
            file.write(
                level,
                tile=(32, 32),
                photometric=photometric,
                subsampling=subsampling,
                compression="jpeg",
                description="Aperio Image Library v1\n1x1|AppMag = 20|MPP = 0.2527",
                metadata=None,
            )
    slide, slow = open_slide(path), OpenSlideSlide(path)
    assert type(slide).__name__ == "TiffSlide"
    assert slide.spacing_um == slow.spacing_um == 0.2527
    assert slide.level_shapes == slow.level_shapes
    assert np.array_equal(slide.read_level(0, WHOLE), slow.read_level(0, WHOLE))
    # With an empty tile in a coarser level OpenSlide fills it from the finer one.
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = file.pages[1].tags[name]
            tag.overwrite((0, *tag.value[1:]))
    assert type(open_slide(path)).__name__ == "OpenSlideSlide"
    assert type(open_slide(write_aperio(path, [pixels]))).__name__ == "OpenSlideSlide"


def test_channels_in_files_of_their_own(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    """An OME set: one file a channel, each naming the others."""
    names = [f"{channel}.ome.tif" for channel in range(3)]
    data = "".join(
        f'<TiffData FirstC="{channel}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{channel}</UUID></TiffData>'
        for channel, name in enumerate(names)
    )
    for channel, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{channel}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYCZT" Type="uint8" SizeX="101" SizeY="150" SizeC="3" SizeZ="1" '
            f'SizeT="1">{data}</Pixels></Image></OME>'
        )
        plane = np.ascontiguousarray(pixels[..., channel])
        tifffile.imwrite(tmp_path / name, plane, description=xml, metadata=None, tile=(32, 32))
    slide = open_slide(tmp_path / names[0])
    assert np.array_equal(slide.read_level(0, WHOLE), pixels)
    slide.close()
