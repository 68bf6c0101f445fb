"""Options and arguments that verbs share, each with its bounds: beyond them is wrong use."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from unisemalign.errors import DataError, SettingsError, UnisemalignError, shortened
from unisemalign.terms import MAX_PATCH_PX, MAX_ROUND, MAX_SEED

_BETWEEN = re.compile(r",(?=\s*\d+\s*=)")
"""A comma before the next number: the name of a class may hold one too."""
_NUMBER = re.compile(r"\s*\d{1,4}\s*")

_Value = TypeVar("_Value")


def read_option(read: Callable[[str], _Value], text: str | None) -> _Value | None:
    """Return what ``read`` makes of an option's text; ``None`` where it is not given.

    Raises
    ------
    typer.BadParameter
        With the sentence of ``read``: wrong use, exit status 2.
    """
    if text is None:
        return None
    try:
        return read(text)
    except UnisemalignError as error:
        raise typer.BadParameter(str(error)) from None


def parse_names(text: str) -> dict[int, str]:
    """Read ``1=gland,2=none``.

    Raises
    ------
    DataError
        If ``text`` is something else.
    """
    names: dict[int, str] = {}
    for part in _BETWEEN.split(text):
        number, equals, name = part.partition("=")
        if not equals or not _NUMBER.fullmatch(number) or not name.strip():
            raise DataError(
                f"Names need the form NUMBER=CLASS, separated by commas, found "
                f"'{shortened(part.strip())}'. Example: --names 1=background,2=gland,3=none."
            )
        names[int(number)] = name.strip()
    return names


def parse_seeds(text: str) -> list[int]:
    """Read ``0,1,2``.

    Raises
    ------
    SettingsError
        If it is not a list of different whole numbers that a seed may be.
    """
    try:
        seeds = [int(seed) for seed in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > MAX_SEED:
        raise SettingsError(
            f"Seeds need different whole numbers from 0 to 2³² − 1, found '{shortened(text)}'. "
            f"Example: --seeds 0,1,2."
        )
    return seeds


def parse_folders(text: str) -> dict[str, Path]:
    """Read ``glas=DIR,luad=DIR``.

    Raises
    ------
    SettingsError
        If a part has another form, or a name comes twice.
    """
    parts = [part.partition("=") for part in text.split(",")]
    folders = {name.strip(): Path(folder.strip()) for name, _, folder in parts}
    if len(folders) < len(parts) or not all(n.strip() and f.strip() for n, _, f in parts):
        raise SettingsError(
            f"Data sets need the form NAME=FOLDER, separated by commas, each once, found "
            f"'{shortened(text)}'. Example: --data glas=GLAS,luad=LUAD."
        )
    return folders


def refuse_nan(value: float | None) -> float | None:
    """Refuse NaN, which no bound catches."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("A pixel size needs a number, found NaN. Example: 0.5.")
    return value


ProjectPath = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")]
Slides = Annotated[list[str] | None, typer.Argument(metavar="[SLIDE…]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PLACE=VALUE", help="A setting, e.g. training.steps=200."),
]
ClassMap = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="THEIRS=OURS", help="A class of outlines; '' leaves it out."),
]
OwnSpacingUm = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=100,
        callback=refuse_nan,
        help="Working pixel size in µm; 0.5, or that of the model it begins with.",
    ),
]
FileSpacingUm = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=100,
        callback=refuse_nan,
        help="Pixel size of slides that state none, in µm.",
    ),
]
MinObject = Annotated[
    int, typer.Option(min=0, max=MAX_PATCH_PX, help="Predicted patches below this are dropped.")
]
MinHole = Annotated[
    int, typer.Option(min=0, max=MAX_PATCH_PX, help="Predicted holes below this are filled.")
]
ExportMinObject = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_PATCH_PX,
        help="Predicted patches below this are not written; 25 µm² unless said, 0 keeps all.",
        show_default=False,
    ),
]
ExportMinHole = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_PATCH_PX,
        help="Predicted holes below this are filled; 25 µm² unless said, 0 keeps all.",
        show_default=False,
    ),
]
Smooth = Annotated[
    int, typer.Option(min=0, max=50, help="Radius of the most frequent class, in pixels.")
]
RoundNumber = Annotated[
    int | None,
    typer.Option(
        "--round",
        min=0,
        max=MAX_ROUND,
        metavar="N",
        help="Use this round's model, not the newest.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the clustering.")]
Region = Annotated[
    str | None, typer.Option(metavar="Y,X,H,W", help="Only this, in working pixels.")
]
Focus = Annotated[str | None, typer.Option(metavar="Y,X", help="Begin near this working pixel.")]
Encoder = Annotated[
    str,
    typer.Option(help="embedded, organs, a name of 'weights list', a timm name, or NAME=PATH."),
]
Text = Annotated[
    str,
    typer.Option(help="free, a name of 'weights list', an open_clip name, or NAME=PATH."),
]
