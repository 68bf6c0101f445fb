"""OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides.channels import ChannelAxes
from unisemalign.slides.slide import OneProcess, checked_level, level_downsamples, on_white
from unisemalign.slides.spacing import spacing_from_sizes

_UNDECODABLE = (ValueError, RuntimeError, OSError, KeyError, TypeError)


class ZarrSlide(OneProcess):
    """The first multiscale image of an OME-Zarr folder.

    Chunks never written have the array's fill value.

    Raises
    ------
    SlideError
        If the folder is no OME-Zarr or not 8-bit RGB.
    """

    def __init__(self, path: Path, spacing_um: float | None = None) -> None:
        self.path = path
        group, multiscale = _first_multiscale(path)
        try:
            datasets = multiscale["datasets"]
            self._arrays: list[Any] = [group[dataset["path"]] for dataset in datasets]
            names = _axis_names(multiscale, self._arrays[0].ndim)
        except (KeyError, IndexError, TypeError) as error:
            raise SlideError(
                f"The OME-Zarr '{path.name}' lists a level that is not there ({error}). "
                f"Copy the whole folder again from its source."
            ) from error
        first = self._arrays[0]
        self._axes = ChannelAxes.find(path.name, names, first.shape, first.dtype)
        self.level_shapes = tuple(self._axes.shape_yx(array.shape) for array in self._arrays)
        self.shape_yx: tuple[int, int] = self.level_shapes[0]
        self.level_downsamples = level_downsamples(self.level_shapes)
        own = None if spacing_um is not None else self._own_spacing(multiscale)
        self.spacing_um = spacing_um if spacing_um is not None else own

    def _own_spacing(self, multiscale: Mapping[str, Any]) -> float | None:
        scales = [
            step["scale"]
            for part in (multiscale["datasets"][0], multiscale)
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

    def read_level(self, level: int, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``; see :meth:`Slide.read_level`."""
        shape = self.level_shapes[checked_level(self, level)]
        array = self._arrays[level]
        try:
            return on_white(rect, shape, lambda inside: self._axes.read(array, inside))
        except _UNDECODABLE as error:
            raise SlideError(
                f"Cannot read level {level} of the OME-Zarr '{self.path.name}' at {rect}: {error}. "
                f"A chunk is probably damaged: copy the folder again from its source."
            ) from error

    def close(self) -> None:
        """Do nothing: Zarr opens and closes its chunks as they are read."""


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
