"""How crops are cut and disturbed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from unisemalign.settings.base import SettingsModel, Share

Sigma = Annotated[float, Ge(0.05), Le(5.0)]


class ViewSettings(SettingsModel):
    """Weak and strong views of a crop (methods.md A6, part E rows 6 and 7)."""

    crop_px: Annotated[int, Ge(32), Le(2048)] = Field(
        256, title="Crop (px)", description="Side of a training crop at working spacing."
    )
    scale_min: Annotated[float, Ge(0.1), Le(10.0)] = Field(0.7, description="Smallest zoom.")
    scale_max: Annotated[float, Ge(0.1), Le(10.0)] = Field(1.5, description="Largest zoom.")
    turns: bool = Field(True, description="Turn by 90° and mirror both ways, not only left–right.")
    pad: Literal["reflect", "zero"] = Field(
        "reflect", description="What stands outside an image smaller than the crop."
    )
    stain_weak: Share = Field(
        0.25, description="Stain strength varies by this share in every view (optical density)."
    )
    stain_strong: Share = Field(0.25, description="The same in strong views.")
    jitter: Share = Field(
        0.4, description="Brightness, contrast and saturation change in strong views."
    )
    hue: Annotated[float, Ge(0.0), Le(0.5)] = Field(0.05, description="Hue change, strong views.")
    jitter_probability: Share = Field(0.8, description="How often colours are changed.")
    gray_probability: Share = Field(0.0, description="How often a strong view loses its colour.")
    blur_probability: Share = Field(0.5, description="How often a strong view is blurred.")
    blur_min: Sigma = Field(0.1, description="Least blur (σ in px).")
    blur_max: Sigma = Field(2.0, description="Most blur (σ in px).")
    cutmix_probability: Share = Field(0.5, description="How often a donor's box is pasted in.")
    cutmix_area_min: Share = Field(0.02, description="Smallest box, share of the crop.")
    cutmix_area_max: Share = Field(0.4, description="Largest box, share of the crop.")
    cutmix_aspect_min: Annotated[float, Ge(0.05), Le(1.0)] = Field(
        0.3, description="Narrowest box; the widest is its inverse."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for low, high in (
            ("scale_min", "scale_max"),
            ("blur_min", "blur_max"),
            ("cutmix_area_min", "cutmix_area_max"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} must not be above {high}, "
                    f"found {getattr(self, low)} and {getattr(self, high)}"
                )
        return self
