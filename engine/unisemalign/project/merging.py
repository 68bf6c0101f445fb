"""One class taken into another, in all labels of a project."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from unisemalign.errors import DataError
from unisemalign.project.edits import LabelEdit
from unisemalign.project.project import Project


def merge_classes(project: Project, value: int, into: int) -> int:
    """Make every pixel of one class one of another; return how many slides that changed.

    One act of the journal a slide. Origins stay; the class that was merged stays too, unused. Maps
    of earlier rounds are as they were: the next round learns the merged labels.

    Parameters
    ----------
    project
        Whose labels.
    value, into
        Label values, 1…C.

    Raises
    ------
    DataError
        If they are the same class, or one is none of the project's.
    """
    names = project.info.class_names
    for each in (value, into):
        if not 1 <= each <= len(names):
            raise DataError(
                f"Merging needs label values from 1 to {len(names)}, found {each}. Choose a class "
                f"of the project."
            )
    if value == into:
        raise DataError(
            f"Merging needs two classes, found '{names[value - 1]}' twice. Choose another one."
        )
    changed = 0
    for record in project.slides():
        edits = _edits(project, record.name, value, into)
        first = next(edits, None)
        if first is not None:  # the rest is read as it is written: a slide's labels may be many
            project.accept(record.name, chain([first], edits), action="merge classes")
            changed += 1
    return changed


def _edits(project: Project, slide: str, value: int, into: int) -> Iterator[LabelEdit]:
    labels = project.labels(slide)
    for rect in labels.labelled_rects():
        values = labels.read(rect)
        there = values == value
        if there.any():
            merged = np.where(there, np.uint8(into), values)
            yield LabelEdit(rect, merged, labels.read_origin(rect), only=there)
