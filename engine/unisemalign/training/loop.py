"""The loop of one round: draw, learn, tell, validate, write."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unisemalign.errors import TrainingError, UnisemalignError, WeightsError
from unisemalign.inference.loading import check_classes, load_predictor
from unisemalign.methods import Batch, Method, build_method
from unisemalign.model import build_network, grow_classes, load_network
from unisemalign.model.token_cache import TokenCache
from unisemalign.project import Project, Round
from unisemalign.protocol import Message, RoundBefore, RoundScores, Start, Step, StepScores
from unisemalign.runtime import CancelToken, Events, Pace
from unisemalign.runtime.device import (
    choose_device,
    choose_precision,
    computing_in,
    peak_memory_mb,
    seed_everything,
)
from unisemalign.settings import Settings
from unisemalign.training.batches import Batches
from unisemalign.training.checkpoint import load_checkpoint, save_checkpoint, take_over
from unisemalign.training.compiling import compile_networks, should_compile
from unisemalign.training.memory import check_memory
from unisemalign.training.optimiser import build_optimiser, set_rate
from unisemalign.training.process_group import ALONE, ProcessGroup
from unisemalign.training.tissue import open_tissue
from unisemalign.training.validation import Validation
from unisemalign.training.waiting import DataWait


@dataclass(frozen=True)
class Loop:
    """One process's share of a round."""

    project: Project
    settings: Settings
    round: Round
    events: Events
    cancel: CancelToken
    processes: ProcessGroup

    def run(self, *, resume: bool) -> RoundScores:
        """Train to the last step; return the round's scores.

        Raises
        ------
        CancelledError
            If it was stopped; a checkpoint is written before.
        """
        settings, training = self.settings, self.settings.training
        device = self.processes.device or choose_device(settings.device)
        seed_everything(settings.seed, device)
        tissue = open_tissue(self.project)
        classes = {c.name: " ".join(c.words) or c.name for c in self.project.info.classes}
        tokens = self._tokens()
        method = self._method(list(classes.values()), tokens).to(device)
        method = method.to(memory_format=torch.channels_last)
        optimiser = build_optimiser(method.groups(), training)
        validation = Validation(
            self.project, settings, self.round.folder, classes, self.events, device
        )
        first = 0
        if resume and self._checkpoint.exists():
            first, held = load_checkpoint(self._checkpoint, method, optimiser)
            validation.restore(held)
        self.events.emit(
            Start(
                what=f"Training round {self.round.number}",
                total=training.steps,
                round=self.round.number,
                step=first,
            )
        )
        if method.needs.captions and (missing := method.missing_captions(tissue.captioned)):
            self.events.emit(Message(text=missing))
        precision = choose_precision(settings.precision, device)
        if self.processes.size == 1:
            check_memory(method, tissue, settings, device, precision)
        batches = Batches(tissue, settings, method.needs, self.processes)
        if should_compile(training.compile, device, training.steps - first):
            compile_networks(method.networks(), device, self.events)
        started, wait = time.monotonic(), DataWait()
        self._steps(method, optimiser, batches, validation, first, wait, precision)
        seconds, fresh = time.monotonic() - started, max(1, training.steps - first)
        return RoundScores(
            best_val=_scores(validation.best),
            last_val=_scores(validation.last),
            seconds=round(seconds, 2),
            seconds_per_step=round(seconds / fresh, 4),
            wait_per_step=round(wait.waited_s / fresh, 4),
            wait_share=round(wait.share, 3),
            token_hits=tokens.hits if tokens else None,
            token_misses=tokens.misses if tokens else None,
            learned_parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
            peak_memory_mb=peak_memory_mb(device),
            needs=method.extras(),
            before=self._before(validation) if self.processes.rank == 0 else None,
        )

    def _before(self, validation: Validation) -> RoundBefore | None:
        """Score the round that is in use until now on the regions this one was scored on."""
        used = self.project.latest_round(besides=self.round.number)
        if used is None or validation.best is None:
            return None
        try:
            device = [f"device={self.settings.device}"]
            predictor, _ = load_predictor(self.project, used.number, device)
            return validation.compared(predictor, used.number)
        except UnisemalignError as error:
            self.events.emit(Message(text=f"Round {used.number} was not compared with. {error}"))
            return None

    @property
    def _checkpoint(self) -> Path:
        return self.round.layout.checkpoint

    def _tokens(self) -> TokenCache | None:
        room = int(self.settings.training.cache_gb * 1e9)
        if room == 0:
            return None
        folder = self.project.layout.tokens
        return TokenCache(folder, room, self.events, sharers=self.processes.size)

    def _method(self, words: list[str], tokens: TokenCache | None) -> Method:
        """Return the method, going on from the parent round's weights where there is one."""
        settings = self.settings
        network = build_network(words, settings.model, settings.method)
        if tokens is not None:
            network.keep_tokens(tokens)
        method = build_method(network, settings)
        if self.round.parent is not None:
            found = self.project.round(self.round.parent).layout
            parent, _, names = load_network(found.weights)
            check_classes(self.project, self.round.parent, names)
            if parent.n_classes < network.n_classes:
                parent = grow_classes(parent, network)
            try:
                method.inherit(parent)
            except WeightsError as error:
                raise WeightsError(
                    f"Cannot go on from round {self.round.parent}. {error}"
                ) from None
            if not take_over(found.checkpoint, method):
                text = (
                    f"Thresholds start anew: the checkpoint of round {self.round.parent} is not "
                    f"there or cannot be read."
                )
                self.events.emit(Message(text=text))
        return method

    def _steps(
        self,
        method: Method,
        optimiser: torch.optim.Optimizer,
        batches: Batches,
        validation: Validation,
        first: int,
        wait: DataWait,
        precision: torch.dtype,
    ) -> None:
        training, processes, device = self.settings.training, self.processes, validation.device
        pace, before = Pace(training.steps, first), time.monotonic()
        for step, batch in enumerate(batches.iterate(first, training.steps), start=first):
            drawn = time.monotonic()
            if processes.broadcast(self.cancel.requested):
                if processes.rank == 0:
                    save_checkpoint(self._checkpoint, method, optimiser, step, validation.state())
                self.cancel.request()
                self.cancel.check()
            parts = train_step(
                method, optimiser, self.settings, batch.to(device), step, precision, processes
            )
            wait.add(drawn - before, time.monotonic() - drawn)
            pace.advance()
            self._tell(step + 1, parts, pace, wait)
            last, leads = step + 1 == training.steps, processes.rank == 0
            if leads and (last or (step + 1) % training.validate_every == 0):
                validation.score(method, step + 1)
            if leads and (last or (step + 1) % training.checkpoint_every == 0):
                save_checkpoint(self._checkpoint, method, optimiser, step + 1, validation.state())
            before = time.monotonic()
        if first >= training.steps and processes.rank == 0:
            # Killed after its last checkpoint: scores are all it lacks.
            validation.score(method, first)

    def _tell(self, step: int, parts: dict[str, float], pace: Pace, wait: DataWait) -> None:
        self.events.emit(
            Step(
                step=step,
                total=self.settings.training.steps,
                eta_s=pace.eta_s,
                wait_share=round(wait.share, 3),
                **parts,
            )
        )
        if warning := wait.warning():
            self.events.emit(Message(text=warning))


