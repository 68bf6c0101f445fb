"""Adding slides and folders of slides."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unisemalign.cli.finding import find_slides, pair_with_labels
from unisemalign.errors import KnownSlideError, SpacingError, UnisemalignError
from unisemalign.exchange import (
    MaskConvention,
    check_labels,
    find_convention,
    import_labels,
    is_mask,
    level_0_shape,
)
from unisemalign.project import Project, SlideRecord, Split
from unisemalign.protocol import AddedSlide, Message, Progress, Start
from unisemalign.runtime import Events
from unisemalign.slides import Slide, SpacedSlide, open_slide, slide_stem

_NAMED = 5


@dataclass(frozen=True)
class _How:
    """What holds for every slide of one call."""

    split: Split
    spacing_um: float | None
    series: int | None
    profile: bool
    mapping: Mapping[str, str] | None
    convention: MaskConvention | None


def add_slides(
    project: Project,
    paths: list[Path],
    masks: Path | None,
    split: Split,
    spacing_um: float | None,
    events: Events,
    *,
    series: int | None = None,
    profile: bool = True,
    mapping: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Add every slide named or found in a folder; label it where ``masks`` has its mask.

    Every slide and every mask is looked at before the first is added, so a broken one adds
    nothing. A slide that is there already is left alone, or labelled if it was not: the same line
    can be repeated, also after a kill.

    Parameters
    ----------
    project
        Where they go.
    paths
        Slides, and folders of slides.
    masks
        Folder of masks, GeoJSON or XML that are called like their slide.
    split
        What the slides are for.
    spacing_um
        µm per pixel of level 0 of slides that state none.
    events
        Takes ``message`` for what is to be told, and ``progress``.
    series, profile
        As :meth:`Project.add_slide` takes them.
    mapping
        Class of an outline → class of the project.

    Returns
    -------
    list
        The fields of an :class:`AddedSlide` for each slide that was added or labelled.

    Raises
    ------
    DataError, SlideError
        For an empty folder, a missing mask folder, a slide that cannot be opened, or a mask that
        does not fit. Where it comes later it says what was done before.
    """
    found = [slide for path in paths for slide in find_slides(path)]
    pairs = pair_with_labels(found, masks)
    told = [labels for _, labels in pairs if labels is not None and is_mask(labels)]
    convention = find_convention(told, project.info.class_names) if told else None
    how = _How(split, spacing_um, series, profile, mapping, convention)
    there = {record.path.resolve(): record for record in project.slides()}
    remarks: dict[str, list[str]] = {}
    for path, labels in pairs:
        known = there.get(path.resolve())
        if known is None:
            for remark in _check(project, path, labels, how):
                remarks.setdefault(remark, []).append(path.name)
        elif labels is not None and _needs_labels(project, known.name):
            _check_labels(project, labels, known, how)
    if convention is not None and convention.remark:
        events.emit(Message(text=convention.remark))
    for remark, names in remarks.items():
        events.emit(Message(text=f"{_named(names)}: {remark}"))
    added: list[dict[str, Any]] = []
    events.emit(Start(what="Adding slides", total=len(pairs)))
    for index, (path, labels) in enumerate(pairs):
        try:
            row = _add_one(project, path, labels, there.get(path.resolve()), how, events)
        except UnisemalignError as error:
            raise _with_what_was_done(error, path, len(added), len(pairs)) from error
        if row is None:
            events.emit(Message(text=f"'{path.name}' is in the project already: left as it is."))
            continue
        added.append(row)
        events.emit(Progress(done=index + 1, total=len(pairs)))
    return added


def _add_one(
    project: Project,
    path: Path,
    labels: Path | None,
    known: SlideRecord | None,
    how: _How,
    events: Events,
) -> dict[str, Any] | None:
    """Add a slide that is not ``known``, and its labels; ``None`` when nothing was to be done."""
    record = known
    if record is None:
        try:
            record = project.add_slide(
                path,
                spacing_um=how.spacing_um,
                split=how.split,
                series=how.series,
                profile=how.profile,
            )
        except KnownSlideError:  # another process added it since
            record = known = next(each for each in project.slides() if each.path.samefile(path))
    if known is not None and (labels is None or not _needs_labels(project, known.name)):
        return None
    if labels is not None:
        import_labels(
            project,
            record.name,
            labels,
            mapping=how.mapping,
            convention=how.convention,
            events=events,
        )
    row = AddedSlide(name=record.name, path=str(path), labelled=labels is not None)
    return row.model_dump()


def _needs_labels(project: Project, name: str) -> bool:
    """Tell whether a slide has no labels, or those of an import that was killed half way."""
    if not project.labels(name).labelled_rects():
        return True
    if project.regions(slide=name):
        return False
    # As earlier releases left them: labels without the region that stands for them.
    edits = [each for each in project.journal(10_000) if each.slide == name]
    return bool(edits) and all(each.action == "import" for each in edits)


def _with_what_was_done(
    error: UnisemalignError, path: Path, done: int, total: int
) -> UnisemalignError:
    if total == 1:
        return error
    told = copy(error)
    told.args = (
        f"'{path.name}': {error} {done} of {total} slides were added before it and stay. Repeat "
        f"the same line to add the rest.",
    )
    return told


def _named(names: list[str]) -> str:
    """Return ``'a.svs'``, or the first of many and their number."""
    listed = ", ".join(f"'{name}'" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return listed + (f" and {more} more" if more > 0 else "")


def _check_labels(project: Project, labels: Path, known: SlideRecord, how: _How) -> None:
    check_labels(
        project,
        labels,
        known.name,
        known.shape_yx,
        partial(level_0_shape, project, known.name),
        mapping=how.mapping,
        convention=how.convention,
    )


def _check(project: Project, path: Path, labels: Path | None, how: _How) -> tuple[str, ...]:
    """Open a slide as :meth:`Project.add_slide` will, and its mask; return what is to be told."""
    slide = open_slide(path, fallback_um=how.spacing_um, series=how.series, profile=how.profile)
    try:
        _check_spacing(slide)
        if labels is not None:
            shape_yx = SpacedSlide(slide, project.info.spacing_um).shape_yx
            check_labels(
                project,
                labels,
                slide_stem(path),
                shape_yx,
                lambda: slide.shape_yx,
                mapping=how.mapping,
                convention=how.convention,
            )
    finally:
        slide.close()
    return slide.remarks


def _check_spacing(slide: Slide) -> None:
    if slide.spacing_um is None:
        odd = " ".join(f"{remark} " for remark in slide.remarks if "a pixel" in remark)
        raise SpacingError(
            f"Cannot read the pixel size of '{slide.path.name}': the file does not say it. "
            f"{odd}Pass --spacing-um, for example --spacing-um 0.5."
        )
