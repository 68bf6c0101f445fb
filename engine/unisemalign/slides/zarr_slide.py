"""OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import ChannelAxes, Colours
from unisemalign.slides.levels import (
    level_downsamples,
    overview_remarks,
    sound_levels,
    spacing_remarks,
)
from unisemalign.slides.slide import (
    OneProcess,
    UnreadableTileError,
    checked_level,
    gone,
    on_white,
)
from unisemalign.slides.spacing import spacing_from_sizes
from unisemalign.slides.tiles import TILES, UndecodableError, next_key, read_tiles

_UNDECODABLE = (ValueError, RuntimeError, OSError, EOFError, KeyError, TypeError, zlib.error)


class ZarrSlide(OneProcess):
    """The first multiscale image of an OME-Zarr folder.

    Where nothing was written it is white: chunks that are black throughout count as such, since
    Zarr stores no others. Gray is read as RGB, 16 bits as 8.

    Raises
    ------
    SlideError
        If the folder is no OME-Zarr, or not gray or RGB.
    """

    def __init__(self, path: Path, spacing_um: float | None = None) -> None:
        self.path = path
        group, multiscale = _first_multiscale(path)
        arrays, datasets, missing = self._find_levels(group, multiscale)
        first = arrays[0]
        names = _axis_names(multiscale, first.ndim)
        self._axes = ChannelAxes.find(path.name, names, first.shape)
        colours = Colours.find(path.name, first.dtype, self._axes.channels(first.shape))
        kept, left_out = sound_levels([self._axes.shape_yx(array.shape) for array in arrays])
        self._levels = [_ZarrLevel(path, arrays[i], self._axes, colours) for i in kept]
        self.level_shapes = tuple(level.shape_yx for level in self._levels)
        self.level_tiles = tuple(level.tile_yx for level in self._levels)
        self.shape_yx: tuple[int, int] = self.level_shapes[0]
        if 0 in self.shape_yx:
            raise SlideError(
                f"A slide wants at least one pixel; '{path.name}' says it has "
                f"{self.shape_yx[0]} × {self.shape_yx[1]}. Copy it again from its source."
            )
        self.level_downsamples = level_downsamples(self.level_shapes)
        stated = [self._stated_spacing(multiscale, datasets[i]) for i in kept]
        self.spacing_um = spacing_um if spacing_um is not None else stated[0]
        self.remarks: tuple[str, ...] = (
            *colours.remarks,
            *missing,
            *left_out,
            *spacing_remarks(stated, self.level_shapes),
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

    def _stated_spacing(
        self, multiscale: Mapping[str, Any], dataset: Mapping[str, Any]
    ) -> float | None:
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
        return spacing_from_sizes(y, x, unit_y, unit_x)

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


def _first_multiscale(path: Path) -> tuple[Any, Mapping[str, Any]]:
    try:
        group = zarr.open_group(path, mode="r")
    except (zarr.errors.BaseZarrError, FileNotFoundError, ValueError, TypeError) as error:
        raise SlideError(
            f"A folder is a slide only as OME-Zarr; '{path.name}' holds no Zarr group. "
            f"Open a slide file in it, or the folder whose name ends in .zarr."
        ) from error
    for candidate in (group, group.get("0")):
        if not isinstance(candidate, zarr.Group):
            continue
        found = _multiscales(candidate)
        if found:
            return candidate, found[0]
    raise SlideError(
        f"The Zarr '{path.name}' has no 'multiscales' attribute, so it is not an OME-Zarr image. "
        f"Open the image inside it, or convert it to OME-Zarr 0.4 or 0.5."
    )


def _multiscales(group: zarr.Group) -> Sequence[Mapping[str, Any]]:
    attributes: Mapping[str, Any] = group.attrs.asdict()
    return attributes.get("ome", attributes).get("multiscales", ())  # type: ignore[no-any-return]


def _axis_names(multiscale: Mapping[str, Any], ndim: int) -> list[str]:
    """Return one letter an axis. Files older than 0.4 say nothing or letters: t, c, z, y, x."""
    axes = multiscale.get("axes") or list("tczyx")[-ndim:]
    return [axis["name"] if isinstance(axis, Mapping) else str(axis) for axis in axes]
