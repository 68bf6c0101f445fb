"""What the settings of weak-to-strong consistency share."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Lt
from pydantic import Field

from unisemalign.settings.methods.base import DecoderLosses


class ConsistencySettings(DecoderLosses):
    """The label of a weak view teaches strong views of the same crop, pasted over by CutMix."""

    threshold: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.95, description="Confidence a pseudo-label needs."
    )
    donor: Literal["flip", "draw"] = Field(
        "flip",
        description="CutMix donors: the batch reversed, or a second draw that is labelled in "
        "evaluation mode (as published for FixMatch, UniMatch and CorrMatch).",
    )
    clean_statistics: bool = Field(
        True,
        description="Gather batch norm statistics from clean crops alone. No: from every crop, as "
        "published.",
    )
