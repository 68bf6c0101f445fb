"""A drawn slide with two labelled regions in a project: what several benchmarks run on."""

from __future__ import annotations

from pathlib import Path

from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project
from unisemalign.slides.synthetic import CLASSES, draw_slide, truth


def make_project(folder: Path, size_px: int, region_px: int) -> Path:
    """Draw a slide and label two regions of it; return the project's folder."""
    slide = draw_slide(folder / "colon.tif", size_px=size_px)
    with Project.create(folder / "study.unisem", classes=list(CLASSES)) as project:
        name = project.add_slide(slide).name
        for y, x in ((0.15, 0.2), (0.4, 0.35)):
            rect = Rect(int(y * size_px), int(x * size_px), region_px, region_px)
            seen = truth(rect, size_px=size_px, seed=0)
            edit = LabelEdit(rect, seen, Origin.DRAWN, regions=(rect,))
            project.accept(name, [edit], action="accept")
        return project.root
