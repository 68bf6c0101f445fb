"""Settings of XNet v2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from unisemalign.settings.methods.base import DecoderLosses, Weight


class XNetV2Settings(DecoderLosses):
    """XNet v2: the image, its low and its high frequencies are decoded apart and agree."""

    network: ClassVar[str] = "xnet"
    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_agreement",)

    name: Literal["xnet_v2"] = "xnet_v2"
    weight_agreement: Weight = Field(
        0.5,
        description="Weight, at the last step, of what the paths learn from each other; it rises "
        "evenly from nothing.",
    )
