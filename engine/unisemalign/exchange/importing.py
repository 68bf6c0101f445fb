"""Labels of any known kind into the project: what a file is follows from what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

from unisemalign.errors import DataError
from unisemalign.exchange.annotation_xml import import_xml, read_xml
from unisemalign.exchange.geojson import import_geojson, read_geojson
from unisemalign.exchange.json_stream import first_character
from unisemalign.exchange.masks import MaskConvention, check_mask, import_mask
from unisemalign.exchange.outlines import ClassLabels, Outline, Tally
from unisemalign.project import Project, Region, RegionState
from unisemalign.runtime import Events
from unisemalign.slides.files import check_regular

LabelKind = Literal["mask", "geojson", "xml"]

_PACKED = (b"\x1f\x8b", b"PK\x03\x04")
_TEXT_STARTS = (b"{", b"[", b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def label_kind(path: Path) -> LabelKind:
    """Return what a file of labels is, by what it begins with.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    check_regular(path, "mask", DataError)
    if path.is_dir():
        return "mask"
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise DataError(
            f"A file of labels needs to be readable, found '{path}': {error.strerror or error}. "
            f"Check its name and its permissions."
        ) from error
    if not start.startswith(_PACKED) and not start.lstrip().startswith(_TEXT_STARTS):
        return "mask"
    return "xml" if first_character(path) == "<" else "geojson"


def is_mask(path: Path) -> bool:
    """Tell whether a file of labels is an image."""
    return label_kind(path) == "mask"


def import_labels(
    project: Project,
    slide_name: str,
    path: Path | str,
    *,
    values: Mapping[int, int] | None = None,
    mapping: Mapping[str, str] | None = None,
    convention: MaskConvention | None = None,
    state: RegionState = RegionState.ACCEPTED,
    events: Events | None = None,
) -> list[Region]:
    """Take a mask, a GeoJSON, or ImageScope's or ASAP's XML as labels of origin ``imported``.

    Parameters
    ----------
    project, slide_name
        Where the labels go.
    path
        The file.
    values, convention
        Of a mask; see :func:`import_mask`.
    mapping
        Of outlines; see :func:`import_geojson`.
    state
        State of the regions.
    events
        Takes what is to be told as ``message``.

    Raises
    ------
    DataError
        As the reader of its kind raises it. Nothing is then imported.
    """
    path = Path(path)
    kind = label_kind(path)
    if kind == "mask":
        region = import_mask(
            project, slide_name, path, values=values, state=state, convention=convention
        )
        return [region]
    read = import_xml if kind == "xml" else import_geojson
    return read(project, slide_name, path, state=state, mapping=mapping, events=events)


def check_labels(
    project: Project,
    path: Path,
    name: str,
    shape_yx: tuple[int, int],
    level_0: Callable[[], tuple[int, int]],
    *,
    mapping: Mapping[str, str] | None = None,
    convention: MaskConvention | None = None,
) -> None:
    """See that labels can be taken, without writing any; see :func:`check_mask`.

    Raises
    ------
    DataError
        As :func:`import_labels` would.
    """
    kind = label_kind(path)
    if kind == "mask":
        check_mask(project, path, name, shape_yx, level_0, convention=convention)
        return
    outlines: Iterable[Outline] = (read_xml if kind == "xml" else read_geojson)(path, Tally())
    labels = ClassLabels(project.info.class_names, mapping)
    for outline in outlines:
        if outline.name is not None:
            labels.find(outline.name)
    labels.check_known(path)
