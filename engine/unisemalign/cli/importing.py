"""Labels made elsewhere, named on the command line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unisemalign.cli.finding import is_called_like
from unisemalign.errors import DataError, SettingsError
from unisemalign.exchange import (
    check_labels,
    find_convention,
    import_labels,
    is_mask,
    level_0_shape,
)
from unisemalign.project import Project, SlideRecord
from unisemalign.protocol import ImportDone, ImportedFile, Message
from unisemalign.runtime import Events


def parse_mapping(said: list[str]) -> dict[str, str]:
    """Return ``Tumor=gland`` … as class of a file → class of the project; empty: not wanted.

    Raises
    ------
    SettingsError
        If one has no ``=``.
    """
    mapping = {}
    for each in said:
        theirs, equals, ours = each.rpartition("=")
        if not equals or not theirs.strip():
            raise SettingsError(
                f"A mapping needs the form THEIRS=OURS, found '{each}'. Pass --map \"Tumor=gland\"."
            )
        mapping[theirs.strip()] = ours.strip()
    return mapping


def import_files(
    project: Project, paths: list[Path], slide: str | None, said: list[str], events: Events
) -> ImportDone:
    """Import files of labels; each is looked at before the first is written.

    Parameters
    ----------
    project
        Where the labels go.
    paths
        Masks, GeoJSON and XML.
    slide
        Whose labels a single file holds; ``None``: each is called like its slide.
    said
        Mappings of classes, as :func:`parse_mapping` reads them.
    events
        Takes what is to be told.

    Raises
    ------
    DataError
        If a file has no slide, or its labels do not fit.
    """
    mapping = parse_mapping(said)
    if slide is not None and len(paths) > 1:
        raise DataError(
            f"--slide goes with one file; {len(paths)} were given. Name them like their slides."
        )
    pairs = [(path, _slide_of(project, path, slide)) for path in paths]
    masks = [path for path, _ in pairs if is_mask(path)]
    convention = find_convention(masks, project.info.class_names) if masks else None
    for path, record in pairs:
        check_labels(
            project,
            path,
            record.name,
            record.shape_yx,
            partial(level_0_shape, project, record.name),
            mapping=mapping,
            convention=convention,
        )
    if convention is not None and convention.remark:
        events.emit(Message(text=convention.remark))
    files = []
    for path, record in pairs:
        regions = import_labels(
            project, record.name, path, mapping=mapping, convention=convention, events=events
        )
        files.append(ImportedFile(slide=record.name, path=str(path), regions=len(regions)))
    return ImportDone(files=tuple(files))


def _slide_of(project: Project, path: Path, name: str | None) -> SlideRecord:
    if name is not None:
        return project.slide(name)
    found = [each for each in project.slides() if is_called_like(path, each.path, each.name)]
    if len(found) != 1:
        known = ", ".join(f"'{each.name}'" for each in found or project.slides()) or "none yet"
        raise DataError(
            f"'{path.name}' needs the name of one slide; {len(found)} have it. Slides: {known}. "
            f"Pass --slide NAME."
        )
    return found[0]
