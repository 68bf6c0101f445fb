"""Pyramids drawn at random: what was meant, how it is stored, and who can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from unisemalign.slides import OpenSlideSlide, PlainSlide, Slide, TiffSlide, ZarrSlide
from unisemalign.slides.channels import Colours

SPACING_UM = 0.5
LOSSLESS = ("none", "zlib", "lzw", "zstd", "packbits", "webp", "jpeg2000")
JPEG_OFF = 12  # quality 98 without subsampling, on a smooth picture
_OPENSLIDE_TIFF = {"zlib", "lzw", "jpeg"}


@dataclass(frozen=True)
class Pyramid:
    """Stored arrays ``(h, w, channels)`` of each level, and how to write them."""

    levels: tuple[NDArray[Any], ...]
    tile: tuple[int, int]
    compression: str
    predictor: bool
    big: bool
    bigendian: bool
    striped: bool
    blank: bool  # the tile at 0, 0 is never written

    def __repr__(self) -> str:
        shapes = [level.shape for level in self.levels]
        said = {key: value for key, value in vars(self).items() if key != "levels"}
        return f"Pyramid({self.levels[0].dtype}, {shapes}, {said})"

    @property
    def colours(self) -> Colours:
        return Colours.find("drawn", self.levels[0].dtype, self.levels[0].shape[2])

    @property
    def off(self) -> int:
        """How far a value read may lie from what was meant."""
        return JPEG_OFF if self.compression == "jpeg" else 0

    def meant(self, level: int) -> NDArray[np.uint8]:
        """What every backend must return of a level: ``(h, w, 3)``."""
        rgb = self.colours.rgb8(self.levels[level]).copy()
        if self.blank:
            rgb[: self.tile[0], : self.tile[1]] = 255
        return rgb


@st.composite
def pyramids(draw: Callable[..., Any]) -> Pyramid:
    h, w = draw(st.tuples(st.integers(1, 150), st.integers(1, 150)))
    channels = draw(st.sampled_from([3, 3, 4, 1]))
    compression = draw(st.sampled_from([*LOSSLESS, "jpeg", "jpeg"]))
    deep = draw(st.booleans()) if compression in ("none", "zlib", "lzw", "zstd") else False
    if compression in ("webp", "jpeg"):
        channels = 3
    steps = draw(st.lists(st.sampled_from([2.0, 2.0, 4.0, 3.7, 1.5]), max_size=3))
    seed = draw(st.integers(0, 99))
    striped = draw(st.booleans())
    return Pyramid(
        tuple(_levels(h, w, channels, steps, seed, deep)),
        tile=draw(st.sampled_from([(16, 16), (32, 48), (64, 32)])),
        compression=compression,
        predictor=draw(st.booleans()) and compression in ("zlib", "lzw", "zstd"),
        big=draw(st.booleans()),
        bigendian=draw(st.booleans()),
        striped=striped,
        blank=draw(st.booleans()) and not striped,
    )


def _levels(
    h: int, w: int, channels: int, steps: list[float], seed: int, deep: bool
) -> Iterator[NDArray[Any]]:
    rng = np.random.default_rng(seed)
    most = 65535 if deep else 255
    small = rng.integers(1, 255, (3, 3, channels), np.uint8)
    planes = [np.asarray(Image.fromarray(small[..., c]).resize((w, h), 3)) for c in range(channels)]
    pixels = (np.stack(planes, axis=2).astype(np.float64) / 255 * most).astype(
        np.uint16 if deep else np.uint8
    )
    pixels = np.maximum(pixels, 1)  # no chunk is black throughout
    yield pixels
    downsample = 1.0
    for step in steps:
        downsample *= step
        h1, w1 = int(h / downsample), int(w / downsample)
        if min(h1, w1) < 4:
            return
        rows, columns = (
            np.minimum((np.arange(n) * downsample).astype(int), full - 1)
            for n, full in ((h1, h), (w1, w))
        )
        yield pixels[rows][:, columns]


def write_every_way(drawn: Pyramid, folder: Path) -> Iterator[tuple[str, Slide]]:
    """Yield ``drawn`` as opened by every backend that can read it, written in every way."""
    plain = folder / "Präparat 切片.tif"
    _write_tiff(plain, drawn)
    if drawn.blank:
        _forget_first_tiles(plain)
    yield "TIFF", TiffSlide(plain)
    rgb8 = drawn.levels[0].dtype == np.uint8 and drawn.levels[0].shape[2] == 3
    openslide_reads = drawn.compression in _OPENSLIDE_TIFF and not drawn.striped and rgb8
    openslide_reads &= drawn.big or not drawn.bigendian  # it does not know 'MM\0*'
    if openslide_reads:
        yield "TIFF by OpenSlide", OpenSlideSlide(plain)
    ome = folder / "Präparat 切片.ome.tif"
    _write_ome_tiff(ome, drawn)
    if drawn.blank:
        _forget_first_tiles(ome)
    yield "OME-TIFF", TiffSlide(ome)
    if openslide_reads and not drawn.blank:
        aperio = folder / "Präparat 切片.svs"
        _write_tiff(aperio, drawn, description="Aperio Image Library v1\n1x1|MPP = 0.5")
        yield "Aperio", TiffSlide(aperio)
        yield "Aperio by OpenSlide", OpenSlideSlide(aperio)
    if drawn.compression == "jpeg":
        return
    for version in ("0.4", "0.5"):
        path = folder / f"Präparat 切片 {version}.zarr"
        _write_zarr(path, drawn, version)
        yield f"OME-Zarr {version}", ZarrSlide(path)
    if drawn.levels[0].dtype == np.uint8 and not drawn.blank:
        path = folder / "Präparat 切片.png"
        Image.fromarray(
            drawn.levels[0].squeeze(2) if drawn.colours.channels == 1 else drawn.levels[0]
        ).save(path)
        yield "PNG", PlainSlide(path)


def _options(drawn: Pyramid) -> dict[str, Any]:
    level = {"jpeg": 98, "webp": None, "jpeg2000": 0}
    arguments: dict[str, Any] = {}
    if drawn.compression == "webp":
        arguments = {"lossless": True}
    elif drawn.compression in level:
        arguments = {"level": level[drawn.compression]}
    return {
        "photometric": "minisblack" if drawn.colours.channels == 1 else "rgb",
        "compression": drawn.compression,
        "compressionargs": arguments or None,
        "predictor": drawn.predictor,
        "subsampling": (1, 1) if drawn.compression == "jpeg" else None,
        **({"rowsperstrip": 7} if drawn.striped else {"tile": drawn.tile}),
    }


def _pixels(level: NDArray[Any]) -> NDArray[Any]:
    return level[..., 0] if level.shape[2] == 1 else level


def _forget_first_tiles(path: Path) -> None:
    """Make every level's first tile one that was never written."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for level in [level for series in file.series for level in series.levels]:
            for name in ("TileOffsets", "TileByteCounts"):
                tag = level.keyframe.tags[name]
                tag.overwrite((0, *tag.value[1:]))


