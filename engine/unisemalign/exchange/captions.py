"""Captions of slides, from a table: a sentence on what each slide shows."""

from __future__ import annotations

import csv
from pathlib import Path

from unisemalign.errors import DataError
from unisemalign.project import Project
from unisemalign.protocol import Message
from unisemalign.runtime import Events
from unisemalign.slides import slide_stem

_LIMIT_BYTES = 20 * 2**20
_SLIDE_COLUMNS = ("slide", "image", "file", "name", "filename", "image_name")
_TEXT_COLUMNS = ("caption", "sentence", "text", "description")


def read_captions(path: Path) -> dict[str, str]:
    """Return the captions in a CSV file: name of the slide, without suffix → sentence.

    Parameters
    ----------
    path
        UTF-8, with a header; columns ``slide`` (or image, file, name) and ``caption`` (or
        sentence, text, description), apart by comma, semicolon or tab.

    Raises
    ------
    DataError
        If it is no such table.
    """
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise DataError(
                f"A table of captions needs at most {_LIMIT_BYTES >> 20} MiB, found '{path.name}' "
                f"with {path.stat().st_size >> 20}. Is it the right file?"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"Cannot read the captions in '{path}': {error}. Give a CSV file in UTF-8."
        ) from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(
            f"'{path.name}' needs to be a CSV file, found: {error}. Save it as CSV in UTF-8."
        ) from error
    columns = {name.strip().lower(): name for name in (rows[0] if rows else {}) if name}
    slide = next((columns[name] for name in _SLIDE_COLUMNS if name in columns), None)
    caption = next((columns[name] for name in _TEXT_COLUMNS if name in columns), None)
    if slide is None or caption is None:
        raise DataError(
            f"'{path.name}' needs a line of column names with 'slide' and 'caption' and a line a "
            f"slide below it, found: {head.strip()[:200] or 'nothing'}."
        )
    found: dict[str, str] = {}
    for row in rows:
        name, sentence = (row.get(slide) or "").strip(), (row.get(caption) or "").strip()
        if name and sentence:
            found[slide_stem(Path(name))] = sentence
    return found


def import_captions(project: Project, path: Path, events: Events) -> int:
    """Keep the captions in ``path`` with the slides of their names; return how many.

    Parameters
    ----------
    project
        Whose slides.
    path
        As :func:`read_captions` takes it.
    events
        Takes ``message`` where lines name no slide of the project.

    Raises
    ------
    DataError
        If the file is no table of captions, or none of its lines names a slide of the project.
    """
    found = read_captions(path)
    known = {record.name for record in project.slides()}
    fitting = {name: caption for name, caption in found.items() if name in known}
    if not fitting:
        first = next(iter(found), None)
        raise DataError(
            f"'{path.name}' needs a caption of a slide of this project, found "
            f"{'none at all' if first is None else f'captions of others, such as {first!r}'}. The "
            f"column 'slide' holds the slides' names."
        )
    project.set_captions(fitting)
    if rest := len(found) - len(fitting):
        events.emit(
            Message(text=f"{rest} captions of '{path.name}' name no slide of this project.")
        )
    return len(fitting)
