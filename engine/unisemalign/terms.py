"""Words and bounds that engine, command line and viewer share. Loads nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


class Split(StrEnum):
    """What a slide or a region is for. Only ``train`` is ever trained on."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


Format = Literal["png", "geojson", "ome-tiff", "ome-zarr", "coco", "imagescope", "asap", "csv"]
"""What an export writes."""

Source = Literal["best", "labels", "prediction"]
"""What an export is of; ``best``: labels where there are any, else the prediction."""

ModelFormat = Literal["torchscript", "onnx", "bioimageio", "unisemalign"]
"""What a model can be written as."""

What = Literal["class", "confidence", "disagreement", "origin"]
"""Which numbers of a map an export writes."""

Exported = Literal["class", "confidence", "disagreement", "origin", "probability"]
"""The same, and what the network has to be asked for again."""

ProbabilityFormat = Literal["ome-tiff", "ome-zarr"]
"""What an export of probabilities writes."""

Hardware = Literal["workstation", "laptop", "gpu"]
"""Kinds of computer, the one that the field defaults are for first."""

MIN_CLUSTERS, MAX_CLUSTERS = 2, 30
"""Of a first guess."""

MAX_REGIONS = 1000
"""Regions that are ranked at a time."""

MIN_REGION_PX, MAX_REGION_PX = 16, 4096
"""Side of a region, in working pixels. A larger one could not be painted without stutter."""

MAX_CLASSES = 254
"""Label values are bytes, 0 is "not labelled" and 255 "ignore"."""

MAX_SEED = 2**32 - 1
MAX_PATCH_PX = 1_000_000
"""Area below which specks and holes can be dropped, and beyond which none is a speck."""

MAX_ROUND = 2**31 - 1
"""Number of a round."""


def score_text(value: float | None) -> str:
    """Return a score of 0…1 in per cent, or a dash where it is not defined."""
    return "–" if value is None else f"{100 * value:.2f}"
