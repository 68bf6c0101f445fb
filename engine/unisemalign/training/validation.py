"""Scores on held-out regions while a round trains, and which network it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unisemalign import protocol
from unisemalign.inference import Predictor, score_split
from unisemalign.methods import Method
from unisemalign.model import Network, save_network
from unisemalign.project import Project, Split
from unisemalign.runtime import Events
from unisemalign.settings import Settings
from unisemalign.slides import SpacedSlide


@dataclass
class Validation:
    """Scores a method's candidates on the val regions and keeps the best network so far.

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
    _slides: dict[str, SpacedSlide] = field(default_factory=dict)

    def score(self, method: Method, step: int) -> None:
        """Score each candidate, and keep the best one if it is the best so far.

        Without labelled val regions the first candidate's newest weights are kept.
        """
        networks = method.candidates()
        scored = {name: self._scores(network) for name, network in networks.items()}
        told = {
            name: {"step": step, "candidate": name, **scores}
            for name, scores in scored.items()
            if scores["mdice"] is not None
        }
        if not told:
            self._keep(networks, next(iter(networks)))
            return
        # Of equals the first: the method's own best guess.
        top = max(told.values(), key=lambda scores: float(scores["mdice"]))
        self.events.emit(protocol.Validation.model_validate(top))
        if self.best is None or top["mdice"] >= self.best["mdice"]:
            self.best = top
            self._keep(networks, top["candidate"])
        self.last = told.get(self.best.get("candidate", top["candidate"]), top)

    def _scores(self, network: Network) -> dict[str, Any]:
        predictor = Predictor(network, self.settings, self.device)
        return score_split(self.project, predictor, Split.VAL, slides=self._slides).summary()

    def _keep(self, networks: Mapping[str, Network], name: str) -> None:
        path = protocol.RoundLayout(self.folder).weights
        save_network(networks[name], path, self.settings, self.classes)
