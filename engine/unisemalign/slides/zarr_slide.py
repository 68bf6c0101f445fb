"""OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import CONVERT, ChannelAxes, Colours, check_named
from unisemalign.slides.levels import (
    level_downsamples,
    overview_remarks,
    sound_levels,
    spacing_remarks,
)
from unisemalign.slides.slide import (
    OneProcess,
    Opening,
    UnreadableTileError,
    checked_level,
    gone,
    on_white,
)
from unisemalign.slides.spacing import Sizes, mean_um, settle, sizes_um
from unisemalign.slides.tiff_levels import LARGEST_PIECE_BYTES
from unisemalign.slides.tiles import TILES, UndecodableError, next_key, read_tiles
from unisemalign.slides.zarr_images import NONSENSE, ZarrImage, choose_zarr_image

_UNDECODABLE = (ValueError, RuntimeError, OSError, EOFError, KeyError, TypeError, zlib.error)


class ZarrSlide(OneProcess):
    """A multiscale image of an OME-Zarr folder: the largest, unless another is asked for.

    Where nothing was written it is white: chunks that are black throughout count as such, since
    Zarr stores no others. Gray is read as RGB, 16 bits as 8.

    Parameters
    ----------
    path
        The folder.
    spacing_um
        µm per pixel of level 0; overrules what the folder says.
    opening
        Which image is read.

    Raises
    ------
    SlideError
        If the folder is no OME-Zarr, or not gray or RGB.
    """

    def __init__(
        self, path: Path, spacing_um: float | None = None, opening: Opening | None = None
    ) -> None:
        self.path = path
        self.opening = opening or Opening()
        try:
            self._open(choose_zarr_image(path, self.opening.series), spacing_um)
        except NONSENSE as error:
            raise SlideError(
                f"The OME-Zarr '{path.name}' describes itself in a way that makes no sense "
                f"({type(error).__name__}: {error}). Copy the whole folder again from its source."
            ) from error

    def _open(self, image: ZarrImage, spacing_um: float | None) -> None:
        path, multiscale = self.path, image.multiscale
        arrays, datasets, missing = self._find_levels(image.group, multiscale)
        first = arrays[0]
        names = _axis_names(multiscale, first.ndim)
        self._axes = ChannelAxes.find(path.name, names, first.shape)
        channels = self._axes.channels(first.shape)
        colours = Colours.find(path.name, first.dtype, channels)
        # Three channels of which nothing is said are colours by custom.
        called = check_named(path.name, image.channel_names, channels, sure=channels == 3)
        kept, left_out = sound_levels([self._axes.shape_yx(array.shape) for array in arrays])
        for index in kept:
            _check_alike(path, first, arrays[index])
        self._levels = [_ZarrLevel(path, arrays[i], self._axes, colours) for i in kept]
        self.level_shapes = tuple(level.shape_yx for level in self._levels)
        self.level_tiles = tuple(level.tile_yx for level in self._levels)
        self.shape_yx: tuple[int, int] = self.level_shapes[0]
        if 0 in self.shape_yx:
            raise SlideError(
                f"A slide needs at least one pixel; '{path.name}' says it has "
                f"{self.shape_yx[0]} × {self.shape_yx[1]}. Copy it again from its source."
            )
        self.level_downsamples = level_downsamples(self.level_shapes)
        stated = [self._stated_sizes(multiscale, datasets[i]) for i in kept]
        own, said = (spacing_um, []) if spacing_um is not None else settle(path.name, stated[0])
        self.spacing_um = own
        self.remarks: tuple[str, ...] = (
            *image.remarks,
            *called,
            *colours.remarks,
            *said,
            *missing,
            *left_out,
            *spacing_remarks([mean_um(each) for each in stated], self.level_shapes),
            *overview_remarks(self.level_shapes),
        )

    def _find_levels(
        self, group: Any, multiscale: Mapping[str, Any]
    ) -> tuple[list[Any], list[Mapping[str, Any]], list[str]]:
        """Return the arrays that are there, what is said of each, and a remark on each other."""
        arrays, datasets, remarks = [], [], []
        try:
            for dataset in multiscale["datasets"]:
                array = group.get(dataset["path"])
                if isinstance(array, zarr.Array):
                    arrays.append(array)
                    datasets.append(dataset)
                elif arrays:
                    remarks.append(
                        f"It lists a level '{dataset['path']}' that is not there: it is left out. "
                        f"Copy the whole folder again if it should be."
                    )
                else:
                    raise KeyError(dataset["path"])
        except (KeyError, IndexError, TypeError) as error:
            raise SlideError(
                f"The OME-Zarr '{self.path.name}' lists a level that is not there ({error}). "
                f"Copy the whole folder again from its source."
            ) from error
        if not arrays:
            raise SlideError(
                f"The OME-Zarr '{self.path.name}' lists no level. Convert the image again."
            )
        return arrays, datasets, remarks

    def _stated_sizes(
        self, multiscale: Mapping[str, Any], dataset: Mapping[str, Any]
    ) -> Sizes | None:
        scales = [
            step["scale"]
            for part in (dataset, multiscale)
            for step in part.get("coordinateTransformations", ())
            if step.get("type") == "scale"
        ]
        axes = multiscale.get("axes", ())
        if not scales or not all(isinstance(axis, Mapping) for axis in axes) or not axes:
            return None
        # The level's own scale, times the one that holds for all levels where that is given.
        y, x = (float(np.prod([scale[axis] for scale in scales])) for axis in self._yx)
        unit_y, unit_x = (str(axes[axis].get("unit", "")) for axis in self._yx)
        return sizes_um(y, x, unit_y, unit_x)

    @property
    def _yx(self) -> tuple[int, int]:
        return self._axes.y, self._axes.x

    def read_level(
        self, level: int, rect: Rect, unreadable: list[UnreadableTileError] | None = None
    ) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        chunked = self._levels[checked_level(self, level)]
        on_bad = UnreadableTileError.collecting(self.path, level, unreadable)
        return on_white(rect, chunked.shape_yx, lambda inside: read_tiles(chunked, inside, on_bad))

    def close(self) -> None:
        """Let go of what was decoded: Zarr opens and closes its chunks as they are read."""
        for level in self._levels:
            TILES.forget(level)


class _ZarrLevel:
    """One array; a tile is a chunk with all its colours."""

    def __init__(self, path: Path, array: Any, axes: ChannelAxes, colours: Colours) -> None:
        self.key = next_key()
        self._path = path
        self._array = array
        self._axes = axes
        self._colours = colours
        self.shape_yx = axes.shape_yx(array.shape)
        self.tile_yx = axes.shape_yx(array.chunks)

    def decode(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """Return a tile; see :meth:`TiledLevel.decode`."""
        h, w = self.tile_yx
        tile = Rect(row * h, column * w, h, w).intersect(Rect(0, 0, *self.shape_yx))
        try:
            stored = self._axes.read(self._array, tile)
        except _UNDECODABLE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise gone(self._path, error) from error
            raise UndecodableError(f"{type(error).__name__}: {error}") from error
        if not stored.any():
            # Zarr takes any file it does not find for a chunk never written.
            if not self._path.exists():
                raise gone(self._path, "its folder is not there any more")
            return None
        return self._colours.rgb8(stored)


def _check_alike(path: Path, first: Any, array: Any) -> None:
    """See that a level can be read like the first one, in pieces that fit into memory."""
    if array.ndim != first.ndim or array.dtype != first.dtype:
        raise SlideError(
            f"A slide needs levels of one kind; '{path.name}' has one of {array.ndim} axes and "
            f"{array.dtype} beside one of {first.ndim} and {first.dtype}. {CONVERT}"
        )
    if math.prod(array.chunks) * array.dtype.itemsize > LARGEST_PIECE_BYTES:
        raise SlideError(
            f"A slide needs chunks of less than {LARGEST_PIECE_BYTES >> 20} MB; '{path.name}' has "
            f"chunks of {' × '.join(map(str, array.chunks))}. Convert it with smaller ones."
        )


def _axis_names(multiscale: Mapping[str, Any], ndim: int) -> list[str]:
    """Return one letter an axis. Files older than 0.4 say nothing or letters: t, c, z, y, x."""
    axes = multiscale.get("axes") or list("tczyx")[-ndim:]
    return [axis["name"] if isinstance(axis, Mapping) else str(axis) for axis in axes]
