"""The demo's loop: the commands a person types, the person who corrects, a round's figures."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tissue import (
    CLASSES,
    DRAWN,
    HELD_OUT,
    IHC,
    IHC_FIRST,
    IHC_HELD_OUT,
    SPACING_UM,
    Pixels,
    Plan,
    choose_first,
    truth_of,
)

from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE, OverlapScores
from unisemalign.project import LabelEdit, Origin, Project, Region, RegionState, Split
from unisemalign.protocol import Done, Event, Failed, Progress, ProjectLayout, Step, read_event
from unisemalign.runtime import read_log


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_verb(*words: str | Path) -> list[dict[str, Any]]:
    """Run ``unisemalign WORDS --json`` in its own process; return the ``done`` events.

    Raises
    ------
    SystemExit
        With the engine's own sentence, if it fails.
    """
    texts = [str(word) for word in words]
    say("$ unisemalign " + " ".join(short_path(text) for text in texts))
    command = [sys.executable, "-m", "unisemalign", *texts, "--json"]
    done: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdout is not None  # noqa: S101  asked for above
        for line in child.stdout:
            event = read_event(line)
            if isinstance(event, Done):
                done.append(event.fields())
            elif isinstance(event, Failed):
                raise SystemExit(event.text)
            _show_progress(event)
    if child.returncode != 0:
        raise SystemExit(f"'unisemalign {texts[0]}' ended with status {child.returncode}.")
    return done


def short_path(text: str) -> str:
    """Return a path as seen from here."""
    return os.path.relpath(text) if Path(text).is_absolute() else text


def _show_progress(event: Event) -> None:
    if not sys.stderr.isatty() or not isinstance(event, Step | Progress | Done):
        return
    text = ""
    if isinstance(event, Step):
        text = f"  {event.step} of {event.total}"
    elif isinstance(event, Progress):
        text = f"  {event.done:.0f} of {event.total:.0f}"
    sys.stderr.write(f"\r{text:<40}" if text else "\r" + " " * 40 + "\r")
    sys.stderr.flush()


def make_project(plan: Plan, folder: Path) -> None:
    """Make the project and add the slides; the second drawn one is held out as a whole."""
    run_verb("new", plan.project, "--classes", ",".join(CLASSES), "--spacing-um", str(SPACING_UM))
    run_verb("add", plan.project, folder / f"{DRAWN}.tif")
    run_verb("add", plan.project, folder / f"{IHC}.png", "--spacing-um", str(SPACING_UM))
    held_out = folder / f"{HELD_OUT}.tif"
    run_verb("add", plan.project, held_out, "--masks", folder / "masks", "--split", "val")


def label_first(plan: Plan) -> list[Region]:
    """Label three regions as the dock does, and hold out a strip of ihc.png (split test)."""
    places = [(DRAWN, rect) for rect in choose_first(plan)] + [(IHC, IHC_FIRST)]
    with Project.open(plan.project) as project:
        first = [accept(project, plan, slide, rect) for slide, rect in places]
        held_out = accept(project, plan, IHC, IHC_HELD_OUT)
        project.set_region(held_out.id, split=Split.TEST)
    return first


def accept(project: Project, plan: Plan, slide: str, rect: Rect) -> Region:
    """Paint ``rect`` from the truth and accept it."""
    region = project.add_region(slide, rect, state=RegionState.REVIEW, reason="marked by hand")
    labels = LabelEdit(rect, truth_of(plan, slide, rect), Origin.DRAWN, regions=(region,))
    return project.accept(slide, [labels], action="accept")[0]


@dataclass(frozen=True)
class Correction:
    """One queued region: what the model said, what the person made of it."""

    region: Region
    tissue: Pixels
    said: Pixels
    corrected: Pixels

    @property
    def changed(self) -> float:
        """Share of the pixels that were changed."""
        return float((self.said != self.corrected).mean())


def review(plan: Plan, ranked: Sequence[dict[str, Any]], round_number: int) -> list[Correction]:
    """Put the queued regions right and accept them."""
    corrections = []
    with Project.open(plan.project) as project:
        for row in ranked:
            region = project.region(row["id"])
            tissue = project.open_slide(region.slide).read(region.rect)
            said = project.predictions(round_number, region.slide).read(region.rect, "class")
            right = truth_of(plan, region.slide, region.rect)
            corrections.append(Correction(region, tissue, said, right))
            _accept_corrected(project, corrections[-1], round_number)
    return corrections


def _accept_corrected(project: Project, correction: Correction, round_number: int) -> None:
    region, said, right = correction.region, correction.said, correction.corrected
    origin = np.where(said == right, Origin.ACCEPTED, Origin.CORRECTED).astype(np.uint8)
    origin[(said == 0) & (right > 0)] = Origin.DRAWN
    labels = LabelEdit(region.rect, right, origin, regions=(region,))
    project.accept(region.slide, [labels], action="accept", round=round_number)


@dataclass(frozen=True)
class RoundResult:
    """What one round brought. Dice lie in 0…1, area is a share of what was predicted."""

    number: int
    seconds: float
    seconds_per_step: float
    mdice: float
    dice: dict[str, float | None]
    mdice_ihc: float | None
    dice_ihc: dict[str, float | None]
    area: dict[str, dict[str, float]]


def run_round(plan: Plan) -> RoundResult:
    """Train, segment every slide, score what is held out."""
    settings = (
        f"training.steps={plan.steps}",
        # The held-out slide is looked at once, at the end: it chooses no weights.
        f"training.validate_every={plan.steps}",
        f"seed={plan.seed}",
        # Glass is a class of this study, and people label it: none is skipped.
        "inference.skip_glass=false",
        *plan.settings,
    )
    flags = [word for setting in settings for word in ("--set", setting)]
    trained = run_verb("train", plan.project, *flags)[-1]
    seconds = time_steps(ProjectLayout(plan.project).round(trained["round"]).log)
    # By its number: a round whose Dice fell is set aside, and shown here all the same.
    chosen = ("--round", str(trained["round"]))
    segmented = run_verb("segment", plan.project, *chosen)
    scores = run_verb("evaluate", plan.project, *chosen, "--split", "val")[-1]
    mdice_ihc, dice_ihc = score_strip(plan, trained["round"])
    return RoundResult(
        number=trained["round"],
        seconds=trained["seconds"],
        seconds_per_step=seconds,
        mdice=scores["mdice"],
        dice=dict(zip(CLASSES, scores["dice_per_class"], strict=True)),
        mdice_ihc=mdice_ihc,
        dice_ihc=dice_ihc,
        area={event["slide"]: event["area"] for event in segmented},
    )


def run_queue(plan: Plan) -> list[dict[str, Any]]:
    """Return the regions the newest round doubts most, best first; one at least on real tissue.

    The drawn slide is nine times as large: its doubts would fill the list.
    """
    size = ("--count", str(4 * plan.count), "--size-px", str(plan.region_px))
    ranked: list[dict[str, Any]] = run_verb("queue", plan.project, *size)[-1]["regions"]
    chosen = ranked[: plan.count]
    real = [each for each in ranked if each["slide"] == IHC]
    if real and not any(each["slide"] == IHC for each in chosen):
        chosen = [*chosen[: plan.count - 1], real[0]]
    return chosen


def train_control(plan: Plan) -> RoundResult:
    """Train the second round without the corrections, on a copy, and score it."""
    copy = replace(plan, name="control.unisem")
    shutil.copytree(plan.project, copy.project)
    say("Control: the same second round, nothing corrected.")
    result = run_round(copy)
    say_round(result)
    return result


def time_steps(log: Path) -> float:
    """Return the mean seconds a training step took, without loading and validation."""
    times = [event.time for event in read_log(log) if isinstance(event, Step) and event.time]
    return float(times[-1] - times[0]) / max(1, len(times) - 1)


def score_strip(plan: Plan, number: int) -> tuple[float | None, dict[str, float | None]]:
    """Score the held-out strip of ihc.png from the stored map, over the classes seen in it."""
    with Project.open(plan.project) as project:
        said = project.predictions(number, IHC).read(IHC_HELD_OUT, "class")
    right = truth_of(plan, IHC, IHC_HELD_OUT)
    scores = OverlapScores(len(CLASSES))
    scores.add(said - np.uint8(1), np.where(right == 0, IGNORE, right - 1).astype(np.uint8))
    there = {CLASSES[value - 1] for value in np.unique(right) if value}
    dice = {n: float(d) for n, d in zip(CLASSES, scores.dice, strict=True) if n in there}
    return statistics.fmean(dice.values()), dict(dice)


def say_round(result: RoundResult) -> None:
    """Print one round's figures."""
    say()
    say(f"Round {result.number}: {result.seconds_per_step:.3f} s a step, {result.seconds:.0f} s.")
    say(f"  {'Dice, held-out drawn slide':34}{_row(result.dice)}   mean {100 * result.mdice:.1f}")
    mean = f"   mean {100 * result.mdice_ihc:.1f}" if result.mdice_ihc is not None else ""
    say(f"  {'Dice, held-out strip of ihc.png':34}{_row(result.dice_ihc)}{mean}")
    for slide, area in result.area.items():
        say(f"  {'Area %, ' + slide:34}{_row(area)}")
    say()


def _row(values: dict[str, Any]) -> str:
    shown = ((name, values.get(name)) for name in CLASSES)
    return "  ".join(f"{n} {'–' if v is None else format(100 * v, '.1f'):>4}" for n, v in shown)
