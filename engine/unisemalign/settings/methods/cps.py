"""Settings of cross pseudo supervision."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from unisemalign.settings.methods.two_networks import TwoNetworksSettings


class CPSSettings(TwoNetworksSettings):
    """CPS: two networks that start apart learn from each other's labels, with CutMix."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_cross",)

    name: Literal["cps"] = "cps"
    mixing: Literal["cutmix", "none"] = Field(
        "cutmix",
        description="What is learned on: each network's own strong view with a box of another "
        "crop, or the weak view itself, as published for medical images.",
    )
