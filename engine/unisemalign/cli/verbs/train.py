"""``train`` and ``evaluate``: rounds, and what they are worth on held-out tissue."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from unisemalign.cli.options import (
    AsJson,
    MinHole,
    MinObject,
    Overrides,
    ProjectPath,
    RoundNumber,
    Smooth,
)
from unisemalign.cli.output import (
    choose_events,
    errors_as_sentences,
    open_project,
    say,
)
from unisemalign.terms import Split, score_text

if TYPE_CHECKING:
    from unisemalign.project import Project, Round
    from unisemalign.runtime import Events
    from unisemalign.settings import Settings

PRESET_HELP = "A complete set of numbers; 'unisemalign info' lists them."
METHOD_HELP = "How tissue is used; 'unisemalign info' lists them."


def train(
    project: ProjectPath,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    method: Annotated[str | None, typer.Option(help=METHOD_HELP)] = None,
    hardware: Annotated[
        str,
        typer.Option(
            metavar="auto|workstation|laptop|gpu",
            help="How long a round may be: for the computer this is (auto), or another.",
        ),
    ] = "workstation",
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a round that was stopped or killed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a round from the labelled and the unlabelled tissue.

    On several GPUs or machines: accelerate launch -m unisemalign train PROJECT …
    """
    with errors_as_sentences(as_json):
        from unisemalign.runtime import SilentEvents, find_hardware
        from unisemalign.settings import PRESETS, build_settings
        from unisemalign.training import join_processes, train_round

        with open_project(project) as opened:
            processes = join_processes()
            events = choose_events(as_json) if processes.rank == 0 else SilentEvents()
            settings = None
            if not resume:
                kind = find_hardware() if hardware == "auto" else hardware
                settings = build_settings(preset or PRESETS[0], method, overrides or [], kind)
                _advise(opened, settings, events)
            elif preset or method or overrides:
                _refuse_settings()
            if hasattr(os, "nice"):
                os.nice(10)  # the viewer and the person come first
            done = train_round(opened, settings, resume=resume, events=events, processes=processes)
        if not as_json and processes.rank == 0:
            say(_sentence(done))


def evaluate(
    project: ProjectPath,
    split: Annotated[Split, typer.Option(help="Which held-out regions.")] = Split.VAL,
    round_number: RoundNumber = None,
    overrides: Overrides = None,
    min_object_px: MinObject = 0,
    min_hole_px: MinHole = 0,
    smooth_px: Smooth = 0,
    as_json: AsJson = False,
) -> None:
    """Score a round's model on held-out regions."""
    with errors_as_sentences(as_json):
        from unisemalign.cli.evaluating import evaluate_round
        from unisemalign.metrics import SCORE_NAMES
        from unisemalign.project import Cleaning
        from unisemalign.runtime import CancelToken, cancel_on_signals

        with open_project(project) as opened, cancel_on_signals(CancelToken()) as token:
            events = choose_events(as_json)
            cleaning = Cleaning(min_object_px, min_hole_px, smooth_px)
            done = evaluate_round(
                opened, split, round_number, overrides or [], events, token, cleaning=cleaning
            )
        events.emit(done)
        if as_json:
            return
        say(f"Round {done.round} on {done.images} regions of {split.value}:")
        if done.mdice_interval:
            low, high = map(score_text, done.mdice_interval)
            say(f"  95 % interval of mDice over regions: {low} to {high}")
        for key, words in SCORE_NAMES.items():
            say(f"  {words:18} {score_text(getattr(done, key))}")
        for name, value in zip(opened.info.class_names, done.dice_per_class, strict=True):
            say(f"  Dice {name:13} {score_text(value)}")


def _refuse_settings() -> None:
    from unisemalign.errors import SettingsError

    raise SettingsError(
        "--resume goes on with the settings the round was started with, found --preset, "
        "--method or --set too. Leave them out."
    )


def _advise(project: Project, settings: Settings, events: Events) -> None:
    """Tell when the encoder will see another pixel size than it was trained at."""
    from unisemalign.protocol import Message
    from unisemalign.weights import spacing_advice

    about = project.info
    if advice := spacing_advice(about.encoder, about.spacing_um, settings.model.zoom):
        events.emit(Message(text=advice))


def _sentence(done: Round) -> str:
    scores = done.scores
    if scores is None:
        return f"Round {done.number} is trained."
    score = "" if scores.dice is None else f", best validation Dice {score_text(scores.dice)}"
    use = f"unisemalign rounds PROJECT --use {done.number}"
    after = f"To use it all the same: {use}" if done.set_aside else "unisemalign segment PROJECT"
    return (
        f"Round {done.number} is trained{score}: {scores.seconds:.0f} s, "
        f"{scores.seconds_per_step:.3f} s a step, {scores.wait_per_step:.3f} s of it waiting for "
        f"crops. {'' if done.set_aside else 'Next: '}{after}"
    )
