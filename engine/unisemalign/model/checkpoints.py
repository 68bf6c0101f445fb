"""Trained parts to and from safetensors. Someone else's weights are never written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Len
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from unisemalign.errors import SettingsError, WeightsError
from unisemalign.model.build import build_network
from unisemalign.model.network import Network
from unisemalign.protocol import WEIGHTS_FILE
from unisemalign.runtime.files import write_atomically
from unisemalign.settings import Settings
from unisemalign.settings.tree import validate_settings
from unisemalign.terms import MAX_CLASSES

_CLASSES: TypeAdapter[dict[str, str]] = TypeAdapter(Annotated[dict[str, str], Len(1, MAX_CLASSES)])


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of every part of our own in a network, or in what holds some networks.

    Left out are text towers and frozen encoders with someone else's weights: they come from where
    they were published. What several parts share is named once, by its first name.
    """
    published: list[str] = []
    for name, network in module.named_modules(remove_duplicate=False):
        if not isinstance(network, Network):
            continue
        at = f"{name}." if name else ""
        published.append(f"{at}semantic.text.tower.")
        theirs = network.encoder.pretrained and not network.encoder.ours
        if theirs and not network.train_encoder:
            published.append(f"{at}encoder.")
    state: dict[str, Tensor] = {}
    known: set[int] = set()
    for name, value in module.state_dict(keep_vars=True).items():
        if name.startswith(tuple(published)) or id(value) in known:
            continue
        known.add(id(value))
        state[name] = value.detach()
    return state


def load_trained_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load what :func:`trained_state` gave; names and shapes must fit exactly.

    Raises
    ------
    WeightsError
        If they do not.
    """
    expected = trained_state(module)
    wrong = sorted(
        set(expected) ^ set(state)
        | {k for k in set(expected) & set(state) if expected[k].shape != state[k].shape}
    )
    if wrong:
        raise WeightsError(
            f"The weights do not fit this network: {len(wrong)} of {len(expected)} parts differ, "
            f"the first is '{wrong[0]}'. The classes, the encoder or the model's widths have "
            f"changed since. Train with --set training.start_from=scratch."
        )
    module.load_state_dict(state, strict=False)


def save_network(
    network: Network, path: Path, settings: Settings, classes: Mapping[str, str]
) -> None:
    """Write our parts, with their settings and classes, to ``path`` (safetensors).

    ``classes`` maps each class name to its words, in class order. Of published weights only names
    (settings) and the hashes of their files are written.
    """
    state = {k: v.detach().contiguous().cpu() for k, v in trained_state(network).items()}
    about = {
        "settings": settings.model_dump_json(),
        "classes": json.dumps(dict(classes)),
        **published_hashes(network),
    }
    with write_atomically(path) as part:
        part.write_bytes(save(state, metadata=about))


def load_network(path: Path) -> tuple[Network, Settings, list[str]]:
    """Return network, settings and class names from what :func:`save_network` wrote.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or not one of ours, or the published weights of its encoder
        or text tower are not the ones it was trained on.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"Cannot read the weights '{path}': {error}. Choose another round, or train again."
        ) from error
    if not {"settings", "classes"} <= about.keys():
        raise WeightsError(
            f"'{path}' needs our settings and classes in its header, found none: it was not "
            f"written by this program. Choose a round's {WEIGHTS_FILE}."
        )
    settings, classes = _read_header(path, about)
    published = not any(name.startswith("encoder.") for name in state)
    network = build_network(
        list(classes.values()), settings.model, settings.method, encoder_weights=published
    )
    check_published(network, about)
    load_trained_state(network, state)
    return network.eval(), settings, list(classes)


def grow_classes(learned: Network, fresh: Network) -> Network:
    """Return a network of ``fresh``'s classes with what another one of fewer has learned.

    Parts that do not depend on the number of classes are ``learned``'s; so are, in parts with a row
    a class, the rows of the classes it knew, which are the first ones. The rest is ``fresh``'s.
    """
    grown = fresh.copied()
    state = grown.state_dict()
    with torch.no_grad():
        for name, value in learned.state_dict().items():
            mine = state.get(name)
            if not isinstance(mine, Tensor) or not isinstance(value, Tensor):
                continue
            if mine.shape == value.shape:
                mine.copy_(value)
            elif mine.shape[1:] == value.shape[1:] and value.shape[0] == learned.n_classes:
                mine[: learned.n_classes].copy_(value)
    return grown


def _read_header(path: Path, about: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """Return the settings, and the words of each class, out of a file's header."""
    try:
        settings = validate_settings(json.loads(about["settings"]))
        return settings, _CLASSES.validate_json(about["classes"], strict=True)
    except (ValueError, TypeError, AttributeError, RecursionError, SettingsError) as error:
        raise WeightsError(
            f"'{path}' needs our settings and classes in its header, found a mistake: "
            f"{str(error)[:300]} Choose another round, or train again."
        ) from error


def published_hashes(network: Network) -> dict[str, str]:
    """Return the SHA-256 of each published file the network is built on, by its part."""
    encoder, text = network.encoder.weights_sha256, network.semantic.text.weights_sha256
    found = {"encoder_sha256": encoder, "text_sha256": text}
    return {key: value for key, value in found.items() if value}


def check_published(network: Network, trained_on: Mapping[str, str]) -> None:
    """Check a network's published files against the :func:`published_hashes` of its training.

    Raises
    ------
    WeightsError
        If a file is another one: what was learned beside the former means nothing beside it.
    """
    names = {"encoder_sha256": network.settings.encoder, "text_sha256": network.settings.text}
    for key, found in published_hashes(network).items():
        wanted = trained_on.get(key)
        if wanted and wanted != found:
            raise WeightsError(
                f"This model was trained on other weights of '{names[key]}' than lie here: their "
                f"SHA-256 was {wanted[:12]}…, found {found[:12]}…. Bring the former back, or train "
                f"again with --set training.start_from=scratch."
            )
