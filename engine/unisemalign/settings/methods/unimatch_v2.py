"""Settings of UniMatch V2."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Lt
from pydantic import Field

from unisemalign.settings.methods.base import Weight
from unisemalign.settings.methods.consistency import ConsistencySettings


class UniMatchV2Settings(ConsistencySettings):
    """UniMatch V2: two strong views with complementary channels learn from an averaged teacher."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_strong",)

    name: Literal["unimatch_v2"] = "unimatch_v2"
    weight_strong: Weight = Field(0.5, description="Weight of each strong view's loss.")
    ema: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.996, description="How slowly the teacher, who labels, follows the student; 0: at once."
    )
