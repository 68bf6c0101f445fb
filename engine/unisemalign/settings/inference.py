"""How a slide is labelled."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from unisemalign.settings.base import SettingsModel


class InferenceSettings(SettingsModel):
    """Windows, blending and what the answer is made of (methods.md A7)."""

    window_px: Annotated[int, Ge(64), Le(4096)] = Field(
        512, title="Window (px)", description="Side of a window at working spacing."
    )
    stride_px: Annotated[int, Ge(16), Le(4096)] = Field(
        384, description="Step from window to window."
    )
    whole_windows: bool = Field(
        False,
        description="Round the canvas up to whole windows, as published; off, the last window is "
        "flush with the slide's edge.",
    )
    blend: Literal["gaussian", "uniform"] = Field(
        "gaussian", description="How overlapping windows are weighted."
    )
    answer: Literal["fused", "decoder"] = Field(
        "fused", description="Label with the fused logits, or the decoder's alone."
    )
    flips: bool = Field(
        False, description="Average over mirrored windows: better, four times slower."
    )
    batch_windows: Annotated[int, Ge(0), Le(1024)] = Field(
        0,
        description="Windows at once; halved where memory does not hold them. 0: as suits the "
        "device.",
    )
    readers: Literal["auto"] | Annotated[int, Ge(0), Le(64)] = Field(
        "auto",
        description="Processes that read the slide ahead of the network. 0: none, a thread reads; "
        "'auto': half of the cores for a large slide, none for a view.",
    )
    recent_mb: Annotated[int, Ge(0), Le(65536)] = Field(
        256,
        description="Memory in which a viewer's engine keeps what the encoder said of the last "
        "windows: after a round that trained the head alone, a view is not encoded again.",
    )
    skip_glass: bool = Field(
        True,
        title="Skip glass",
        description="Leave glass around the tissue unlabelled and out of scores, pixel by pixel.",
    )

    match_stain: bool = Field(
        False,
        title="Match the stain",
        description="Move a slide's colours to those of the training slides: for another scanner "
        "or laboratory.",
    )
    slide_norms: Annotated[float, Ge(0), Le(1)] = Field(
        0.0,
        description="How far the network's norms take a slide's own statistics (AdaBN): 0 keeps "
        "those of training, 1 the slide's alone.",
    )

    @model_validator(mode="after")
    def _covering(self) -> Self:
        if self.stride_px > self.window_px:
            raise ValueError(
                f"stride_px must not be above window_px, "
                f"found {self.stride_px} and {self.window_px}"
            )
        return self
