"""The event ``done`` of each verb: what the verb found, made or wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from unisemalign.protocol.events import Event
from unisemalign.protocol.model import Area, Count, ProtocolModel, RoundNumber, Share
from unisemalign.protocol.scores import RoundScores, SplitScores
from unisemalign.terms import Hardware


class Done(Event):
    """Base: the work of ``verb`` is finished."""

    event: Literal["done"] = "done"
    verb: str


class InfoDone(Done):
    """Versions, devices and what is at hand; or every setting (``--settings``)."""

    verb: Literal["info"] = "info"
    versions: Mapping[str, str] = Field(default_factory=dict)
    devices: tuple[str, ...] = ()
    cores: int | None = None
    hardware: Hardware | None = None
    encoders: Mapping[str, str] = Field(default_factory=dict)
    text: Mapping[str, str] = Field(default_factory=dict)
    presets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    project: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None


class NewDone(Done):
    """A project was made."""

    verb: Literal["new"] = "new"
    project: str
    classes: tuple[str, ...]
    spacing_um: float


class AddedSlide(ProtocolModel):
    """A slide of :class:`AddDone`; ``labelled``: a mask came with it."""

    name: str
    path: str
    labelled: bool


class AddDone(Done):
    """Slides were added."""

    verb: Literal["add"] = "add"
    slides: tuple[AddedSlide, ...]


class ImportedFile(ProtocolModel):
    """A file of :class:`ImportDone`: whose labels it was, and how many regions stand for them."""

    slide: str
    path: str
    regions: int


class ImportDone(Done):
    """Labels were imported."""

    verb: Literal["import"] = "import"
    files: tuple[ImportedFile, ...]


class RelocateDone(Done):
    """A slide's file was found again."""

    verb: Literal["relocate"] = "relocate"
    slide: str
    path: str


class TissueDone(Done):
    """How much of a slide is tissue.

    Attributes
    ----------
    share, mm2
        Tissue: part of the slide, and square millimetres.
    spacing_um
        Pixel size of the tissue mask, µm.
    added_mm2, skipped_mm2
        What a person marked as tissue, and as none.
    """

    verb: Literal["tissue"] = "tissue"
    slide: str
    share: Share
    mm2: float
    spacing_um: float
    added_mm2: float
    skipped_mm2: float


class Segmented(ProtocolModel):
    """What was done to a slide.

    Attributes
    ----------
    rect
        What was asked for, inside the slide.
    fresh
        Whether anything was lacking; the rest is set only then.
    windows
        How many windows were labelled.
    seconds
        In all; of these ``wait_s`` waiting for the slide's readers, ``store_s`` for storage, and
        ``device_s`` the rest, in which the network was fed.
    unreadable
        Rectangles that could not be decoded and are unlabelled.
    """

    slide: str
    round: RoundNumber
    rect: Area
    fresh: bool
    windows: Count = 0
    seconds: float = 0.0
    wait_s: float = 0.0
    store_s: float = 0.0
    device_s: float = 0.0
    unreadable: tuple[Area, ...] = ()


class NotSegmented(ProtocolModel):
    """A slide that could not be segmented, and why: a sentence."""

    slide: str
    text: str


class SegmentDone(Done, Segmented):
    """A slide, or a part of it, was segmented. ``area``: class name → part of what is labelled."""

    verb: Literal["segment"] = "segment"
    area: dict[str, float]


class Cluster(ProtocolModel):
    """A cluster of a first guess; ``name`` is its class, ``none``, or not given yet."""

    number: Count
    share: Share
    name: str | None


class GuessDone(Done):
    """A first guess was made or named.

    Attributes
    ----------
    round
        0; ``None`` while clusters wait for names.
    made_by, model
        Words or clusters, and the pair or encoder that made it.
    waiting
        Whether clusters wait for names.
    """

    verb: Literal["guess"] = "guess"
    round: RoundNumber | None
    made_by: Literal["words", "clusters"]
    model: str
    waiting: bool
    slides: tuple[str, ...]
    clusters: tuple[Cluster, ...]


