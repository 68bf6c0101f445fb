"""The table of layers this package shows: their order, looks and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from napari_unisemalign.session.colors import cluster_color
from napari_unisemalign.session.session import Session

SLIDE = "slide"
CLUSTERS = "clusters"
PREDICTION = "prediction"
UNCERTAINTY = "uncertainty"
DISAGREEMENT = "disagreement"
CHANGED = "changed"
ACCEPTED = "accepted"
ORIGIN = "origin"
TISSUE = "tissue"
EDITING = "editing"


@dataclass(frozen=True)
class Palette:
    """Name and colour of each label value, 0 first."""

    names: tuple[str, ...]
    colors: tuple[str, ...]


def class_palette(session: Session) -> Palette:
    """Return what label values mean: the project's classes."""
    project = session.project
    infos = () if project is None else project.info.classes
    return Palette(
        ("not labelled", *(each.name for each in infos)),
        ("#00000000", *(each.color for each in infos)),
    )


def cluster_palette(session: Session) -> Palette:
    """Return what the values of a first guess's clusters mean."""
    note = session.guess_note()
    numbers = range(1, 1 + (0 if note is None else len(note.directions)))
    return Palette(
        ("no tissue", *(f"cluster {number}" for number in numbers)),
        ("#00000000", *(cluster_color(number) for number in numbers)),
    )


def disagreement_palette(session: Session) -> Palette:
    """Return what the values of a prediction's disagreement mean."""
    read = session.project is not None and session.project.info.text != "free"
    words = "words" if read else "class vectors"  # without a text tower nobody reads words
    return Palette(
        ("none", "prototypes disagree", f"{words} disagree", f"prototypes and {words} disagree"),
        ("#00000000", "#f0e442", "#56b4e9", "#d55e00"),
    )


ORIGIN_PALETTE = Palette(
    ("none", "drawn", "corrected", "accepted as predicted", "imported"),
    ("#00000000", "#cc79a7", "#d55e00", "#009e73", "#56b4e9"),
)
"""Where the label of a pixel comes from; the values are those of ``Origin``."""

GLASS = 3
"""Value of the tissue layer where no tissue is found, 0 where some is; 1 and 2 are a person's."""
TISSUE_PALETTE = Palette(
    ("tissue", "tissue, marked by hand", "skipped, marked by hand", "skipped"),
    ("#00000000", "#009e73", "#d55e00", "#3b4252"),
)


@dataclass(frozen=True)
class Overlay:
    """How a layer looks when it is first shown; later, as the person left it.

    ``palette`` is ``None`` for layers that hold no labels. ``tints_brush``: it lies under the brush
    and would tint what is painted, so it is hidden meanwhile. ``contour``: pixels of the outlines
    that are shown instead of areas; 0 shows areas. ``read_while_painting``: while it is shown, what
    is painted above it is shown as outlines.
    """

    opacity: float
    visible: bool = True
    palette: Callable[[Session], Palette] | None = None
    tints_brush: bool = False
    contour: int = 0
    read_while_painting: bool = False


OVERLAYS: Mapping[str, Overlay] = {
    SLIDE: Overlay(1.0),
    CLUSTERS: Overlay(0.5, palette=cluster_palette, tints_brush=True),
    PREDICTION: Overlay(0.4, palette=class_palette, tints_brush=True),
    UNCERTAINTY: Overlay(0.6, visible=False, read_while_painting=True),
    DISAGREEMENT: Overlay(
        0.6, visible=False, palette=disagreement_palette, read_while_painting=True
    ),
    CHANGED: Overlay(0.9, palette=class_palette, tints_brush=True),
    # Outlines: a person's word and the model's guess are not to be two tints of one colour.
    ACCEPTED: Overlay(1.0, palette=class_palette, tints_brush=True, contour=5),
    ORIGIN: Overlay(0.7, visible=False, palette=lambda _session: ORIGIN_PALETTE, tints_brush=True),
    TISSUE: Overlay(0.5, palette=lambda _session: TISSUE_PALETTE),
    EDITING: Overlay(0.5, palette=class_palette),
}
"""Role → overlay, from the bottom to the top."""

ORDER = tuple(OVERLAYS)
