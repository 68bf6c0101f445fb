"""When a view is labelled by itself, and when it is no longer worth it. No Qt, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unisemalign.geometry import Rect

HARDLY_ANY = 0.02
"""A share of the view that is not worth a request: the rim that a small movement uncovers."""


class LabelledAreas:
    """What of each slide a round has labelled, as far as this viewer knows."""

    def __init__(self) -> None:
        self._rects: dict[tuple[int, str], list[Rect]] = {}

    def add(self, number: int, slide: str, rect: Rect) -> None:
        """Note that round ``number`` has labelled ``rect`` (working pixels) of ``slide``."""
        kept = self._rects.setdefault((number, slide), [])
        if not any(other.contains(rect) for other in kept):
            kept[:] = [other for other in kept if not rect.contains(other)] + [rect]

    def of(self, number: int, slide: str) -> Sequence[Rect]:
        """Return what round ``number`` has labelled of ``slide``."""
        return self._rects.get((number, slide), ())

    def forget(self) -> None:
        """Clear the record: a round may have learned on."""
        self._rects.clear()


def moved_on(asked: Rect, view: Rect) -> bool:
    """Tell whether less than half of what was ``asked`` for is still in view."""
    return 2 * asked.intersect(view).area < asked.area


def next_rect(view: Rect, labelled: Iterable[Rect], running: Rect | None) -> Rect | None:
    """Return what to ask for next: the bounds of what in ``view`` is not labelled.

    ``None`` where hardly any of it is neither labelled nor ``running``, which is asked for already.
    """
    missing = _left([view], labelled)
    waiting = _left(missing, () if running is None else (running,))
    if sum(rect.area for rect in waiting) <= HARDLY_ANY * view.area:
        return None
    y, x = min(rect.y for rect in missing), min(rect.x for rect in missing)
    y1, x1 = max(rect.y1 for rect in missing), max(rect.x1 for rect in missing)
    return Rect(y, x, y1 - y, x1 - x)


def _left(rects: list[Rect], covers: Iterable[Rect]) -> list[Rect]:
    for cover in covers:
        rects = [part for rect in rects for part in rect.without(cover)]
    return rects