class QueuedRegion(ProtocolModel):
    """A region worth a look, with its score, the reason in words, and the round that says so."""

    id: Count
    slide: str
    rect: Area
    score: float | None
    reason: str
    round: RoundNumber | None = None


class QueueDone(Done):
    """Regions were ranked, best first; ``round`` is the newest that any of them is of."""

    verb: Literal["queue"] = "queue"
    round: RoundNumber | None
    regions: tuple[QueuedRegion, ...]


class TrainDone(Done, RoundScores):
    """A round is trained."""

    verb: Literal["train"] = "train"
    round: RoundNumber


class ListedRound(ProtocolModel):
    """A round, and whether its model and predictions are used.

    ``mdice``, ``mdice_interval``: on held-out regions. ``verdict``: a sentence on the round before.
    """

    number: Count
    state: str
    method: str
    in_use: bool
    set_aside: bool
    mdice: Share | None = None
    mdice_interval: tuple[Share, Share] | None = None
    verdict: str = ""


class ChangedSlide(ProtocolModel):
    """What changed on a slide between two rounds.

    Attributes
    ----------
    share
        Part that changed its class, of what both rounds have labelled.
    gained_um2
        Class name → area in µm² that it gained; negative where it lost.
    """

    slide: str
    share: Share
    gained_um2: dict[str, float]


class RoundsDone(Done):
    """The rounds of a project; with ``--compare`` what changed from one to another."""

    verb: Literal["rounds"] = "rounds"
    rounds: tuple[ListedRound, ...]
    changes: tuple[ChangedSlide, ...] = ()


class LedgerRow(ProtocolModel):
    """What a person did before a round: see the columns of ``unisemalign ledger --csv``."""

    round: RoundNumber | None
    minutes: float = Field(ge=0)
    regions: Count
    pixels: Count
    imported_pixels: Count
    mdice: Share | None
    interval: tuple[Share, Share] | None


class LedgerDone(Done):
    """What each round cost a person and what it brought."""

    verb: Literal["ledger"] = "ledger"
    lines: tuple[LedgerRow, ...]


class ReadingRow(ProtocolModel):
    """A second reading: ``agreement`` is a share of pixels, ``None`` while nobody answered."""

    slide: str
    region: int
    sent_by: str
    reader: str
    answered: bool
    agreement: Share | None


class ReadingsDone(Done):
    """What was sent to second readers, and how far they agree."""

    verb: Literal["readings"] = "readings"
    readings: tuple[ReadingRow, ...]


class EvaluateDone(Done, SplitScores):
    """A round was scored on the regions of a split."""

    verb: Literal["evaluate"] = "evaluate"
    round: RoundNumber
    split: str


class PlannedSlide(ProtocolModel):
    """What an export writes of a slide.

    Attributes
    ----------
    result
        Name of the file or folder.
    round
        Whose prediction; ``None``: labels alone.
    labelled, covered
        Part of ``of`` that a person labelled, and that has a label or a prediction; about, counted
        at 8 µm.
    of
        ``tissue``, or ``slide`` where the slide's file is not there to tell.
    """

    slide: str
    result: str
    round: RoundNumber | None
    labelled: Share
    covered: Share
    of: Literal["tissue", "slide"]


class LeftOutSlide(ProtocolModel):
    """A slide with nothing to export; ``why`` is a sentence."""

    slide: str
    why: str


class ExportDone(Done):
    """Results were written, or with ``--plan`` none: ``files`` is then empty.

    ``slides`` and ``left_out``: see :class:`PlannedSlide` and :class:`LeftOutSlide`.
    """

    verb: Literal["export"] = "export"
    files: tuple[str, ...]
    slides: tuple[PlannedSlide, ...] = ()
    left_out: tuple[LeftOutSlide, ...] = ()


class RecoverDone(Done):
    """Lost labels were put back out of the journal: how many places of each slide."""

    verb: Literal["recover"] = "recover"
    restored: dict[str, Count]
    remarks: tuple[str, ...] = ()


