"""The tree itself, its presets, and its way to TOML and the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomlkit
from annotated_types import Ge, Le
from pydantic import Field, ValidationError

from unisemalign.errors import SettingsError
from unisemalign.runtime.files import write_atomically
from unisemalign.settings.base import SettingsModel
from unisemalign.settings.inference import InferenceSettings
from unisemalign.settings.method import MethodSettings, SupervisedSettings, UniSemAlignSettings
from unisemalign.settings.model import ModelSettings
from unisemalign.settings.training import TrainingSettings
from unisemalign.settings.views import ViewSettings

_METHOD_CLASSES = (UniSemAlignSettings, SupervisedSettings)
METHODS: tuple[str, ...] = tuple(
    str(get_args(cls.model_fields["name"].annotation)[0]) for cls in _METHOD_CLASSES
)
"""Names of the methods, the default first."""

_PRESET_TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    files("unisemalign.settings").joinpath("presets.toml").read_text(encoding="utf-8")
)
PRESETS: tuple[str, ...] = tuple(_PRESET_TABLE)
"""Names of the presets, the default first."""


class Settings(SettingsModel):
    """Every number of a run. A setting's address is its place in this tree: ``training.steps``."""

    preset: str = Field(
        "recommended", title="Preset", description="The preset these settings started from."
    )
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = Field(
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
    method: MethodSettings = Field(
        UniSemAlignSettings(),
        title="Method",
        description="How tissue is used: labelled and unlabelled, or labelled alone.",
    )
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()


def build_settings(
    preset: str = "recommended",
    method: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
) -> Settings:
    """Return the settings of ``preset`` with ``overrides`` on top.

    Parameters
    ----------
    preset
        A name in :data:`PRESETS`.
    method
        A name in :data:`METHODS`; ``None`` keeps UniSemAlign. Numbers that both methods have are
        kept from the preset.
    overrides
        ``{"training.steps": 200}`` or ``["training.steps=200"]``. Text is read as TOML, and as
        plain text where it is no TOML value.

    Raises
    ------
    SettingsError
        For an unknown preset, method or key, or an impossible value: a sentence naming it.
    """
    if preset not in _PRESET_TABLE:
        raise SettingsError(f"Unknown preset '{preset}'. Choose one of: {', '.join(PRESETS)}.")
    tree = _copy(_PRESET_TABLE[preset])
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


def validate_settings(tree: Mapping[str, Any]) -> Settings:
    """Return the settings in a nested mapping; what is absent takes its default."""
    tree = _copy(tree)
    if isinstance(tree.get("method"), dict):
        tree["method"].setdefault("name", METHODS[0])
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_sentences(error)) from None


def read_settings(path: Path) -> Settings:
    """Return the settings in a TOML file such as ``run.toml``."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"Wanted the settings file '{path}', found nothing there.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"'{path}' is not valid TOML: {error}. Mend or delete it.") from None
    return validate_settings(tree)


def write_settings(settings: Settings, path: Path) -> None:
    """Write every setting to a TOML file, atomically."""
    with write_atomically(path) as part:
        part.write_text(tomlkit.dumps(settings.model_dump(mode="json")), encoding="utf-8")


def _choose_method(tree: dict[str, Any], method: str) -> None:
    if method not in METHODS:
        raise SettingsError(f"Unknown method '{method}'. Choose one of: {', '.join(METHODS)}.")
    cls = _METHOD_CLASSES[METHODS.index(method)]
    kept = {k: v for k, v in tree.get("method", {}).items() if k in cls.model_fields}
    tree["method"] = {**kept, "name": method}


def _pairs(overrides: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    pairs: list[tuple[str, Any]] = []
    for text in overrides:
        address, equals, value = text.partition("=")
        if not equals or not address:
            raise SettingsError(
                f"A setting wants the form place.name=value, found '{text}'. "
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
            raise SettingsError(f"Unknown setting '{address}': '{step}' has nothing inside it.")
    here[name] = value


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in tree.items()}


def _sentences(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        # A discriminated union puts the variant's name into the place; a person never typed it.
        place = ".".join(str(part) for part in item["loc"] if part not in METHODS)
        if item["type"] == "extra_forbidden":
            lines.append(f"Unknown setting '{place}'. See 'unisemalign info --settings'.")
        elif item["type"] == "value_error":
            lines.append(f"{item['ctx']['error']}.".capitalize())
        else:
            wanted = item["msg"][0].lower() + item["msg"][1:]
            lines.append(f"Setting '{place}': {wanted}, found {item['input']!r}.")
    return " ".join(lines)
