"""The base every settings class shares."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict

Share = Annotated[float, Ge(0.0), Le(1.0)]


class SettingsModel(BaseModel):
    """Frozen, hashable, strict about names: an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