class BenchmarkDone(Done):
    """A benchmark's scores over its seeds; ``report`` is the page that shows them.

    Spreads are ``{"mean": …, "sd": …}``: scores in per cent, ``seconds_per_step`` in seconds.
    """

    verb: Literal["benchmark"] = "benchmark"
    dataset: str
    fraction: int
    preset: str
    method: str
    encoder: str
    best: dict[str, float | None] | None
    last: dict[str, float | None] | None
    best_val: dict[str, dict[str, float | None] | None] | None = None
    last_val: dict[str, dict[str, float | None] | None] | None = None
    best_test: dict[str, dict[str, float | None] | None] | None = None
    last_test: dict[str, dict[str, float | None] | None] | None = None
    seconds_per_step: dict[str, float | None] | None
    runs: tuple[dict[str, Any], ...]
    report: str


class BenchmarkTableDone(Done):
    """Methods beside each other; ``report`` is the page that shows them.

    Each of ``rows`` has ``dataset``, ``method``, spreads as in :class:`BenchmarkDone`, what the
    method took and needs, and ``failed``: seed → sentence. ``failed`` is the number of such runs.
    """

    verb: Literal["benchmark table"] = "benchmark table"
    rows: tuple[dict[str, Any], ...]
    failed: Count
    report: str


class BenchmarkEffortDone(Done):
    """What regions brought, by how they were chosen; ``report`` is the page that shows it.

    Each of ``rows`` has ``dataset``, ``arm``, ``points`` (``regions``, ``share`` of the pool's
    pixels in per cent, ``mdice`` as a spread in per cent), ``full`` and ``enough``: spreads of the
    whole pool's mDice and of the regions after which most of it is reached, or ``None``.
    """

    verb: Literal["benchmark effort"] = "benchmark effort"
    rows: tuple[dict[str, Any], ...]
    report: str


class ModelExportDone(Done):
    """A round's model was written into a file."""

    verb: Literal["model export"] = "model export"
    file: str


class WeightsListDone(Done):
    """The published weights."""

    verb: Literal["weights list"] = "weights list"
    weights: tuple[dict[str, Any], ...]


class FetchedFile(ProtocolModel):
    """A file that is here now."""

    file: str
    megabytes: float
    sha256: str | None


class WeightsGetDone(Done):
    """Weights were fetched; ``here``: whether all that they need is here now."""

    verb: Literal["weights get"] = "weights get"
    name: str
    here: bool
    files: tuple[FetchedFile, ...]


class WeightsCheckDone(Done):
    """Weights were loaded and run; each row says ``ok``, or why not in ``text``."""

    verb: Literal["weights check"] = "weights check"
    weights: tuple[dict[str, Any], ...]


AnyDone = Annotated[
    InfoDone
    | NewDone
    | AddDone
    | ImportDone
    | RelocateDone
    | TissueDone
    | SegmentDone
    | GuessDone
    | QueueDone
    | TrainDone
    | RoundsDone
    | LedgerDone
    | ReadingsDone
    | EvaluateDone
    | ExportDone
    | RecoverDone
    | BenchmarkDone
    | BenchmarkEffortDone
    | BenchmarkTableDone
    | ModelExportDone
    | WeightsListDone
    | WeightsGetDone
    | WeightsCheckDone,
    Field(discriminator="verb"),
]
"""The event ``done`` of any verb."""

RESULTS: tuple[type[Done], ...] = (
    InfoDone,
    NewDone,
    AddDone,
    ImportDone,
    RelocateDone,
    TissueDone,
    SegmentDone,
    GuessDone,
    QueueDone,
    TrainDone,
    RoundsDone,
    LedgerDone,
    ReadingsDone,
    EvaluateDone,
    ExportDone,
    RecoverDone,
    BenchmarkDone,
    BenchmarkEffortDone,
    BenchmarkTableDone,
    ModelExportDone,
    WeightsListDone,
    WeightsGetDone,
    WeightsCheckDone,
)
"""The event ``done`` of every verb."""