def _scores(found: dict[str, Any] | None) -> StepScores | None:
    return None if found is None else StepScores.model_validate(found)


def train_step(
    method: Method,
    optimiser: torch.optim.Optimizer,
    settings: Settings,
    batch: Batch,
    step: int,
    precision: torch.dtype,
    processes: ProcessGroup = ALONE,
) -> dict[str, float]:
    """Take one training step; return the loss and its parts, averaged over the processes.

    Raises
    ------
    TrainingError
        If the loss is not finite. No weight has moved then.
    """
    # Dropout draws from torch's generator: seeding it by step makes a resumed round identical.
    torch.manual_seed(settings.seed * 1_000_003 + step + (processes.rank << 40))
    method.train()
    set_rate(optimiser, settings.training, step)
    optimiser.zero_grad(set_to_none=True)
    with computing_in(precision, batch.images.device):
        loss, parts = method.loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    # One transfer for all numbers: on a GPU each one waits for everything before it.
    numbers = torch.stack([loss.detach(), *parts.values()])
    if processes.size > 1:
        gradients = [p.grad for p in method.parameters() if p.grad is not None]
        processes.average([numbers, *gradients, *method.gathered()])
    values = numbers.tolist()
    if not math.isfinite(values[0]):
        raise TrainingError(
            f"The loss is no longer a number at step {step + 1}. The weights before are kept. "
            f"Train again with a lower rate: --set training.learning_rate="
            f"{settings.training.learning_rate / 4:g}."
        )
    optimiser.step()
    method.after_step()
    return {name: round(value, 5) for name, value in zip(("loss", *parts), values, strict=True)}
