"""A round's weights, ready to be used: loading apart from running."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from unisemalign.errors import ProjectError, SettingsError
from unisemalign.inference.adapting import look_of_training
from unisemalign.inference.predictor import Predictor
from unisemalign.model import load_network
from unisemalign.project import Project, Round
from unisemalign.runtime.device import choose_device, choose_precision
from unisemalign.settings import Settings, build_settings
from unisemalign.settings.tree import validate_settings

_BLEND = b"gaussian of an eighth"
"""A part of a model's identity: maps of another blend are not gone on with."""


def load_predictor(
    project: Project, number: int | None = None, overrides: Sequence[str] = ()
) -> tuple[Predictor, Round]:
    """Return the predictor of round ``number`` (``None``: the newest with weights), and the round.

    ``overrides`` such as ``inference.flips=true``, ``device=cpu`` or ``precision=float32`` change
    how it is used, not what it learned; other places are refused.

    Raises
    ------
    ProjectError
        If there is no trained round yet: the sentence says what to do first. Or if its classes
        are not the project's.
    SettingsError
        If an override does not exist or has no place here.
    WeightsError
        If its weights cannot be read.
    """
    found = project.latest_round() if number is None else project.round(number)
    if found is None:
        raise ProjectError(
            "Segmenting needs a trained round, this project has none yet. Label at least one "
            "region with every class in it, then train. Before that, 'unisemalign guess' makes a "
            "first guess."
        )
    weights = found.layout.weights
    network, settings, names = load_network(weights)
    check_classes(project, found.number, names)
    settings = _used_with(settings, overrides)
    where = choose_device(settings.device)
    learned = weights.read_bytes()
    reference = look_of_training(project) if settings.inference.match_stain else None
    if reference is not None:
        learned += reference.moments.tobytes()
    predictor = Predictor(network.to(where), settings, where, identify(learned, settings, where))
    predictor.reference = reference
    return predictor, found


def identify(network: bytes, settings: Settings, where: torch.device) -> str:
    """Return a hash of weights and inference settings, for :class:`Predictor`.

    ``network`` holds, or stands for, all that was learned.
    """
    digest = hashlib.sha256(network)
    digest.update(_BLEND)
    inference = settings.inference
    # What is off changes no pixel: maps from before it could be asked for are gone on with.
    off = {name for name in ("match_stain", "slide_norms") if not getattr(inference, name)}
    used = inference.model_dump_json(exclude={"readers", "recent_mb", *off})
    digest.update(used.encode())
    digest.update(str(choose_precision(settings.precision, where)).encode())
    return digest.hexdigest()


def check_classes(project: Project, number: int, names: Sequence[str]) -> None:
    """Raise :class:`ProjectError` unless a round's classes are the project's, in its order.

    Classes may have had another name then, and others may have been added since.
    """
    known = project.info.classes
    wanted = [c.name for c in known]
    same = all(each.answers_to(name) for each, name in zip(known, names, strict=False))
    if not same or len(names) > len(known):
        raise ProjectError(
            f"Round {number} learned the classes {', '.join(names)}; the project has "
            f"{', '.join(wanted)}. Put them back in project.toml, or train with "
            f"--set training.start_from=scratch."
        )


def _used_with(settings: Settings, overrides: Sequence[str]) -> Settings:
    for text in overrides:
        if not text.startswith(("inference.", "device=", "precision=")):
            raise SettingsError(
                f"Only inference.…, device and precision can change after training, found "
                f"'{text}'. Leave it out, or train a round with it."
            )
    asked = build_settings(overrides=overrides)
    changed = {text.partition("=")[0].partition(".")[2] for text in overrides}
    inference = {name: getattr(asked.inference, name) for name in changed if name}
    tree = settings.model_dump()
    tree["inference"].update(inference)
    # The device a round was trained on may not be here.
    tree["device"] = asked.device
    if any(text.startswith("precision=") for text in overrides):
        tree["precision"] = asked.precision
    return validate_settings(tree)
