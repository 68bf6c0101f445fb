"""A round's model taken out of its project, and into a new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from unisemalign.errors import DataError, WeightsError
from unisemalign.model.checkpoints import load_network
from unisemalign.project import ClassInfo, Project, Round
from unisemalign.settings import write_settings

_HEADER = "project"
_DEFAULT_SPACING_UM = 0.5


class MovedFrom(BaseModel):
    """What a file of a model says of the project it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spacing_um: Annotated[float, Field(gt=0, lt=1000, allow_inf_nan=False)]
    classes: Annotated[tuple[ClassInfo, ...], Field(min_length=1, max_length=254)]


def portable_weights(project: Project, made: Round) -> bytes:
    """Return a round's weights with its project's classes, colours and pixel size in the header."""
    info = project.info
    about = MovedFrom(spacing_um=info.spacing_um, classes=info.classes)
    with safe_open(made.layout.weights, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {**(file.metadata() or {}), _HEADER: about.model_dump_json()}
    content: bytes = save(state, metadata=header)
    return content


def create_from_model(root: Path, model: Path, *, spacing_um: float | None = None) -> Project:
    """Make a project whose round 1 is the model in the file ``model``.

    It can segment at once, and its next round trains on from there. Classes, encoder and text tower
    are the model's; so is the pixel size where ``spacing_um`` is ``None`` and the file says it.

    Parameters
    ----------
    root
        A new or empty folder.
    model
        What ``model export --format unisemalign`` wrote, or a round's weights.
    spacing_um
        Working spacing, µm/px.

    Raises
    ------
    DataError
        If there is no such file.
    ProjectError
        If the folder holds something.
    WeightsError
        If the file is damaged or none of ours.
    """
    if not model.is_file():
        raise DataError(f"A model's file is needed, found none at '{model}'. Check --from-model.")
    network, settings, names = load_network(model)
    about = _moved_from(model, names)
    classes: list[str | ClassInfo] = list(about.classes) if about else list(names)
    known = about.spacing_um if about else _DEFAULT_SPACING_UM
    project = Project.create(
        root,
        classes=classes,
        spacing_um=known if spacing_um is None else spacing_um,
        encoder=network.settings.encoder,
        text=network.settings.text,
    )
    found = project.new_round(method=settings.method.name, preset=settings.preset)
    write_settings(settings, found.layout.settings)
    found.layout.weights.write_bytes(model.read_bytes())
    project.set_round(found.number, state="done")
    return project


def _moved_from(model: Path, names: list[str]) -> MovedFrom | None:
    """Return what the file says of its project; ``None`` where it says nothing."""
    try:
        with safe_open(model, framework="pt") as file:
            text = (file.metadata() or {}).get(_HEADER)
        about = None if text is None else MovedFrom.model_validate(json.loads(text))
    except (OSError, SafetensorError, ValidationError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"'{model}' needs to say what project it comes from, found a mistake: "
            f"{str(error)[:200]} Export the model again."
        ) from error
    if about and [each.name for each in about.classes] != names:
        raise WeightsError(
            f"'{model}' contradicts itself: its weights are of the classes {', '.join(names)}, its "
            f"project had others. Export the model again."
        )
    return about
