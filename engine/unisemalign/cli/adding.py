"""Adding slides and folders of slides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from unisemalign.errors import DataError, KnownSlideError, SpacingError, UnisemalignError
from unisemalign.exchange import check_mask, import_mask
from unisemalign.project import Project, SlideRecord, Split, safe_name
from unisemalign.protocol import AddDone, AddedSlide, Message, Progress, Start
from unisemalign.runtime import Events
from unisemalign.slides import (
    SLIDE_SUFFIXES,
    Slide,
    SpacedSlide,
    holds_zarr,
    open_slide,
    slide_stem,
    slides_in,
)

_NAMED = 5
_MASK_SUFFIXES = (".png", ".tif", ".tiff")


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
) -> AddDone:
    """Add every slide named or found in a folder; label it where ``masks`` has its mask.

    ``spacing_um`` is the pixel size of slides that state none. ``series`` and ``profile``: see
    :meth:`Project.add_slide`.

    Every slide and every mask is looked at before the first is added, so a broken one adds
    nothing. A slide that is there already is left alone, or labelled if it was not: the same line
    can be repeated, also after a kill.

    Raises
    ------
    DataError, SlideError
        For an empty folder, a missing mask folder, a slide that cannot be opened, or a mask that
        does not fit. Where it comes later it says what was done before.
    """
    found = [slide for path in paths for slide in _slides_in(path)]
    if masks is not None and not masks.is_dir():
        raise DataError(f"Masks want a folder, found none at '{masks}'. Check --masks.")
    pairs = [(path, _mask_of(path, masks)) for path in found]
    if masks is not None and not any(mask for _, mask in pairs):
        raise DataError(
            f"Masks want the same file name as their slide, found none in '{masks}' for "
            f"{len(found)} slides (first: '{found[0].name}')."
        )
    there = {record.path.resolve(): record for record in project.slides()}
    remarks: dict[str, list[str]] = {}
    opened = partial(open_slide, fallback_um=spacing_um, series=series, profile=profile)
    for path, mask in pairs:
        known = there.get(path.resolve())
        if known is None:
            for remark in _check(project, path, mask, opened):
                remarks.setdefault(remark, []).append(path.name)
        elif mask is not None and _wants_labels(project, known.name):
            at_level_0 = partial(_level_0, project, known.name)
            check_mask(project, mask, known.name, known.shape_yx, at_level_0)
    for remark, names in remarks.items():
        events.emit(Message(text=f"{_named(names)}: {remark}"))
    added: list[AddedSlide] = []
    add = partial(
        project.add_slide, spacing_um=spacing_um, split=split, series=series, profile=profile
    )
    events.emit(Start(what="Adding slides", total=len(pairs)))
    for index, (path, mask) in enumerate(pairs):
        try:
            row = _add_one(project, path, mask, there.get(path.resolve()), add)
        except UnisemalignError as error:
            raise _with_what_was_done(error, path, len(added), len(pairs)) from error
        if row is None:
            events.emit(Message(text=f"'{path.name}' is in the project already: left as it is."))
            continue
        added.append(row)
        events.emit(Progress(done=index + 1, total=len(pairs)))
    return AddDone(slides=tuple(added))


def _add_one(
    project: Project,
    path: Path,
    mask: Path | None,
    known: SlideRecord | None,
    add: Callable[[Path], SlideRecord],
) -> AddedSlide | None:
    """Add a slide that is not ``known``, and its labels; ``None`` when nothing was to be done."""
    record = known
    if record is None:
        try:
            record = add(path)
        except KnownSlideError:  # another process added it since
            record = known = next(each for each in project.slides() if each.path.samefile(path))
    if known is not None and (mask is None or not _wants_labels(project, known.name)):
        return None
    if mask is not None:
        import_mask(project, record.name, mask)
    return AddedSlide(name=record.name, path=str(path), labelled=mask is not None)


def _wants_labels(project: Project, name: str) -> bool:
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
    told = type(error)(
        f"'{path.name}': {error} {done} of {total} slides were added before it and stay. Repeat "
        f"the same line to add the rest."
    )
    told.steps = error.steps
    return told


def _named(names: list[str]) -> str:
    """Return ``'a.svs'``, or the first of many and their number."""
    listed = ", ".join(f"'{name}'" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return listed + (f" and {more} more" if more > 0 else "")


def _check(
    project: Project, path: Path, mask: Path | None, opened: Callable[[Path], Slide]
) -> tuple[str, ...]:
    """Open a slide as :meth:`Project.add_slide` will, and its mask; return what is to be told."""
    slide = opened(path)
    try:
        if slide.spacing_um is None:
            odd = " ".join(remark for remark in slide.remarks if "a pixel" in remark)
            raise SpacingError(
                f"Cannot read the pixel size of '{path.name}': the file does not say it. {odd}"
                f"{' ' if odd else ''}Pass --spacing-um, for example --spacing-um 0.5."
            )
        if mask is not None:
            shape_yx = SpacedSlide(slide, project.info.spacing_um).shape_yx
            check_mask(project, mask, slide_stem(path), shape_yx, lambda: slide.shape_yx)
    finally:
        slide.close()
    return slide.remarks


def _level_0(project: Project, name: str) -> tuple[int, int]:
    spaced = project.open_slide(name)
    spaced.slide.close()
    return spaced.slide.shape_yx


def _slides_in(path: Path) -> list[Path]:
    if not path.is_dir() or holds_zarr(path) or path.suffix.lower() == ".zarr":
        return [path]
    slides = slides_in(path)
    if not slides:
        raise DataError(
            f"'{path}' needs at least one slide ({', '.join(SLIDE_SUFFIXES)}), found none."
        )
    return slides


def _mask_of(slide: Path, masks: Path | None) -> Path | None:
    if masks is None:
        return None
    stem = slide_stem(slide)
    wanted = {stem.casefold(), safe_name(stem).casefold()}  # the second is what exports are called
    found = [
        path
        for path in sorted(masks.iterdir())
        if not path.name.startswith(".")
        and path.name.lower().endswith(_MASK_SUFFIXES)
        and slide_stem(path).casefold() in wanted
        and not path.samefile(slide)
    ]
    # The same result in several formats: the one that says most of itself last.
    return min(found, key=lambda path: _MASK_SUFFIXES.index(path.suffix.lower()), default=None)
