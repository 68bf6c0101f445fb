"""The whole loop on real and drawn tissue: open → segment → review → train → export.

``make demo`` runs this. It types the commands a person types, in processes of their own, plays the
person who corrects what the model doubts, and says plainly whether that helped. Everything it
writes lies beside this file; ``report.json`` holds the figures.

    python demo/demo.py [--seed N | --seeds 0,1,2] [--no-viewer] [--control]

Real tissue is scikit-image's ``ihc.png``: colonic glands, DAB and haematoxylin, from the Center
for Microscopy and Molecular Imaging (CMMI), no known copyright restrictions. It does not say how
large its pixels are: 0.5 µm is assumed, because the long nuclei of its epithelium (about 25 px)
are then some 12 µm long. Its labels were drawn by eye by us, not by a pathologist.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loop import (
    Correction,
    RoundResult,
    label_first,
    make_project,
    review,
    run_queue,
    run_round,
    run_verb,
    say,
    say_round,
    short_path,
    train_control,
)
from pictures import Album
from tissue import HERE, IHC, Plan, make_tissue
from viewer import has_display, photograph, show_project

from unisemalign.project import Region

MARK = ".unisemalign-demo"
STEP_S, SEGMENTING_S, AFTERWARDS_S = 1.2, 25.0, 30.0
"""Seconds of a training step; of segmenting and scoring after a round; of the pictures at the end:
on two cores, one of them at work for somebody else (docs/experiments.md)."""


def run_demo(plan: Plan) -> dict[str, Any]:
    """Run the loop once and return the report."""
    started, busy = time.monotonic(), _cpu_seconds()
    _clear(plan.out)
    say(f"Two rounds of {plan.steps} steps: {expected_minutes(plan)} on two cores.")
    album = start_project(plan)
    began = time.monotonic()
    before = run_round(plan)
    say_round(before)
    rounds_left = 2 if plan.control else 1
    left = rounds_left * (time.monotonic() - began) + AFTERWARDS_S
    say(f"About {max(1, round(left / 60))} min more.")
    album.show_prediction(before)

    ranked = run_queue(plan)
    control = train_control(plan) if plan.control else None
    corrections = review(plan, ranked, before.number)
    _say_corrections(corrections)
    after = run_round(plan)
    say_round(after)

    album.show_review(before, corrections)
    album.show_after(before, after)
    album.show_loop(before, after, corrections)
    finish_project(plan, album)
    report = make_report(plan, before, after, corrections, album.pictures)
    if control is not None:
        report["dice_control"] = control.mdice
    report["seconds_total"] = round(time.monotonic() - started, 1)
    report["seconds_cpu"] = round(_cpu_seconds() - busy, 1)
    say_report(plan, report)
    return report


def expected_minutes(plan: Plan) -> str:
    """Say how long the demo takes, from what was measured; the first round says it better."""
    rounds = 3 if plan.control else 2
    seconds = rounds * (plan.steps * STEP_S + SEGMENTING_S) + AFTERWARDS_S
    return f"about {max(1, round(seconds / 60))} min"


def start_project(plan: Plan) -> Album:
    """Open the slides, label the first regions, and begin the album."""
    say("Open: real tissue, a drawn slide, and a drawn slide that is held out.")
    make_project(plan, make_tissue(plan))
    first = label_first(plan)
    say(f"Labelled at first: {_places(first)} (ihc by eye, not by a pathologist).")
    album = Album(plan)
    album.show_tissue(first)
    return album


def finish_project(plan: Plan, album: Album) -> None:
    """Export, leave a queue for the person who opens the project, and photograph it."""
    run_verb("export", plan.project, "--format", "geojson", "--out", plan.out / "export")
    run_verb("queue", plan.project)
    if plan.screenshot and (shot := photograph(plan)):
        album.pictures["plugin"] = str(shot)


def say_report(plan: Plan, report: dict[str, Any]) -> None:
    """Print what the second round brought, and where everything lies."""
    say(verdict(report))
    if "dice_control" in report:
        say(control_sentence(report))
    place = short_path(str(plan.out))
    say(f"All of it took {report['seconds_total']:.0f} s. Pictures lie in {place}.")


def _cpu_seconds() -> float:
    """Return the processor time of this process and its children so far."""
    return sum(os.times()[:4])


def _clear(out: Path) -> None:
    """Take away what an earlier demo left, and nothing else: another folder ends the demo."""
    mark = out / MARK
    if out != HERE and not mark.exists() and out.is_dir() and any(out.iterdir()):
        raise SystemExit(
            f"The demo needs a new or empty folder, or one of an earlier demo, found '{out}' with "
            f"something else in it. Choose another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()
    for name in ("demo.unisem", "control.unisem", "slides", "export"):
        shutil.rmtree(out / name, ignore_errors=True)


def _places(regions: Sequence[Region]) -> str:
    return ", ".join(f"{region.slide} {region.rect}" for region in regions)


def _say_corrections(corrections: Sequence[Correction]) -> None:
    say("Corrected in the person's place:")
    for each in corrections:
        by_eye = " (labels by eye)" if each.region.slide == IHC else ""
        say(f"  {_places([each.region])}{by_eye}: {100 * each.changed:.1f} % of the pixels changed")
        say(f"    {each.region.reason}")


def make_report(
    plan: Plan,
    before: RoundResult,
    after: RoundResult,
    corrections: Sequence[Correction],
    pictures: dict[str, str],
) -> dict[str, Any]:
    """Return what ``report.json`` holds, but for the time it all took."""
    return {
        "seed": plan.seed,
        "steps": plan.steps,
        "dice_before": before.mdice,
        "dice_after": after.mdice,
        "gain": after.mdice - before.mdice,
        "seconds_per_step": (before.seconds_per_step + after.seconds_per_step) / 2,
        "dice_per_class": {"before": before.dice, "after": after.dice},
        "ihc_strip": {
            "before": before.mdice_ihc,
            "after": after.mdice_ihc,
            "per_class": {"before": before.dice_ihc, "after": after.dice_ihc},
        },
        "area": {"before": before.area, "after": after.area},
        "corrections": [
            {
                "slide": each.region.slide,
                "rect": [each.region.rect.y, each.region.rect.x, *each.region.rect.shape],
                "changed": each.changed,
                "reason": each.region.reason,
            }
            for each in corrections
        ],
        "pictures": pictures,
    }


def verdict(report: dict[str, Any]) -> str:
    """Say in plain words whether the second round is better."""
    before, after = 100 * report["dice_before"], 100 * report["dice_after"]
    figures = f"Held-out Dice: {before:.1f} before, {after:.1f} after"
    if after > before:
        return f"{figures}: the second round is better by {after - before:.1f}."
    return (
        f"{figures}: the second round is NOT better this time ({after - before:+.1f}). "
        f"Another seed, or more steps, may show another picture; this is what was measured."
    )


def control_sentence(report: dict[str, Any]) -> str:
    """Say how much of the gain is the corrections'."""
    control, after = 100 * report["dice_control"], 100 * report["dice_after"]
    return (
        f"Trained on without corrections: {control:.1f}. "
        f"The corrections themselves brought {after - control:+.1f}."
    )


