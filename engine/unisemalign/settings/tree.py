"""The tree itself, its presets, and its way to TOML and the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomlkit
from annotated_types import Ge, Le
from pydantic import Field, SerializeAsAny, ValidationError

from unisemalign.errors import SettingsError
from unisemalign.runtime.files import read_note_text, write_atomically
from unisemalign.settings.base import SettingsModel
from unisemalign.settings.inference import InferenceSettings
from unisemalign.settings.methods import (
    METHODS,
    KnownMethod,
    MethodSettings,
    UniSemAlignSettings,
)
from unisemalign.settings.model import ModelSettings
from unisemalign.settings.training import TrainingSettings
from unisemalign.settings.views import ViewSettings
from unisemalign.terms import MAX_SEED

M = TypeVar("M", bound=MethodSettings)

_PRESET_TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    files("unisemalign.settings").joinpath("presets.toml").read_text(encoding="utf-8")
)
PRESETS: tuple[str, ...] = tuple(_PRESET_TABLE)
"""Names of the presets, the default first."""

_HARDWARE_TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    files("unisemalign.settings").joinpath("hardware.toml").read_text(encoding="utf-8")
)
HARDWARE: dict[str, str] = {name: str(t.pop("explained")) for name, t in _HARDWARE_TABLE.items()}
"""Kinds of computer → what a round costs there, in a sentence."""

_EXTENDS = "extends"
"""Key of a preset: the one it differs from; absent: the field defaults."""


class Settings(SettingsModel):
    """Every number of a run. A setting's address is its place in this tree: ``training.steps``."""

    preset: str = Field(
        "recommended", title="Preset", description="The preset these settings started from."
    )
    seed: Annotated[int, Ge(0), Le(MAX_SEED)] = Field(
        0, title="Seed", description="Same seed, same result."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title="Device", description="Where the engine computes; auto takes the fastest."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Number format of matrix products and convolutions; auto takes bfloat16 on a "
        "GPU that has it, else float32. Losses, softmax, cosines and words are float32 always.",
    )
    model: ModelSettings = ModelSettings()
    views: ViewSettings = ViewSettings()
    method: SerializeAsAny[MethodSettings] = Field(
        UniSemAlignSettings(),
        title="Method",
        description="How tissue is used: labelled and unlabelled, or labelled alone.",
    )
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()

    def method_as(self, kind: type[M]) -> M:
        """Return the method's settings, which must be of class ``kind``.

        Raises
        ------
        SettingsError
            If another method is chosen.
        """
        if not isinstance(self.method, kind):
            raise SettingsError(
                f"{kind.__name__} are needed, found those of the method '{self.method.name}'. "
                f"Choose the method with --method."
            )
        return self.method


def build_settings(
    preset: str = "recommended",
    method: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    hardware: str = "workstation",
) -> Settings:
    """Return the settings of ``preset`` with ``overrides`` on top.

    Parameters
    ----------
    preset
        A name in :data:`PRESETS`.
    method
        A name in :data:`METHODS`; ``None`` keeps UniSemAlign. Numbers that the preset gives and
        the method has too are kept.
    overrides
        ``{"training.steps": 200}`` or ``["training.steps=200"]``. Text is read as TOML, and as
        plain text where it is no TOML value.
    hardware
        A name in :data:`HARDWARE`: how long a round may be. A preset's own numbers prevail.

    Raises
    ------
    SettingsError
        For an unknown preset, method or key, or an impossible value: a sentence naming it.
    """
    if preset not in _PRESET_TABLE:
        raise SettingsError(f"Unknown preset '{preset}'. Choose one of: {', '.join(PRESETS)}.")
    if hardware not in HARDWARE:
        raise SettingsError(f"Unknown hardware '{hardware}'. Choose one of: {', '.join(HARDWARE)}.")
    tree = _merged(_copy(_HARDWARE_TABLE[hardware]), _preset_tree(preset))
    tree["preset"] = preset
    if method is not None:
        _choose_method(tree, method)
    for address, value in _pairs(overrides):
        if address in {"method", "method.name"}:
            _choose_method(tree, str(value))
        elif address == "preset":
            raise SettingsError(
                f"A preset is chosen with --preset, found --set preset={value}. "
                f"Write: --preset {value}."
            )
        else:
            _put(tree, address, value)
    return validate_settings(tree)


