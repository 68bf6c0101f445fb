"""The settings a person chose for the next round."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from unisemalign.errors import SettingsError
from unisemalign.runtime import find_hardware
from unisemalign.settings import HARDWARE, METHODS, PRESETS, Settings, build_settings


class TrainingChoice:
    """Preset, method, hardware, and what differs from them; settings have dotted names.

    Attributes
    ----------
    preset, method, hardware
        What the other settings start from. Hardware is what this computer is until one chooses.
    """

    def __init__(self) -> None:
        self.hardware: str = find_hardware()
        self.preset: str = PRESETS[0]
        self.method: str = next(iter(METHODS))
        self._chosen: dict[str, Any] = {}

    def start_from(self, preset: str, method: str, hardware: str) -> None:
        """Take every setting from a preset, a method and a kind of computer."""
        self.preset, self.method, self.hardware = preset, method, hardware
        self._chosen = {}

    def choose(self, address: str, value: Any) -> None:
        """Choose the value of one setting."""
        value = value.strip() if isinstance(value, str) else value
        if value == value_at(self._base(), address):
            self._chosen.pop(address, None)
        else:
            self._chosen[address] = value

    def value(self, address: str) -> Any:
        """Return the value of one setting."""
        return self._chosen.get(address, value_at(self._base(), address))

    def settings(self) -> Settings:
        """Return the settings. SettingsError: a value is impossible."""
        return build_settings(self.preset, self.method, self._chosen, self.hardware)

    def options(self) -> list[str]:
        """Return the choice as options of ``unisemalign train``: what differs from the preset.

        Raises
        ------
        SettingsError
            If a value is impossible.
        """
        self.settings()
        options = ["--preset", self.preset, "--method", self.method]
        options += ["--hardware", self.hardware]
        for address, value in self._chosen.items():
            options += ["--set", f"{address}={_toml(value)}"]
        return options

    def record(self) -> dict[str, Any]:
        """Return the choice as JSON holds it."""
        places = {"preset": self.preset, "method": self.method, "hardware": self.hardware}
        return {**places, "chosen": dict(self._chosen)}

    def restore(self, record: object) -> bool:
        """Choose what :meth:`record` returned; return whether that is still possible."""
        match record:
            case {"preset": str(preset), "method": str(method), "chosen": dict(chosen), **rest}:
                hardware = rest.get("hardware", self.hardware)
            case _:
                return False
        if preset not in PRESETS or method not in METHODS or hardware not in (*HARDWARE,):
            return False
        try:
            build_settings(preset, method, chosen, hardware)
        except SettingsError:
            return False
        self.start_from(preset, method, hardware)
        self._chosen = dict(chosen)
        return True

    def _base(self) -> Settings:
        return build_settings(self.preset, self.method, hardware=self.hardware)


def value_at(settings: BaseModel, address: str) -> Any:
    """Return the setting at ``address``."""
    value: Any = settings
    for name in address.split("."):
        value = getattr(value, name)
    return value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
