"""Adding slides and folders of slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unisemalign.errors import DataError, KnownSlideError, SpacingError
from unisemalign.exchange import import_mask
from unisemalign.project import Project, Split
from unisemalign.runtime import Events
from unisemalign.slides import SLIDE_SUFFIXES, one_file_a_slide, open_slide

_MASK_SUFFIXES = (".png", ".tif", ".tiff")


def add_slides(
    project: Project,
    paths: list[Path],
    masks: Path | None,
    split: Split,
    spacing_um: float | None,
    events: Events,
) -> list[dict[str, Any]]:
    """Add every slide named or found in a folder; label it where ``masks`` has its mask.

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
            for remark in _checked_remarks(path, spacing_um):
                remarks.setdefault(remark, []).append(path.name)
    for remark, names in remarks.items():
        events.emit("message", text=f"{_named(names)}: {remark}")
    added = []
    events.emit("start", what="Adding slides", total=len(pairs))
    for index, (path, mask) in enumerate(pairs):
        known = there.get(path.resolve())
        if known is not None and (mask is None or project.labels(known.name).labelled_rects()):
            events.emit("message", text=f"'{path.name}' is in the project already: left as it is.")
            continue
        try:
            record = known or project.add_slide(path, spacing_um=spacing_um, split=split)
        except KnownSlideError as error:  # another process added it since
            events.emit("message", text=str(error))
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
        added.append({"name": record.name, "path": str(path), "labelled": mask is not None})
        events.emit("progress", done=index + 1, total=len(pairs))
    return added


def _named(names: list[str]) -> str:
    """Return ``'a.svs'``, or the first of many and their number."""
    more = "" if len(names) == 1 else f" and {len(names) - 1} more"
    return f"'{names[0]}'{more}"


def _checked_remarks(path: Path, spacing_um: float | None) -> tuple[str, ...]:
    """Open a slide as :meth:`Project.add_slide` will, and return what is to be told of it."""
    slide = open_slide(path, spacing_um=spacing_um)
    slide.close()
    if slide.spacing_um is None:
        raise SpacingError(
            f"Cannot read the pixel size of '{path.name}': the file does not say it. "
            f"Pass --spacing-um, for example --spacing-um 0.5."
        )
    return slide.remarks


def _slides_in(path: Path) -> list[Path]:
    if path.is_dir() and path.suffix != ".zarr":
        slides = sorted(p for p in path.iterdir() if p.name.lower().endswith(tuple(SLIDE_SUFFIXES)))
        if not slides:
            raise DataError(
                f"'{path}' wants at least one slide ({', '.join(SLIDE_SUFFIXES)}), found none."
            )
        return one_file_a_slide(slides)
    return [path]


def _mask_of(slide: Path, masks: Path | None) -> Path | None:
    if masks is None:
        return None
    for suffix in _MASK_SUFFIXES:
        candidate = masks / f"{slide.stem}{suffix}"
        if candidate.exists():
            return candidate
    return None