def run_seeds(plan: Plan, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the demo once a seed, each in a folder of its own; return means, SDs and every run."""
    runs = []
    for seed in seeds:
        say(f"\n=== Seed {seed} ===")
        runs.append(run_demo(replace(plan, seed=seed, out=plan.out / f"seed-{seed}")))
    report: dict[str, Any] = {"seeds": list(seeds), "runs": runs}
    keys = (
        "dice_before",
        "dice_after",
        "gain",
        "dice_control",
        "seconds_per_step",
        "seconds_total",
    )
    for key in (key for key in keys if key in runs[0]):
        values = [run[key] for run in runs]
        report[key] = statistics.fmean(values)
        report[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
    report["pictures"] = runs[0]["pictures"]
    say(f"\nOver seeds {', '.join(map(str, seeds))} (mean ± SD):")
    for key in ("dice_before", "dice_after", "gain", "dice_control"):
        if key in report:
            say(f"  {key:12} {100 * report[key]:.1f} ± {100 * report[f'{key}_sd']:.1f}")
    return report


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The whole loop on real and drawn tissue.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", help="several seeds, separated by commas: mean and SD")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="training steps a round")
    parser.add_argument("--side-px", type=int, default=Plan.side_px, help="side of a drawn slide")
    parser.add_argument("--region-px", type=int, default=Plan.region_px, help="side of a region")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for everything written")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="PLACE=VALUE"
    )
    parser.add_argument("--control", action="store_true", help="also train on without corrections")
    parser.add_argument("--no-viewer", action="store_true", help="do not open napari at the end")
    parser.add_argument("--no-screenshot", action="store_true")
    parser.add_argument("--show", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--screenshot", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    chosen = parse(sys.argv[1:] if words is None else words)
    if chosen.show is not None:
        show_project(chosen.show, chosen.screenshot)
        return 0
    plan = Plan(
        out=chosen.out.resolve(),
        seed=chosen.seed,
        steps=chosen.steps,
        side_px=chosen.side_px,
        region_px=chosen.region_px,
        control=chosen.control,
        settings=tuple(chosen.settings),
        screenshot=not chosen.no_screenshot,
    )
    if chosen.seeds:
        report = run_seeds(plan, [int(seed) for seed in chosen.seeds.split(",")])
    else:
        report = run_demo(plan)
    path = plan.out / "report.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    say(f"Figures: {short_path(str(path))}")
    if not chosen.seeds and not chosen.no_viewer and has_display():
        say("Opening napari on the project. Close its window to end.")
        subprocess.run([sys.executable, __file__, "--show", str(plan.project)], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
