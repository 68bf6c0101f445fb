"""Which image of a Zarr folder is the slide, and a store that reads regular files only."""

from __future__ import annotations

import errno
import math
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
import zarr.errors
from zarr.storage import LocalStore

from unisemalign.errors import SlideError

_MOST_IMAGES = 64
_METADATA = ("zarr.json", ".zgroup", ".zattrs")
# What Zarr, and looking into attributes that hold anything, answer to folders that make no sense.
NONSENSE = (
    *(zarr.errors.BaseZarrError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OSError, RuntimeError, NotImplementedError, OverflowError, RecursionError),
)


class RegularStore(LocalStore):
    """A folder to read from in which pipes, devices and sockets are no chunks."""

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return the bytes under ``key``, or ``None``."""
        self._check(key)
        return await super().get(key, *args, **kwargs)

    def get_sync(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return the bytes under ``key``, or ``None``."""
        self._check(key)
        return super().get_sync(key, *args, **kwargs)

    def _check(self, key: str) -> None:
        path = Path(self.root) / key
        try:
            mode = path.stat().st_mode
        except OSError:
            return  # absent: the store says so itself
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))


def holds_zarr(folder: Path) -> bool:
    """Tell whether a folder is a Zarr group, whatever its name says."""
    return folder.is_dir() and any((folder / name).is_file() for name in _METADATA)


@dataclass(frozen=True)
class ZarrImage:
    """A multiscale image of an OME-Zarr.

    Attributes
    ----------
    series
        Its number, counted from 0.
    channel_names
        What its channels are called; empty where nothing is said.
    remarks
        What a person should know of the choice.
    """

    series: int
    name: str
    group: Any
    multiscale: Mapping[str, Any]
    channel_names: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def pixels(self) -> int:
        """Entries of the finest level; 0 where it is not there."""
        array = self.group.get(self.multiscale["datasets"][0]["path"])
        return math.prod(array.shape) if isinstance(array, zarr.Array) else 0


def choose_zarr_image(path: Path, number: int | None) -> ZarrImage:
    """Return image ``number`` of an OME-Zarr, the largest when ``None``.

    Raises
    ------
    SlideError
        If the folder is no OME-Zarr, or has no such image.
    """
    try:
        group = zarr.open_group(RegularStore(path, read_only=True), mode="r")
    except NONSENSE as error:
        raise SlideError(
            f"A folder is a slide only as OME-Zarr; '{path.name}' holds no Zarr group. "
            f"Open a slide file in it, or the folder whose name ends in .zarr."
        ) from error
    images = _images(group)
    if not images:
        raise SlideError(
            f"The Zarr '{path.name}' has no 'multiscales' attribute, so it is not an OME-Zarr "
            f"image. Open the image inside it, or convert it to OME-Zarr 0.4 or 0.5."
        )
    if number is not None and not 0 <= number < len(images):
        raise SlideError(
            f"'{path.name}' holds {len(images)} image(s), counted from 0; image {number} was asked "
            f"for. Use one that is there."
        )
    if len(images) == 1:
        return images[0]
    chosen = images[number] if number is not None else max(images, key=lambda one: one.pixels)
    others = ", ".join(f"image {one.series}{_named(one)}" for one in images if one is not chosen)
    told = (
        f"It holds {len(images)} images: image {chosen.series}{_named(chosen)} is read. Left out: "
        f"{others[:300]}. `unisemalign add --series N` takes another."
    )
    return ZarrImage(
        chosen.series, chosen.name, chosen.group, chosen.multiscale, chosen.channel_names, (told,)
    )


def _named(image: ZarrImage) -> str:
    return f" ({image.name[:40]!r})" if image.name else ""


def _images(group: Any) -> list[ZarrImage]:
    found: list[ZarrImage] = []
    # An image at the root, or, as bioformats2raw writes it, one each in folders 0, 1, 2 …
    for place in ("", *(str(index) for index in range(_MOST_IMAGES))):
        inside = group if not place else group.get(place)
        if not isinstance(inside, zarr.Group):
            if place and not isinstance(inside, zarr.Array):
                break
            continue
        attributes = _attributes(inside)
        for multiscale in _listed(attributes.get("multiscales")):
            name = str(multiscale.get("name") or place)
            names = _channel_names(attributes.get("omero"))
            found.append(ZarrImage(len(found), name, inside, multiscale, names))
        if found and not place:
            break
    return found


def _attributes(group: zarr.Group) -> Mapping[str, Any]:
    attributes: Mapping[str, Any] = group.attrs.asdict()
    inside = attributes.get("ome", attributes)
    return inside if isinstance(inside, Mapping) else {}


def _listed(value: Any) -> Sequence[Mapping[str, Any]]:
    values = value if isinstance(value, list) else []
    return [one for one in values if isinstance(one, Mapping)]


_PRIMARY = {"ff0000": "red", "00ff00": "green", "0000ff": "blue"}


def _channel_names(omero: Any) -> tuple[str, ...]:
    """Return what viewers are told of the channels: their labels, else red, green, blue."""
    channels = _listed(omero.get("channels")) if isinstance(omero, Mapping) else []
    names = tuple(str(channel.get("label") or "") for channel in channels)
    colours = tuple(_PRIMARY.get(str(one.get("color", "")).lower().lstrip("#")) for one in channels)
    return ("red", "green", "blue") if colours == ("red", "green", "blue") else names