def _preset_tree(name: str) -> dict[str, Any]:
    """Return how a preset differs from the field defaults."""
    own = _copy(_PRESET_TABLE[name])
    parent = own.pop(_EXTENDS, None)
    return own if parent is None else _merged(_preset_tree(parent), own)


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with what ``above`` says, table by table."""
    for name, value in above.items():
        inner = below.get(name)
        if isinstance(inner, dict) and isinstance(value, Mapping):
            below[name] = _merged(inner, value)
        else:
            below[name] = value
    return below


def validate_settings(tree: Mapping[str, Any]) -> Settings:
    """Return the settings in a nested mapping; what is absent takes its default."""
    tree, sentences = _copy(tree), []
    if isinstance(chosen := tree.get("method"), dict):
        chosen.setdefault("name", next(iter(METHODS)))
        try:
            tree["method"] = _known(chosen["name"]).settings.model_validate(chosen)
        except ValidationError as error:
            sentences.append(_sentences(error, "method."))
            del tree["method"]
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        sentences.append(_sentences(error))
    if sentences:
        raise SettingsError(" ".join(sentences))
    return settings


def read_settings(path: Path) -> Settings:
    """Return the settings of a round, out of its ``run.toml``.

    Raises
    ------
    SettingsError
        If the file is missing, damaged, or lacks a part: defaults would be another round.
    """
    try:
        tree = tomllib.loads(read_note_text(path))
    except FileNotFoundError:
        raise SettingsError(
            f"A round needs its settings file '{path}', found nothing there. Take it from a "
            f"backup, or train a new round (without --resume)."
        ) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"'{path}' is not valid TOML: {error}. Mend or delete it.") from None
    lacking = [name for name in Settings.model_fields if name not in tree]
    if lacking:
        raise SettingsError(
            f"'{path}' needs every setting of its round, found none of {', '.join(lacking)}. Take "
            f"the file from a backup, or train a new round (without --resume)."
        )
    return validate_settings(tree)


def write_settings(settings: Settings, path: Path) -> None:
    """Write every setting to a TOML file, atomically."""
    with write_atomically(path) as part:
        part.write_text(tomlkit.dumps(settings.model_dump(mode="json")), encoding="utf-8")


def _known(name: object) -> KnownMethod:
    if not isinstance(name, str) or name not in METHODS:
        raise SettingsError(f"Unknown method '{name}'. Choose one of: {', '.join(METHODS)}.")
    return METHODS[name]


def _choose_method(tree: dict[str, Any], name: str) -> None:
    fields = _known(name).settings.model_fields
    kept = {k: v for k, v in tree.get("method", {}).items() if k in fields}
    tree["method"] = {**kept, "name": name}


def _pairs(overrides: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    pairs: list[tuple[str, Any]] = []
    for text in overrides:
        address, equals, value = text.partition("=")
        if not equals or not address:
            raise SettingsError(
                f"A setting needs the form place.name=value, found '{text}'. "
                f"Example: --set training.steps=200."
            )
        pairs.append((address.strip(), _toml_value(value.strip())))
    return pairs


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: dict[str, Any], address: str, value: Any) -> None:
    *path, name = address.split(".")
    here = tree
    for step in path:
        here = here.setdefault(step, {})
        if not isinstance(here, dict):
            raise SettingsError(
                f"Unknown setting '{address}': '{step}' holds no other settings. See 'unisemalign "
                f"info --settings'."
            )
    here[name] = value


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in tree.items()}


def _sentences(error: ValidationError, above: str = "") -> str:
    lines = []
    for item in error.errors():
        place = above + ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"Unknown setting '{place}'. See 'unisemalign info --settings'.")
        elif item["type"] == "value_error":
            sentence = f"{item['ctx']['error']}."
            lines.append(f"Setting '{place}': {sentence}" if place else sentence)
        else:
            wanted = item["msg"][0].lower() + item["msg"][1:]
            lines.append(f"Setting '{place}': {wanted}, found {item['input']!r}.")
    return " ".join(lines)
