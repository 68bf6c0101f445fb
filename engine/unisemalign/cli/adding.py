"""Adding slides and folders of slides."""

from __future__ import annotations

from pathlib import Path

from unisemalign.errors import DataError, KnownSlideError, SpacingError
from unisemalign.exchange import import_mask
from unisemalign.project import Project, Split, safe_name
from unisemalign.protocol import AddDone, AddedSlide, Message, Progress, Start
from unisemalign.runtime import Events
from unisemalign.slides import SLIDE_SUFFIXES, holds_zarr, open_slide, slide_stem, slides_in

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

    Every slide is opened once before the first is added, so a broken one adds nothing. A slide
    that is there already is left alone, or labelled if it was not: the same line can be repeated.

    Raises
    ------
    DataError, SlideError
        For an empty folder, a missing mask folder, or a slide that cannot be opened.
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
    for path, _ in pairs:
        if path.resolve() not in there:
            for remark in _checked_remarks(path, spacing_um, series, profile):
                remarks.setdefault(remark, []).append(path.name)
    for remark, names in remarks.items():
        events.emit(Message(text=f"{_named(names)}: {remark}"))
    added = []
    events.emit(Start(what="Adding slides", total=len(pairs)))
    for index, (path, mask) in enumerate(pairs):
        known = there.get(path.resolve())
        if known is not None and (mask is None or project.labels(known.name).labelled_rects()):
            events.emit(Message(text=f"'{path.name}' is in the project already: left as it is."))
            continue
        try:
            record = known or project.add_slide(
                path, spacing_um=spacing_um, split=split, series=series, profile=profile
            )
        except KnownSlideError as error:  # another process added it since
            events.emit(Message(text=str(error)))
            known = next(each for each in project.slides() if each.path.samefile(path))
            if mask is None or project.labels(known.name).labelled_rects():
                continue
            record = known
        if mask is not None:
            try:
                import_mask(project, record.name, mask)
            except DataError:
                if known is None:
                    project.remove_slide(record.name)  # to be added again with a mended mask
                raise
        added.append(AddedSlide(name=record.name, path=str(path), labelled=mask is not None))
        events.emit(Progress(done=index + 1, total=len(pairs)))
    return AddDone(slides=tuple(added))


def _named(names: list[str]) -> str:
    """Return ``'a.svs'``, or the first of many and their number."""
    listed = ", ".join(f"'{name}'" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return listed + (f" and {more} more" if more > 0 else "")


def _checked_remarks(
    path: Path, spacing_um: float | None, series: int | None, profile: bool
) -> tuple[str, ...]:
    """Open a slide as :meth:`Project.add_slide` will, and return what is to be told of it."""
    slide = open_slide(path, fallback_um=spacing_um, series=series, profile=profile)
    slide.close()
    if slide.spacing_um is None:
        odd = " ".join(remark for remark in slide.remarks if "a pixel" in remark)
        raise SpacingError(
            f"Cannot read the pixel size of '{path.name}': the file does not say it. {odd}"
            f"{' ' if odd else ''}Pass --spacing-um, for example --spacing-um 0.5."
        )
    return slide.remarks


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
