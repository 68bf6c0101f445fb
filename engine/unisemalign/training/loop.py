"""The loop of one round."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unisemalign.errors import (
    CancelledError,
    ProjectError,
    SettingsError,
    TrainingError,
    UnisemalignError,
    WeightsError,
)
from unisemalign.inference import Predictor, score_split
from unisemalign.inference.segmenting import best_weights, check_classes
from unisemalign.methods import Batch, Method, build_method
from unisemalign.model import Network, build_network, load_network, save_network
from unisemalign.model.checkpoints import load_trained_state, trained_state
from unisemalign.model.token_cache import TokenCache
from unisemalign.project import Project, Round, Split
from unisemalign.runtime import (
    CancelToken,
    Events,
    LogFileEvents,
    ManyEvents,
    Pace,
    SilentEvents,
    cancel_on_signals,
    write_json,
)
from unisemalign.runtime.device import (
    choose_device,
    choose_precision,
    computing_in,
    seed_everything,
)
from unisemalign.settings import ModelSettings, Settings, read_settings, write_settings
from unisemalign.slides import SpacedSlide
from unisemalign.training.areas import open_tissue
from unisemalign.training.batches import Batches
from unisemalign.training.checkpoint import load_checkpoint, save_checkpoint
from unisemalign.training.compiling import compile_networks, wants_compiling
from unisemalign.training.optimiser import build_optimiser, set_rate
from unisemalign.training.team import ALONE, Team, check_shares
from unisemalign.training.waiting import DataWait

_CHECKPOINT = "last.pt"
_CANCEL = "cancel"


def train_round(
    project: Project,
    settings: Settings | None,
    *,
    resume: bool = False,
    events: Events,
    cancel: CancelToken | None = None,
    team: Team = ALONE,
) -> Round:
    """Train one round of a project and return it.

    Parameters
    ----------
    project
        Holds tissue and labels.
    settings
        Every number; the encoder and text tower are the project's. ``None`` with ``resume``:
        those the round was started with.
    resume
        Go on with the newest round that did not finish, from its last checkpoint.
    events
        Told of each step; the round's ``log.jsonl`` is told too.
    cancel
        Stops the round at its next step, with a checkpoint.
    team
        The processes that share the work; all of them call this function alike.

    Raises
    ------
    BusyError
        If another training runs in this project.
    DataError
        If nothing is labelled yet.
    CancelledError
        If it was stopped; ``resume`` goes on from there.
    """
    if team.rank > 0:
        return _assist(project, team)
    with project.lock_training():
        try:
            found, settings = _opened(project, settings, resume, team)
        except BaseException:
            team.told_by_leader(None)
            raise
        (found.folder / _CANCEL).unlink(missing_ok=True)
        token = cancel or CancelToken(found.folder / _CANCEL)
        told = ManyEvents([events, LogFileEvents(found.folder / "log.jsonl")])
        # Signals stay with the token until the round's end is on disk: one that comes while the
        # round closes would otherwise end the process with a round that seems to be running.
        with cancel_on_signals(token):
            project.set_round(found.number, state="running")
            try:
                team.told_by_leader((found.number, resume))
                scores = _Run(project, settings, found, told, token, team).go(resume=resume)
            except CancelledError as error:
                project.set_round(found.number, state="cancelled")
                stopped = CancelledError(f"{error} Round {found.number} can be resumed.")
                told.emit("cancelled", text=str(stopped))
                stopped.told = True
                raise stopped from None
            except BaseException as error:
                with suppress(UnisemalignError):  # a full disk may take no last words either
                    project.set_round(found.number, state="failed")
                with suppress(UnisemalignError):
                    told.emit("failed", text=_sentence(error))
                if isinstance(error, UnisemalignError):
                    error.told = True
                raise
            project.set_round(found.number, state="done", scores=scores)
            write_json(found.folder / "scores.json", scores)
            told.emit("done", round=found.number, **scores)
        return project.round(found.number)


def _opened(
    project: Project, settings: Settings | None, resume: bool, team: Team
) -> tuple[Round, Settings]:
    """Return the round to train, new or taken up again, and its settings."""
    for stale in project.rounds():
        if stale.state == "running":  # killed: whoever runs holds the lock, and that is us
            project.set_round(stale.number, state="cancelled")
    if resume:
        found = unfinished_round(project)
        if found is None:
            raise ProjectError(
                "Resuming wants a round that was stopped or killed, found none. Train without "
                "--resume."
            )
        settings = read_settings(found.folder / "run.toml")
        check_shares(settings.training, team)
        return found, settings
    if settings is None:
        raise ProjectError("A new round wants settings, found none.")
    check_shares(settings.training, team)
    settings = _with_towers(project, settings)
    return _start(project, settings), settings


def _assist(project: Project, team: Team) -> Round:
    """Train beside the leader, who alone validates, writes and tells."""
    given: tuple[int, bool] | None = team.told_by_leader(None)
    if given is None:
        stopped = CancelledError("The first process of this training could not begin.")
        stopped.told = True
        raise stopped
    number, resume = given
    found, token = project.round(number), CancelToken()
    settings = read_settings(found.folder / "run.toml")
    with cancel_on_signals(token):
        _Run(project, settings, found, SilentEvents(), token, team).go(resume=resume)
    return found


def _sentence(error: BaseException) -> str:
    if isinstance(error, UnisemalignError):
        return str(error)
    return f"The round stopped on {type(error).__name__}: {error}"


def unfinished_round(project: Project) -> Round | None:
    """Return the newest round after the last finished one that has something to go on with."""
    found: Round | None = None
    for each in project.rounds():
        if each.state == "done":
            found = None
        elif (each.folder / "run.toml").exists() and (
            each.state != "failed" or (each.folder / _CHECKPOINT).exists()
        ):
            found = each
    return found


def _with_towers(project: Project, settings: Settings) -> Settings:
    """Return the settings with the project's encoder and text tower.

    Raises
    ------
    SettingsError
        If the settings ask for others: labels and rounds of a project share one pair.
    """
    mine = {"encoder": project.info.encoder, "text": project.info.text}
    for name, value in mine.items():
        asked = getattr(settings.model, name)
        if asked not in {value, ModelSettings.model_fields[name].default}:
            raise SettingsError(
                f"The project's {name} is '{value}', the settings ask for '{asked}'. Change "
                f"'{name}' in project.toml, or make a project with --{name} {asked}."
            )
    return settings.model_copy(update={"model": settings.model.model_copy(update=mine)})


def _start(project: Project, settings: Settings) -> Round:
    parent = project.latest_round() if settings.training.start_from == "previous" else None
    found = project.new_round(
        method=settings.method.name,
        preset=settings.preset,
        parent=parent.number if parent else None,
    )
    write_settings(settings, found.folder / "run.toml")
    return found


def last_network(folder: Path) -> tuple[Network, Settings, int]:
    """Return the network that would have been deployed at a round's last step.

    With it come its settings and that step.

    It is rebuilt from the checkpoint, which every round keeps; only the best weights have a file of
    their own. ``folder`` is the round's.

    Raises
    ------
    WeightsError
        If the best weights, which say how to build it, or the checkpoint cannot be read.
    """
    network, settings, _ = load_network(best_weights(folder))
    method = build_method(network, settings)
    optimiser = build_optimiser(network, settings.training)
    step, _ = load_checkpoint(folder / _CHECKPOINT, method, optimiser)
    return method.deployed.eval(), settings, step


@dataclass
class _Run:
    """One process's share of a round."""

    project: Project
    settings: Settings
    round: Round
    events: Events
    cancel: CancelToken
    team: Team
    best: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    slides: dict[str, SpacedSlide] = field(default_factory=dict)

    def go(self, *, resume: bool) -> dict[str, Any]:
        settings, training, team = self.settings, self.settings.training, self.team
        device = team.device or choose_device(settings.device)
        precision = choose_precision(settings.precision, device)
        seed_everything(settings.seed, device)
        tissue = open_tissue(self.project)
        classes = {c.name: " ".join(c.words) or c.name for c in self.project.info.classes}
        network = build_network(list(classes.values()), settings.model)
        self._inherit(network)
        network = network.to(device).to(memory_format=torch.channels_last)
        if training.cache_gb > 0:
            folder, room = self.project.root / "cache" / "tokens", int(training.cache_gb * 1e9)
            network.keep_tokens(TokenCache(folder, room, self.events, sharers=team.size))
        method = build_method(network, settings)
        optimiser = build_optimiser(network, training)
        checkpoint = self.round.folder / _CHECKPOINT
        first = 0
        if resume and checkpoint.exists():
            first, self.best = load_checkpoint(checkpoint, method, optimiser)
        self.events.emit(
            "start",
            what=f"Training round {self.round.number}",
            total=training.steps,
            round=self.round.number,
            step=first,
        )
        batches = Batches(tissue, settings, method, team)
        if wants_compiling(training.compile, device, training.steps - first):
            compile_networks((method.student, method.deployed), device, self.events)
        pace, wait = Pace(training.steps, first), DataWait()
        started = before = time.monotonic()
        for step, batch in enumerate(batches.iterate(first, training.steps), start=first):
            drawn = time.monotonic()
            if team.told_by_leader(self.cancel.requested):
                if team.rank == 0:
                    save_checkpoint(checkpoint, method, optimiser, step, self.best)
                self.cancel.request()
                self.cancel.check()
            parts = train_step(method, optimiser, settings, batch.to(device), step, precision, team)
            wait.add(drawn - before, time.monotonic() - drawn)
            pace.advance()
            self.events.emit(
                "step",
                step=step + 1,
                total=training.steps,
                eta_s=pace.eta_s,
                wait_share=round(wait.share, 3),
                **parts,
            )
            if warning := wait.warning():
                self.events.emit("message", text=warning)
            last, leads = step + 1 == training.steps, team.rank == 0
            if leads and (last or (step + 1) % training.validate_every == 0):
                self._validate(method, step + 1, device, classes)
            if leads and (last or (step + 1) % training.checkpoint_every == 0):
                save_checkpoint(checkpoint, method, optimiser, step + 1, self.best)
            before = time.monotonic()
        if (
            first >= training.steps and team.rank == 0
        ):  # killed after its last checkpoint: scores are all it lacks
            self._validate(method, first, device, classes)
        fresh, tokens = max(1, training.steps - first), network.tokens
        seconds = time.monotonic() - started
        return {
            "best_val": self.best,
            "last_val": self.last,
            "seconds": round(seconds, 2),
            "seconds_per_step": round(seconds / fresh, 4),
            "wait_per_step": round(wait.waited_s / fresh, 4),
            "wait_share": round(wait.share, 3),
            **({"token_hits": tokens.hits, "token_misses": tokens.misses} if tokens else {}),
        }

    def _inherit(self, network: Network) -> None:
        """Start from the parent round's weights where there are any that fit."""
        if self.round.parent is None:
            return
        parent, _, names = load_network(best_weights(self.project.round(self.round.parent).folder))
        check_classes(self.project, self.round.parent, names)
        try:
            load_trained_state(network, trained_state(parent))
        except WeightsError as error:
            raise WeightsError(f"Cannot go on from round {self.round.parent}. {error}") from None

    def _validate(
        self, method: Method, step: int, device: torch.device, classes: Mapping[str, str]
    ) -> None:
        """Score the deployed network on the val regions, and keep it if it is the best so far.

        Without labelled val regions the newest weights are kept.
        """
        predictor = Predictor(method.deployed, self.settings, device)
        scores = score_split(
            self.project,
            predictor,
            Split.VAL,
            slides=self.slides,
        ).summary()
        if scores["mdice"] is not None:
            self.last = {"step": step, **scores}
            self.events.emit("validation", **self.last)
        if self.last is None or self.best is None or self.last["mdice"] >= self.best["mdice"]:
            self.best = self.last
            save_network(method.deployed, best_weights(self.round.folder), self.settings, classes)


def train_step(
    method: Method,
    optimiser: torch.optim.Optimizer,
    settings: Settings,
    batch: Batch,
    step: int,
    precision: torch.dtype,
    team: Team = ALONE,
) -> dict[str, float]:
    """Take one training step; return the loss and its parts, averaged over the team.

    Raises
    ------
    TrainingError
        If the loss is not finite. No weight has moved then.
    """
    # Dropout draws from torch's generator: seeding it by step makes a resumed round identical.
    torch.manual_seed(settings.seed * 1_000_003 + step + (team.rank << 40))
    method.student.train()
    set_rate(optimiser, settings.training, step)
    optimiser.zero_grad(set_to_none=True)
    with computing_in(precision, batch.images.device):
        loss, parts = method.loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    # One transfer for all numbers: on a GPU each one waits for everything before it.
    numbers = torch.stack([loss.detach(), *parts.values()])
    gradients = [p.grad for p in method.student.parameters() if p.grad is not None]
    team.average([numbers, *gradients, *method.statistics()])
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
