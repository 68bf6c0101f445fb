"""The region that stands for imported labels."""

from __future__ import annotations

from unisemalign.geometry import Rect
from unisemalign.project import Project, Region, RegionState


def accept(project: Project, slide_name: str, rect: Rect, state: RegionState) -> Region:
    """Return a region of ``rect`` in ``state``: the one that is there already, or a new one."""
    for region in project.regions(slide=slide_name):
        if region.rect == rect:
            return project.set_region(region.id, state=state)
    return project.add_region(slide_name, rect, state=state, reason="imported")
