"""Settings of CSDS."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, Lt
from pydantic import Field

from unisemalign.settings.base import Share
from unisemalign.settings.methods.base import Weight
from unisemalign.settings.methods.two_networks import TwoNetworksSettings


class CSDSSettings(TwoNetworksSettings):
    """CSDS: one student for colour and one for structure; their average teaches both."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_cross",)

    name: Literal["csds"] = "csds"
    weight_cross: Weight = Field(1.0, description="Weight of what both learn from the teacher.")
    ema: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.99, description="How slowly the teacher follows the mean of both students; 0: at once."
    )
    doubt: Literal["less", "more"] = Field(
        "less",
        description="Whether pixels the teacher is unsure of count less, or more, as printed.",
    )
    weight_colour: Weight = Field(0.5, description="How much more doubt varied colour brings.")
    weight_structure: Weight = Field(0.5, description="How much more doubt a strong edge brings.")
    colour_above: Share = Field(0.5, description="Share of the largest colour variance.")
    edge_above: Share = Field(0.5, description="Share of the largest edge.")
    colour_change: Annotated[float, Ge(0.0), Le(1.0)] = Field(
        0.4, description="Reach of brightness, contrast and saturation for the colour student."
    )
    bend: Annotated[float, Ge(0.0), Le(0.25)] = Field(
        0.04, description="Largest displacement of the elastic change, as a share of the crop."
    )
