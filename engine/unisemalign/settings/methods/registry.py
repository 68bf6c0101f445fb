"""Which methods there are. One line a method, below; everything else finds it here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from unisemalign.settings.methods.base import MethodSettings
from unisemalign.settings.methods.corrmatch import CorrMatchSettings
from unisemalign.settings.methods.cps import CPSSettings
from unisemalign.settings.methods.cross_teaching import CrossTeachingSettings
from unisemalign.settings.methods.csds import CSDSSettings
from unisemalign.settings.methods.dusss import DuSSSSettings
from unisemalign.settings.methods.fixmatch import FixMatchSettings
from unisemalign.settings.methods.mpamatch import MPAMatchSettings
from unisemalign.settings.methods.supervised import SupervisedSettings
from unisemalign.settings.methods.uamt import UAMTSettings
from unisemalign.settings.methods.unimatch import UniMatchSettings
from unisemalign.settings.methods.unimatch_v2 import UniMatchV2Settings
from unisemalign.settings.methods.unisemalign import UniSemAlignSettings
from unisemalign.settings.methods.xnet_v2 import XNetV2Settings


@dataclass(frozen=True)
class KnownMethod:
    """A method by name.

    Attributes
    ----------
    settings
        Its class of settings; the default of its field ``name`` is the method's name.
    implementation
        ``package.module:Class``, a ``unisemalign.methods.Method``. Loaded when it is built: the
        settings are read where torch is not.
    """

    settings: type[MethodSettings]
    implementation: str

    @property
    def sentence(self) -> str:
        """What it does, in a sentence: the first line of its settings' docstring."""
        return (self.settings.__doc__ or "").strip().partition("\n")[0]

    @property
    def measured(self) -> str:
        """What it reached where all methods were compared alike, in a sentence; "" if it was not.

        From ``measured.json``, which ``tools/method_figures.py`` writes out of the kept scores.
        """
        kept = _read_measured()
        sets = kept["mdice"].get(self.settings.model_fields["name"].default, {})
        if not sets:
            return ""
        listed = "; ".join(f"{kept['titles'][name]} {value}" for name, value in sets.items())
        return f"Held-out mDice after {kept['steps']} steps, all methods alike: {listed}."

    @property
    def explained(self) -> str:
        """What it does, and what it reached where all methods were compared, in two sentences."""
        return f"{self.sentence} {self.measured}".strip()


@cache
def _read_measured() -> dict[str, Any]:
    text = files("unisemalign.settings.methods").joinpath("measured.json").read_text("utf-8")
    kept: dict[str, Any] = json.loads(text)
    return kept


METHODS: dict[str, KnownMethod] = {}
"""Every method by its name, the default first."""


def register_method(settings: type[MethodSettings], implementation: str) -> None:
    """Make a method known: settings files, command line and form then offer it.

    Parameters
    ----------
    settings, implementation
        See :class:`KnownMethod`.

    Raises
    ------
    ValueError
        If the settings have no default name, or another method has it.
    """
    name = settings.model_fields["name"].default
    if not isinstance(name, str) or not name:
        raise ValueError(f"{settings.__name__} needs a field 'name' with a default, found {name!r}")
    if name in METHODS and METHODS[name].settings is not settings:
        raise ValueError(f"A method '{name}' is there already: {METHODS[name].implementation}")
    METHODS[name] = KnownMethod(settings, implementation)


register_method(UniSemAlignSettings, "unisemalign.methods.unisemalign:UniSemAlign")
register_method(SupervisedSettings, "unisemalign.methods.supervised:Supervised")
register_method(FixMatchSettings, "unisemalign.methods.fixmatch:FixMatch")
register_method(UniMatchSettings, "unisemalign.methods.unimatch:UniMatch")
register_method(UniMatchV2Settings, "unisemalign.methods.unimatch_v2:UniMatchV2")
register_method(CorrMatchSettings, "unisemalign.methods.corrmatch:CorrMatch")
register_method(CPSSettings, "unisemalign.methods.cps:CPS")
register_method(CrossTeachingSettings, "unisemalign.methods.cross_teaching:CrossTeaching")
register_method(UAMTSettings, "unisemalign.methods.uamt:UAMT")
register_method(CSDSSettings, "unisemalign.methods.csds:CSDS")
register_method(XNetV2Settings, "unisemalign.methods.xnet_v2:XNetV2")
register_method(MPAMatchSettings, "unisemalign.methods.mpamatch:MPAMatch")
register_method(DuSSSSettings, "unisemalign.methods.dusss:DuSSS")
