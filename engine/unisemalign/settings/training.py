"""How long and how fast a round learns."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import Field, model_validator

from unisemalign.settings.base import SettingsModel


class TrainingSettings(SettingsModel):
    """Optimisation (methods.md A6)."""

    steps: Annotated[int, Ge(1), Le(1_000_000)] = Field(
        400, title="Steps", description="Training steps of one round."
    )
    start_from: Literal["previous", "scratch"] = Field(
        "previous",
        title="Start from",
        description="Go on from the newest round's weights, or begin anew.",
    )
    batch_labelled: Annotated[int, Ge(2), Le(256)] = Field(
        4, title="Labelled crops a step", description="Labelled crops in each step."
    )
    batch_unlabelled: Annotated[int, Ge(2), Le(256)] = Field(
        4, title="Unlabelled crops a step", description="Unlabelled crops in each step."
    )
    sampling: Literal["area", "image"] = Field(
        "area",
        description="Crops are drawn from all tissue alike, large regions oftener than small ones; "
        "or, as published, from each region and each slide as often as any other, glass or not.",
    )
    distinct_batches: Annotated[int, Ge(0)] = Field(
        0,
        description="Go round this many batches, in an order shuffled anew each time, instead of "
        "drawing new crops every step (0).",
    )
    cache_gb: Annotated[float, Ge(0.0), Le(1000.0)] = Field(
        0.0,
        description="Disk, in gigabytes, for what a frozen encoder said of crops that come back: "
        "about 12 MB a batch of 4 + 4 with a ViT-L. 0 keeps nothing. Needs distinct_batches.",
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or the paper's SGD.")
    learning_rate: Annotated[float, Gt(0.0), Le(1.0)] = Field(
        1e-3, title="Learning rate", description="Rate of the decoder and heads at the start."
    )
    backbone_rate: Annotated[float, Ge(0.0), Le(10.0)] = Field(
        0.2, description="Rate of the encoder and its projections, as a share of the above."
    )
    momentum: Annotated[float, Ge(0.0), Le(1.0)] = Field(0.9, description="Momentum of SGD.")
    weight_decay: Annotated[float, Ge(0.0), Le(1.0)] = Field(0.01, description="Weight decay.")
    warmup_steps: Annotated[int, Ge(0)] = Field(
        20, description="Steps over which the rate rises to its start value."
    )
    poly_power: Annotated[float, Ge(0.0)] = Field(
        0.9, description="The rate falls as (1 − step/steps) to this power."
    )
    rate_lags: bool = Field(
        False,
        description="A step learns at the rate of the step before it, as the published code, which "
        "sets its rate after each step.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compile the network before training: faster steps after a minute or more. "
        "auto does so for long rounds on a CUDA GPU.",
    )
    validate_every: Annotated[int, Ge(1)] = Field(
        100, title="Validate every", description="Steps between two validations."
    )
    checkpoint_every: Annotated[int, Ge(1)] = Field(
        50, description="Steps between two checkpoints; a killed round goes on from the last."
    )

    @model_validator(mode="after")
    def _crops_come_back(self) -> Self:
        if self.cache_gb > 0 and self.distinct_batches == 0:
            raise ValueError(
                "cache_gb needs crops that come back: set training.distinct_batches above 0, "
                "for example to 100"
            )
        return self
