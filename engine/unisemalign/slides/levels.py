"""How the levels of a pyramid relate, and whether they show the same picture."""

from __future__ import annotations

from collections.abc import Sequence

_OFF_PX = 2  # levels are rounded, and cut at odd rows
_OFF_SHARE = 0.02
_SPACING_OFF_SHARE = 0.1
_OVERVIEW_PX = 8192


def level_downsamples(level_shapes: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Return how much coarser each level is than level 0.

    Writers halve and drop the odd row, so that 625 × 2 becomes 1250.5 / 625 = 2.0008: where a
    whole number explains both sides to within a pixel, it is the truth.
    """
    h0, w0 = level_shapes[0]
    downsamples = []
    for h, w in level_shapes:
        ratio = (h0 / h + w0 / w) / 2
        whole = max(1, round(max(h0 / h, w0 / w)))
        explains = all(
            abs(full / whole - part) < 1 or part == 1 for full, part in ((h0, h), (w0, w))
        )
        downsamples.append(float(whole) if explains else ratio)
    return tuple(downsamples)


def sound_levels(level_shapes: Sequence[tuple[int, int]]) -> tuple[list[int], list[str]]:
    """Return which levels show the whole of level 0, each smaller than the one before.

    Returns
    -------
    tuple
        Indices of ``level_shapes``, the first always; and a remark on each level left out.
    """
    kept, remarks = [0], []
    h0, w0 = level_shapes[0]
    for index, (h, w) in enumerate(level_shapes[1:], start=1):
        before = level_shapes[kept[-1]]
        if min(h, w) > 0 and (h, w) != before and h <= before[0] and w <= before[1]:
            ratio = h0 / h if h0 >= w0 else w0 / w
            off = abs(h - h0 / ratio), abs(w - w0 / ratio)
            if off[0] <= _OFF_PX + _OFF_SHARE * h and off[1] <= _OFF_PX + _OFF_SHARE * w:
                kept.append(index)
                continue
        remarks.append(
            f"Its level {index} of {h} × {w} px is no smaller picture of level 0, which has "
            f"{h0} × {w0} px: it is left out."
        )
    return kept, remarks


def spacing_remarks(
    stated_um: Sequence[float | None], level_shapes: Sequence[tuple[int, int]]
) -> list[str]:
    """Return a remark on each level whose stated pixel size is not what its shape says.

    ``stated_um``: µm per pixel of each level, as the file says; ``None`` where it is silent.
    """
    first = stated_um[0]
    if first is None:
        return []
    remarks = []
    downsamples = level_downsamples(level_shapes)
    for index, (stated, downsample) in enumerate(zip(stated_um, downsamples, strict=True)):
        meant = first * downsample
        # Of few pixels, one more or less changes the size.
        allowed = (_SPACING_OFF_SHARE + 1 / min(level_shapes[index])) * meant
        if stated is not None and abs(stated - meant) > allowed:
            remarks.append(
                f"Its level {index} says it has {stated:.3g} µm a pixel, its shape says "
                f"{meant:.3g} µm: the shape is believed."
            )
    return remarks


def overview_remarks(level_shapes: Sequence[tuple[int, int]]) -> list[str]:
    """Return a remark if every overview of a slide means decoding much of it."""
    h, w = level_shapes[-1]
    if max(h, w) <= _OVERVIEW_PX:
        return []
    return [
        f"Its coarsest level has {h} × {w} px, so that every overview decodes all of them. "
        f"{pyramid_advice()}"
    ]


def pyramid_advice() -> str:
    """Return how to make a slide of a file that is none, or a slow one."""
    return (
        "To be quick, make a pyramid of it once: vips tiffsave IN OUT.tif --tile --pyramid "
        "--bigtiff --compression jpeg --Q 90."
    )
