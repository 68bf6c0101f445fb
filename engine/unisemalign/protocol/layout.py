"""Where everything of a project lies: each name of a file or folder stands here and only here.

Paths are composed, never looked up: these classes read and write nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROJECT_FILE = "project.toml"
"""What makes a folder a project."""

WEIGHTS_FILE = "best.safetensors"
"""What makes a round one that can segment."""

_LABELS, _PREDICTIONS, _ROUNDS = "labels", "predictions", "rounds"
_TISSUE, _CACHE, _DRAFTS, _LOCKS = "tissue", "cache", "drafts", ".locks"
PROJECT_FOLDERS = frozenset({_LABELS, _PREDICTIONS, _ROUNDS, _TISSUE, _CACHE, _DRAFTS, _LOCKS})
"""What a project keeps its data in: nobody else writes there."""

FIRST_ROUND = 0
"""Number of the round that a first guess is; trained rounds count from 1."""

_ZARR = ".zarr"


@dataclass(frozen=True)
class RoundLayout:
    """The files of a round, ``rounds/N``."""

    folder: Path

    @property
    def settings(self) -> Path:
        """Every setting of the round."""
        return self.folder / "run.toml"

    @property
    def log(self) -> Path:
        """Its events, one JSON object a line."""
        return self.folder / "log.jsonl"

    @property
    def checkpoint(self) -> Path:
        """What a stopped round goes on from."""
        return self.folder / "last.pt"

    @property
    def weights(self) -> Path:
        """The weights to use."""
        return self.folder / WEIGHTS_FILE

    @property
    def scores(self) -> Path:
        """Scores of the finished round (:class:`RoundScores`)."""
        return self.folder / "scores.json"

    @property
    def cancel(self) -> Path:
        """Creating this file stops the round at its next step."""
        return self.folder / "cancel"

    @property
    def guess(self) -> Path:
        """How a first guess was made (round 0 alone)."""
        return self.folder / "guess.json"

    def clusters(self, slide: str) -> Path:
        """Return the map of cluster numbers of a first guess (round 0 alone)."""
        return self.folder / "clusters" / f"{slide}{_ZARR}"


@dataclass(frozen=True)
class ProjectLayout:
    """The files of a project. Slides are known by the name the project gave them."""

    root: Path

    @property
    def info(self) -> Path:
        """Classes, spacing and encoder: what a person may edit."""
        return self.root / PROJECT_FILE

    @property
    def database(self) -> Path:
        """Slides, regions, rounds and the journal of edits."""
        return self.root / "project.sqlite"

    @property
    def label_folder(self) -> Path:
        """Labels of every slide."""
        return self.root / _LABELS

    @property
    def prediction_folder(self) -> Path:
        """Predictions, a folder a round."""
        return self.root / _PREDICTIONS

    @property
    def round_folder(self) -> Path:
        """Rounds, a folder each."""
        return self.root / _ROUNDS

    @property
    def drafts(self) -> Path:
        """Strokes that are not accepted yet."""
        return self.root / _DRAFTS

    @property
    def tokens(self) -> Path:
        """Cache of the encoder's tokens."""
        return self.root / _CACHE / "tokens"

    def labels(self, slide: str) -> Path:
        """Return the labels of a slide, with their origins."""
        return self.label_folder / f"{slide}{_ZARR}"

    def prediction(self, number: int, slide: str) -> Path:
        """Return what round ``number`` says about a slide."""
        return self.prediction_folder / str(number) / f"{slide}{_ZARR}"

    def round(self, number: int) -> RoundLayout:
        """Return the files of round ``number``."""
        return RoundLayout(self.round_folder / str(number))

    def clusters(self, slide: str) -> Path:
        """Return the clusters of a slide: apart from predictions, which hold classes."""
        return self.round(FIRST_ROUND).clusters(slide)

    def tissue(self, slide: str) -> Path:
        """Return a person's correction of where a slide holds tissue."""
        return self.root / _TISSUE / f"{slide}.npz"

    def tissue_cache(self, slide: str) -> Path:
        """Return where a slide was found to hold tissue."""
        return self.root / _CACHE / "tissue" / f"{slide}.npz"

    def lock(self, name: str) -> Path:
        """Return the lock called ``name``: ``editing``, ``training`` or ``labels``."""
        return self.root / _LOCKS / f"{name}.lock"

    def cluster_cancel(self, name: str) -> Path:
        """Return the file whose creation stops the Dask tasks of the run called ``name``."""
        return self.prediction_folder / f"cancel-{name}"


def finished_note(prediction: Path) -> Path:
    """Return where it is noted what of ``prediction`` is finished (:class:`FinishedNote`)."""
    return prediction.with_suffix(".progress.json")


def lock_holder(lock: Path) -> Path:
    """Return where the holder of ``lock`` is noted (:class:`LockHolder`)."""
    return lock.with_suffix(".json")
