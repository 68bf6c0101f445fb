"""Scores on held-out regions while a round trains, and which network it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unisemalign import protocol
from unisemalign.inference import Predictor, score_split
from unisemalign.methods import Method
from unisemalign.model import Network, save_network
from unisemalign.project import Project, Split
from unisemalign.runtime import Events
from unisemalign.settings import Settings
from unisemalign.slides import SpacedSlide
from unisemalign.training.class_dice import ClassWatch, Counts, mean_noise, suits_better


@dataclass(frozen=True)
class Scored:
    """A candidate's scores on the val regions, and its counts: one array a class."""

    summary: dict[str, Any]
    counts: list[Counts]


@dataclass
class Validation:
    """Scores a method's candidates on the val regions and keeps the best network so far.

    The best is not the highest mean alone: what a class lost beyond its noise counts twice
    (:func:`~unisemalign.training.class_dice.suits_better`).

    Attributes
    ----------
    classes
        Words of each class by its name, in class order.
    best
        Scores of the kept network, with its ``step`` and which ``candidate`` it was; ``None``
        without labelled val regions.
    last
        Scores of the same candidate at the newest validation.
    """

    project: Project
    settings: Settings
    folder: Path
    classes: Mapping[str, str]
    events: Events
    device: torch.device
    best: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    _watch: ClassWatch = field(init=False)
    _best_counts: list[Counts] = field(init=False, default_factory=list)
    _reported: set[str] = field(init=False, default_factory=set)
    _slides: dict[str, SpacedSlide] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._watch = ClassWatch(list(self.classes))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds: plain numbers, no arrays."""
        return {
            "best": self.best,
            "peaks": self._watch.peaks,
            "counts": [counts.tolist() for counts in self._best_counts],
            "reported": sorted(self._reported),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave."""
        self.best = state["best"]
        self._watch.peaks = state.get("peaks", [])
        self._best_counts = [np.array(counts) for counts in state.get("counts", [])]
        self._reported = set(state.get("reported", []))

    def score(self, method: Method, step: int) -> None:
        """Score each candidate, and keep the best one if it is the best so far.

        Without labelled val regions the first candidate's newest weights are kept.
        """
        networks = method.candidates()
        scored = {name: self._scores(network, name, step) for name, network in networks.items()}
        known = {name: one for name, one in scored.items() if one.summary["mdice"] is not None}
        if not known:
            self._keep(networks, next(iter(networks)))
            return
        # Of equals the first: the method's own best guess.
        name = max(known, key=lambda each: float(known[each].summary["mdice"]))
        top = known[name]
        falls = self._watch.see(top.counts, step)
        self.events.emit(protocol.Validation(**top.summary, fallen=tuple(falls)))
        self._tell(falls)
        if self._is_better(top):
            self.best, self._best_counts = top.summary, top.counts
            self._keep(networks, name)
        kept = known.get((self.best or {}).get("candidate", name), top)
        self.last = kept.summary

    def compared(self, predictor: Predictor, number: int) -> protocol.RoundBefore | None:
        """Return what round ``number``, whose ``predictor`` it is, reaches on the same regions."""
        scores = score_split(self.project, predictor, Split.VAL, slides=self._slides)
        mdice = scores.summary()["mdice"]
        if not isinstance(mdice, float):
            return None
        counts = scores.overlap.class_counts()
        same = len(counts) == len(self._best_counts) and len(counts[0]) == len(self._best_counts[0])
        noise = mean_noise(self._best_counts, counts) if same else None
        return protocol.RoundBefore(round=number, mdice=mdice, noise=noise)

    def _is_better(self, top: Scored) -> bool:
        if self.best is None:
            return True
        if len(self._best_counts) != len(top.counts):  # of a checkpoint that held no counts
            return bool(top.summary["mdice"] >= self.best["mdice"])
        return suits_better(top.counts, self._best_counts)

    def _tell(self, falls: list[protocol.FallenClass]) -> None:
        """Say which classes have fallen, each once until it has recovered."""
        for fall in falls:
            if fall.name not in self._reported:
                self.events.emit(protocol.Message(text=fall.sentence()))
        self._reported = {fall.name for fall in falls}

    def _scores(self, network: Network, name: str, step: int) -> Scored:
        predictor = Predictor(network, self.settings, self.device)
        scores = score_split(self.project, predictor, Split.VAL, slides=self._slides)
        summary = {"step": step, "candidate": name, **scores.summary()}
        return Scored(summary, scores.overlap.class_counts())

    def _keep(self, networks: Mapping[str, Network], name: str) -> None:
        path = protocol.RoundLayout(self.folder).weights
        save_network(networks[name], path, self.settings, self.classes)
