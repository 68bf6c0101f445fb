"""``project.toml``: what a person may read and edit."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, field_validator
from pydantic_core import ErrorDetails

from unisemalign.errors import ProjectError
from unisemalign.project.colors import default_colors
from unisemalign.runtime.files import read_note_text, write_atomically
from unisemalign.terms import MAX_CLASSES

FORMAT = 1
"""Version of the folder's layout. A higher one on disk was written by a newer release."""


_Text = Annotated[str, Strict()]


class ClassInfo(BaseModel):
    """One class: its name, its colour, and words the text tower may know it by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Text = Field(min_length=1, pattern=r"\S", description="a name that is not empty")
    color: _Text = Field(pattern=r"^#[0-9a-fA-F]{6}$", description="a colour such as '#e69f00'")
    words: tuple[_Text, ...] = Field(default=(), description="a list of texts")
    former: tuple[_Text, ...] = Field(
        default=(), description="a list of the names it had before, by which older rounds know it"
    )

    def answers_to(self, name: str) -> bool:
        """Tell whether this is, or was, the class's name."""
        return name in {self.name, *self.former}

    def changed(self, *, name: str, color: str) -> ClassInfo:
        """Return the class under another name and colour; it still answers to its names so far."""
        if name == self.name:
            return self.model_copy(update={"color": color})
        words = (name,) if self.words == (self.name,) else self.words
        former = tuple(dict.fromkeys((*self.former, self.name)))
        kept = tuple(each for each in former if each != name)
        return ClassInfo(name=name, color=color, words=words, former=kept)


class ProjectInfo(BaseModel):
    """What holds for the whole project.

    Attributes
    ----------
    spacing_um
        The working spacing, µm/px, of labels, predictions and regions.
    encoder, text
        Names of the encoder and of the text tower.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Annotated[int, Strict()] = Field(
        default=FORMAT, ge=1, description="a whole number above 0"
    )
    classes: tuple[ClassInfo, ...] = Field(
        min_length=1, max_length=MAX_CLASSES, description=f"1 to {MAX_CLASSES} classes"
    )
    spacing_um: Annotated[float, Strict()] = Field(
        gt=0, allow_inf_nan=False, description="a number above 0"
    )
    encoder: _Text = Field(default="embedded", min_length=1, description="an encoder's name")
    text: _Text = Field(default="free", min_length=1, description="a text tower's name")

    @field_validator("classes")
    @classmethod
    def _names_differ(cls, classes: tuple[ClassInfo, ...]) -> tuple[ClassInfo, ...]:
        seen: set[str] = set()
        for each in classes:
            key = each.name.strip().casefold()
            if key in seen:
                raise ValueError(f"'classes' needs names that differ, found '{each.name}' twice")
            seen.add(key)
        return classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; label value k has the name at place k−1."""
        return tuple(each.name for each in self.classes)


def build_classes(classes: Sequence[str | ClassInfo]) -> list[ClassInfo | dict[str, Any]]:
    """Return classes with a colour and words for those given by name alone, yet unchecked."""
    names = [each if isinstance(each, str) else each.name for each in classes]
    colors = default_colors([str(name) for name in names])
    return [
        each
        if isinstance(each, ClassInfo)
        else {"name": each.strip(), "color": color, "words": [each.strip()]}
        for each, color in zip(classes, colors, strict=True)
    ]


def build_info(values: Mapping[str, Any], source: str) -> ProjectInfo:
    """Check ``values`` and return them as a :class:`ProjectInfo`.

    Parameters
    ----------
    values
        Keys and values as ``project.toml`` has them.
    source
        What the sentence names as the place of the mistake.

    Raises
    ------
    ProjectError
        With one sentence per mistake.
    """
    version = values.get("format", FORMAT)
    if isinstance(version, int) and version > FORMAT:
        raise ProjectError(
            f"{source}: this release reads projects of format {FORMAT}, found format {version}. "
            f"A newer release made the project: install the newest napari-unisemalign."
        )
    try:
        return ProjectInfo.model_validate(dict(values))
    except ValidationError as error:
        sentences = " ".join(_sentence(each) for each in error.errors())
        raise ProjectError(f"{source}: {sentences} Correct it, then try again.") from error


def read_info(path: Path) -> ProjectInfo:
    """Read and check ``project.toml``.

    Raises
    ------
    ProjectError
        If the file is no TOML, or holds a mistake.
    """
    try:
        values = tomllib.loads(read_note_text(path))
    except (ValueError, RecursionError) as error:
        raise ProjectError(
            f"{path.name}: the file needs to be TOML, found a mistake: {error}. "
            f"Correct it in '{path}', then open the project again."
        ) from error
    return build_info(values, path.name)


def write_info(path: Path, info: ProjectInfo) -> None:
    """Write ``project.toml`` with the comments a person needs to edit it, atomically."""
    document = tomlkit.document()
    document.add(tomlkit.comment("A napari-unisemalign project. Edit it while no viewer is open."))
    document.add("format", tomlkit.item(info.format))
    document.add("spacing_um", tomlkit.item(info.spacing_um))
    document["spacing_um"].comment("µm per pixel of labels and predictions; fixed once made")
    document.add("encoder", tomlkit.item(info.encoder))
    document.add("text", tomlkit.item(info.text))
    classes = tomlkit.aot()
    for each in info.classes:
        table = tomlkit.table()
        table.add("name", each.name)
        table.add("color", each.color)
        table.add("words", list(each.words))
        if each.former:
            table.add("former", list(each.former))
        classes.append(table)
    document.add(tomlkit.nl())
    document.add(
        tomlkit.comment(
            "Names, colours and words may change; classes may be added at the end. Keep the order."
        )
    )
    document.add("classes", classes)
    with write_atomically(path) as part:
        part.write_text(tomlkit.dumps(document), encoding="utf-8")


def _sentence(error: ErrorDetails) -> str:
    place = _place(error["loc"])
    if error["type"] == "missing":
        return f"'{place}' is missing; it needs {_wanted(error['loc'])}."
    if error["type"] == "extra_forbidden":
        known = ", ".join(_model_at(error["loc"]).model_fields)
        return f"Unknown key '{place}'. Known keys: {known}."
    if error["type"] == "value_error":
        return f"{error['msg'].removeprefix('Value error, ')}."
    return f"'{place}' needs {_wanted(error['loc'])}, found {_found(error['input'])}."


def _place(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    return ClassInfo if len(loc) > 2 else ProjectInfo


def _wanted(loc: tuple[int | str, ...]) -> str:
    if len(loc) == 2:
        return "a table with name, color and words"
    field = _model_at(loc).model_fields[str(loc[2] if len(loc) > 2 else loc[0])]
    return str(field.description)


def _found(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{len(value)} of them"
    return f"'{value}'"
