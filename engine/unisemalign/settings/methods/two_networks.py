"""What the settings of methods with two networks share."""

from __future__ import annotations

from pydantic import Field

from unisemalign.settings.base import Share
from unisemalign.settings.methods.base import DecoderLosses, Weight


class TwoNetworksSettings(DecoderLosses):
    """Two networks teach each other on unlabelled tissue."""

    weight_cross: Weight = Field(1.0, description="Weight of what each learns from the other.")
    ramp_share: Share = Field(
        0.4,
        description="Share of the round's steps over which that weight rises from e⁻⁵ to full.",
    )