def _write_tiff(path: Path, drawn: Pyramid, description: str | None = None) -> None:
    order = ">" if drawn.bigendian else "<"
    with tifffile.TiffWriter(path, bigtiff=drawn.big, byteorder=order) as file:
        for index, level in enumerate(drawn.levels):
            spacing_um = SPACING_UM * drawn.levels[0].shape[0] / level.shape[0]
            file.write(
                _pixels(level),
                **_options(drawn),
                subfiletype=1 if index and description is None else 0,
                description=description,
                resolution=(1e4 / spacing_um,) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def _write_ome_tiff(path: Path, drawn: Pyramid) -> None:
    size = {"PhysicalSizeX": SPACING_UM, "PhysicalSizeY": SPACING_UM}
    order = ">" if drawn.bigendian else "<"
    with tifffile.TiffWriter(path, bigtiff=drawn.big, byteorder=order, ome=True) as file:
        first, *others = drawn.levels
        axes = "YX" if drawn.colours.channels == 1 else "YXS"
        file.write(
            _pixels(first),
            **_options(drawn),
            subifds=len(others),
            metadata={"axes": axes, **size},
        )
        for level in others:
            file.write(_pixels(level), **_options(drawn), subfiletype=1)


def _write_zarr(path: Path, drawn: Pyramid, version: str) -> None:
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = []
    for index, level in enumerate(drawn.levels):
        planes = level.transpose(2, 0, 1).copy()
        if drawn.blank:
            planes[:, : drawn.tile[0], : drawn.tile[1]] = 0
        # Chunks of zeros are not written: that is Zarr's way of leaving them empty.
        group.create_array(str(index), data=planes, chunks=(1, *drawn.tile))
        ratios = [
            full / side for full, side in zip(drawn.levels[0].shape, level.shape, strict=True)
        ]
        scale = [1.0, *(SPACING_UM * ratio for ratio in ratios[:2])]
        steps = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(index), "coordinateTransformations": steps})
    multiscales = [{"version": version, "axes": axes, "datasets": datasets}]
    # Four channels need to be called colours; of three it is the custom.
    omero = {"channels": [{"label": name} for name in ("red", "green", "blue", "alpha")]}
    named = {"omero": omero} if drawn.levels[0].shape[2] == 4 else {}
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": multiscales, **named}
    else:
        group.attrs.update({"multiscales": multiscales, **named})
