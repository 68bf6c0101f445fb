"""Requests: what a viewer may ask ``unisemalign serve``, one JSON object a line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from unisemalign.protocol.model import (
    MAX_SAFE,
    Area,
    Pixel,
    ProtocolModel,
    RoundNumber,
)
from unisemalign.terms import (
    MAX_CLUSTERS,
    MAX_REGION_PX,
    MAX_REGIONS,
    MAX_SEED,
    MIN_CLUSTERS,
    MIN_REGION_PX,
)

MAX_LINE_BYTES = 1 << 20
"""A longer line is no request: it is refused without being kept in memory."""

RequestId = Annotated[
    Annotated[int, Field(strict=True, ge=0, le=MAX_SAFE)] | Annotated[str, Field(max_length=200)],
    Field(description=f"a whole number from 0 to {MAX_SAFE} or a text of at most 200 letters"),
]
"""Identifies a request; every answer carries it."""

SlideName = Annotated[str, Field(min_length=1, max_length=255, description="a slide's name")]
AskedArea = Annotated[
    Area | None, Field(description="four whole numbers y, x, height, width, or null")
]


class SegmentRequest(ProtocolModel):
    """Segment a slide, or ``rect`` of it.

    Attributes
    ----------
    rect
        In working pixels; ``None``: the whole slide.
    focus
        A pixel ``(y, x)``: what lies near it is labelled first.
    round
        Which round's model; ``None``: the newest.
    downsample
        Working pixels across a pixel of the screen: a sketch is made no finer.
    """

    verb: Literal["segment"] = "segment"
    id: RequestId
    slide: SlideName
    rect: AskedArea = None
    focus: tuple[Pixel, Pixel] | None = Field(None, description="two whole numbers y, x, or null")
    round: RoundNumber | None = Field(None, description="a round's number, or null")
    downsample: float = Field(1.0, gt=0, le=1e6, description="a number above 0")


class GuessRequest(ProtocolModel):
    """Make a first guess, or name the clusters of one. At most one of the three ways is chosen.

    Attributes
    ----------
    slides
        Which slides; empty: all of them.
    rect
        Of the one slide, in working pixels; ``None``: all of it.
    words
        The vision–language pair that compares tissue with class words, or ``NAME=PATH``.
    clusters
        How many clusters to look for anew.
    names
        Cluster number → class name, or ``none``.
    seed
        Of the clustering.
    """

    verb: Literal["guess"] = "guess"
    id: RequestId
    slides: tuple[SlideName, ...] = Field((), description="a list of slide names")
    rect: AskedArea = None
    words: str | None = Field(None, description="the name of a pair, or null")
    clusters: int | None = Field(
        None,
        ge=MIN_CLUSTERS,
        le=MAX_CLUSTERS,
        description=f"a whole number from {MIN_CLUSTERS} to {MAX_CLUSTERS}, or null",
    )
    names: dict[Annotated[int, Field(ge=0, le=MAX_SAFE)], str] | None = Field(
        None, description="cluster numbers with class names, or null"
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="a whole number from 0 to 2³² − 1")


class QueueRequest(ProtocolModel):
    """Rank the regions most worth a look.

    Attributes
    ----------
    count
        How many at most.
    size_px
        Side of a region, in working pixels.
    """

    verb: Literal["queue"] = "queue"
    id: RequestId
    count: int = Field(
        10, ge=1, le=MAX_REGIONS, description=f"a whole number from 1 to {MAX_REGIONS}"
    )
    size_px: int = Field(
        256,
        ge=MIN_REGION_PX,
        le=MAX_REGION_PX,
        description=f"a whole number from {MIN_REGION_PX} to {MAX_REGION_PX}",
    )


class CancelRequest(ProtocolModel):
    """Stop the request ``target`` at its next step; it acts at once and is not answered."""

    verb: Literal["cancel"] = "cancel"
    target: RequestId
    id: RequestId | None = Field(None, description="a number or a text, or null")


class QuitRequest(ProtocolModel):
    """Stop what runs, drop what waits, and end the process."""

    verb: Literal["quit"] = "quit"
    id: RequestId | None = Field(None, description="a number or a text, or null")


WorkRequest = SegmentRequest | GuessRequest | QueueRequest
"""Requests that are answered, one after the other."""

Request = WorkRequest | CancelRequest | QuitRequest

REQUESTS: dict[str, type[ProtocolModel]] = {
    "segment": SegmentRequest,
    "guess": GuessRequest,
    "queue": QueueRequest,
    "cancel": CancelRequest,
    "quit": QuitRequest,
}
"""Requests by their verb."""

REQUEST: TypeAdapter[Request] = TypeAdapter(
    Annotated[
        SegmentRequest | GuessRequest | QueueRequest | CancelRequest | QuitRequest,
        Field(discriminator="verb"),
    ]
)
"""Reads a request of any verb."""
