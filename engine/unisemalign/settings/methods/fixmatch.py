"""Settings of FixMatch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from unisemalign.settings.methods.base import Weight
from unisemalign.settings.methods.consistency import ConsistencySettings


class FixMatchSettings(ConsistencySettings):
    """FixMatch: sure labels of a weak view teach one strong view."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_hard",)

    name: Literal["fixmatch"] = "fixmatch"
    weight_hard: Weight = Field(1.0, description="Weight of the strong view's loss.")
