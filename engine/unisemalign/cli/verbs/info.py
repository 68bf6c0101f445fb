"""``info``: versions, devices, encoders at hand, settings."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from unisemalign.cli.options import AsJson
from unisemalign.cli.output import errors_as_sentences, say, say_done

_PACKAGES = ("napari-unisemalign", "torch", "timm", "open_clip_torch", "napari", "zarr", "numpy")


def info(
    project: Annotated[
        Path | None, typer.Argument(metavar="[PROJECT]", help="Say more about this project.")
    ] = None,
    as_json: AsJson = False,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting.")] = False,
) -> None:
    """Print versions, devices and the encoders at hand."""
    with errors_as_sentences(as_json):
        if settings:
            _list_settings(as_json)
        else:
            _report(project, as_json)


def _report(project: Path | None, as_json: bool) -> None:
    about = _about_project(project) if project else None
    import torch

    from unisemalign.protocol import InfoDone
    from unisemalign.runtime import find_hardware
    from unisemalign.settings import METHODS, PRESETS

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    report = InfoDone(
        versions={"python": platform.python_version(), **{n: _version(n) for n in _PACKAGES}},
        devices=("cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])),
        cores=os.cpu_count(),
        encoders=_at_hand("encoder", "timm"),
        text=_at_hand("text", "open_clip"),
        hardware=find_hardware(),
        presets=tuple(PRESETS),
        methods=tuple(METHODS),
        project=about,
    )
    if as_json:
        return say_done(report)
    for name, value in report.fields().items():
        if name in {"event", "verb"} or value is None:
            continue
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for key, item in inner:
            text = ", ".join(item) if isinstance(item, list) else item
            say(f"{name:10} {key:20} {text}")
    return None


def _at_hand(kind: str, others: str) -> dict[str, str]:
    """Say of each entry of the registry whether it can be used now."""
    from unisemalign.weights import PUBLISHED, is_here

    rows = {}
    for entry in PUBLISHED:
        if entry.kind == kind:
            get = f"'unisemalign weights get {entry.name}'"
            needs = f"{get} after accepting its licence" if entry.gated else get
            rows[entry.name] = "here" if is_here(entry) else needs
    return {**rows, others: "any model by name; its weights must have been fetched"}


def _about_project(path: Path) -> dict[str, Any]:
    from unisemalign.project import Project
    from unisemalign.settings import Settings
    from unisemalign.weights import spacing_advice

    with Project.open(path) as opened:
        about = opened.info
    advice = spacing_advice(about.encoder, about.spacing_um, Settings().model.zoom)
    return {
        "classes": [c.name for c in about.classes],
        "spacing_um": about.spacing_um,
        "encoder": about.encoder,
        "text": about.text,
        **({"advice": advice} if advice else {}),
    }


def _list_settings(as_json: bool) -> None:
    from unisemalign.protocol import InfoDone
    from unisemalign.settings import Settings

    tree = Settings().model_dump(mode="json")
    if as_json:
        return say_done(InfoDone(settings=tree))
    for section, value in tree.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                say(f"{section}.{key} = {inner}")
        else:
            say(f"{section} = {value}")
    return None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
