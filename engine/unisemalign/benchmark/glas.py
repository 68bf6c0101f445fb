"""GlaS with the UniSemAlign paper's 10 % and 20 % partitions."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisemalign.benchmark.gathering import gather_content
from unisemalign.benchmark.report import write_report
from unisemalign.benchmark.spread import SCORED_AT, spread_over_seeds
from unisemalign.errors import DataError, WeightsError
from unisemalign.exchange import import_mask
from unisemalign.project import Project, RegionState, Split
from unisemalign.runtime import Events
from unisemalign.runtime.files import read_json, write_json
from unisemalign.settings import Settings, build_settings

SPACING_UM = 0.62
"""GlaS is scanned at this pixel size (Sirinukunwattana et al. 2017)."""

_PROJECT = "glas.unisem"
_LENGTH = ("training.steps=1000",)
"""Of `recommended`, trained once and from nothing; a person's rounds are shorter and add up."""
_LENGTH_20 = ("training.steps=1120", "training.validate_every=14")
"""80 epochs of 59 unlabelled images, 4 a step (METHODS A6). The presets' 1280 are those of 10 %."""
_TESTS = {"best_test": "best", "last_test": "last"}
"""Scores on test images: whose weights."""


def benchmark_settings(
    fraction: int,
    preset: str = "recommended",
    method: str | None = None,
    overrides: Sequence[str] = (),
) -> Settings:
    """Return ``build_settings`` of the others, with the length of a benchmark's run.

    ``recommended`` takes 1000 steps. ``paper`` and ``released`` count epochs: 1280 steps on GlaS
    10 %, 1120 on GlaS 20 %, one validation an epoch (METHODS A6). ``overrides`` such as
    ``training.steps=200`` win.

    Raises
    ------
    SettingsError
        As ``build_settings``.
    """
    length: tuple[str, ...] = _LENGTH if preset == "recommended" else ()
    if fraction == 20 and preset in {"paper", "released"}:
        length = _LENGTH_20
    return build_settings(preset, method, [*length, *overrides])


def run_benchmark(
    dataset: str,
    data: Path,
    fraction: int,
    settings: Settings,
    *,
    encoder: str,
    text: str,
    seeds: list[int],
    out: Path,
    events: Events,
) -> dict[str, Any]:
    """Train once a seed and report the scores, mean ± SD in percent (``spread_over_seeds``).

    Each run lives in a folder of its own under ``out``, named after its settings: a run that is
    there already is read, one that was interrupted goes on. The weights of each run's best and
    last step are scored on the test images too where ``data`` holds them, now or at a later call;
    where they cannot be read any more, that is told and the run counts without.

    Returns
    -------
    dict
        What was run, ``spread_over_seeds`` of it, ``best`` and ``last`` (its val mDice), and
        ``runs``: seed, folder and scores of each. ``report``: where it lies as a page.

    Raises
    ------
    DataError
        For an unknown data set, fraction, or a folder that does not hold it.
    """
    if dataset != "glas":
        raise DataError(f"A benchmark wants the name 'glas', found '{dataset}'.")
    part = _partition(data, fraction)
    tests = _test_names(data, part)
    tower = settings.model.model_copy(update={"encoder": encoder, "text": text})
    runs = []
    for seed in seeds:
        mine = settings.model_copy(update={"seed": seed, "model": tower})
        digest = hashlib.sha256(mine.model_dump_json().encode()).hexdigest()[:10]
        folder = out / f"glas{fraction}-{mine.preset}-{mine.method.name}-{digest}-s{seed}"
        scores = read_json(folder / "scores.json")
        if scores is None:
            with _open_glas(folder / _PROJECT, data, part, encoder, text) as project:
                scores = _train(project, mine, events)
            write_json(folder / "scores.json", scores)
        wanted = [p for p in _TESTS if scores.get(p, {}).get("images", 0) < len(tests)]
        if wanted and (folder / _PROJECT).exists():
            with Project.open(folder / _PROJECT) as project:
                _add_tests(project, data, tests)
                for place in wanted:
                    scores |= _score_tests(project, place, settings, events)
                    write_json(folder / "scores.json", scores)
        events.emit("message", text=_sentence(seed, scores))
        runs.append({"seed": seed, "folder": str(folder), **scores})
    spread = spread_over_seeds(runs)
    result = {
        "dataset": dataset,
        "fraction": fraction,
        "preset": settings.preset,
        "method": settings.method.name,
        "encoder": encoder,
        "best": spread["best_val"]["mdice"],
        "last": spread.get("last_val", {}).get("mdice"),
        **spread,
        "runs": runs,
    }
    chosen = settings.model_copy(update={"seed": 0, "model": tower})
    digest = hashlib.sha256(f"{chosen.model_dump_json()} {seeds}".encode()).hexdigest()[:10]
    path = out / f"report-glas{fraction}-{settings.preset}-{settings.method.name}-{digest}.html"
    images = {"labelled": len(part["labeled"]), "unlabelled": len(part["unlabeled"])}
    images |= {"val": len(part["val"]), "test": len(tests)}
    write_report(path, gather_content(result, chosen, images, project=_PROJECT, events=events))
    return {**result, "report": str(path)}


def _train(project: Project, settings: Settings, events: Events) -> dict[str, Any]:
    """Train the project's one round, or go on with it, or read it; return its scores."""
    from unisemalign.training import train_round, unfinished_round

    rounds = project.rounds()
    if rounds and rounds[-1].state == "done":
        return rounds[-1].scores
    # A round that failed before its first checkpoint has nothing to go on with: begin anew.
    resume = unfinished_round(project) is not None
    return train_round(project, settings, resume=resume, events=events).scores


def _sentence(seed: int, scores: dict[str, Any]) -> str:
    parts = [
        f"{words} {100 * scores[place]['mdice']:.2f}"
        for place, words in SCORED_AT.items()
        if scores.get(place)
    ]
    return f"seed {seed}, mDice: {'; '.join(parts)}"


def _add_tests(project: Project, data: Path, names: list[str]) -> None:
    """Add the test images the project lacks, with their masks."""
    there = {record.path.resolve(): record for record in project.slides()}
    for name in names:
        path = _image(data, name)
        record = there.get(path.resolve()) or project.add_slide(
            path, spacing_um=SPACING_UM, split=Split.TEST
        )
        if record.split != Split.TEST:
            raise DataError(
                f"A test image wants to be seen by nothing before, found '{name}' in use for "
                f"{record.split.value}. Take it out of the test images."
            )
        if not project.regions(slide=record.name):
            import_mask(project, record.name, _mask(data, name))


def _score_tests(
    project: Project, place: str, settings: Settings, events: Events
) -> dict[str, dict[str, Any]]:
    """Return the scores of ``place`` on the test images; none, and why, without its weights."""
    from unisemalign.inference import Predictor, load_predictor, score_split
    from unisemalign.training.loop import last_network

    about: dict[str, Any] = {}
    try:
        predictor, found = load_predictor(project, overrides=[f"device={settings.device}"])
        if place == "last_test":
            network, about["step"] = last_network(found.folder)
            device = predictor.device
            predictor = Predictor(network.to(device), predictor.settings, device)
    except WeightsError as error:  # the other figures stand without
        events.emit("message", text=f"Not scored: {SCORED_AT[place]}. {error}")
        return {}
    total = len(project.regions(state=RegionState.ACCEPTED, split=Split.TEST))
    what = f"Scoring the test images, {_TESTS[place]} step"
    events.emit("start", what=what, total=total)

    def on_region(done: int, total: int) -> None:
        events.emit("progress", done=done, total=total)

    scores = score_split(project, predictor, Split.TEST, on_region=on_region)
    return {place: {**about, **scores.summary()}}


def _open_glas(
    root: Path, data: Path, part: dict[str, list[str]], encoder: str, text: str
) -> Project:
    if root.exists():
        return Project.open(root)
    # Made under another name first: a project cut off half way is never trained on.
    making = root.with_name(f"making-{root.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.parent.mkdir(parents=True, exist_ok=True)
    project = Project.create(
        making,
        classes=["background", "gland"],
        spacing_um=SPACING_UM,
        encoder=encoder,
        text=text,
    )
    for names, split, labelled in (
        (part["labeled"], Split.TRAIN, True),
        (part["unlabeled"], Split.TRAIN, False),
        (part["val"], Split.VAL, True),
    ):
        for name in names:
            record = project.add_slide(_image(data, name), spacing_um=SPACING_UM, split=split)
            if labelled:
                import_mask(project, record.name, _mask(data, name))
    project.close()
    making.rename(root)
    return Project.open(root)


def _image(data: Path, name: str) -> Path:
    return data / "images" / f"{name}.png"


def _mask(data: Path, name: str) -> Path:
    return data / "masks" / f"{name}.png"


def _partition(data: Path, fraction: int) -> dict[str, list[str]]:
    path = data / "splits.toml"
    try:
        splits = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"GlaS wants images/, masks/ and splits.toml in '{data}', found no splits.toml. "
            f"Check --data."
        ) from None
    key = f"glas_{fraction}"
    if key not in splits:
        raise DataError(f"GlaS wants a fraction of 10 or 20, found {fraction}.")
    found: dict[str, list[str]] = splits[key]
    return found


def _test_names(data: Path, part: dict[str, list[str]]) -> list[str]:
    """Return the test images ``data`` holds: those the partition names, else ``test*`` (A and B).

    None of them has a mask: nothing is to be scored. Some have none: :class:`DataError`.
    """
    stems = sorted(path.stem for path in (data / "images").glob("test*.png"))
    names = part.get("test", stems)
    missing = [n for n in names if not (_image(data, n).exists() and _mask(data, n).exists())]
    if len(missing) == len(names):
        return []
    if missing:
        raise DataError(
            f"The test split wants an image and a mask for each of its {len(names)} names, found "
            f"{len(missing)} without (first: '{missing[0]}'). Add them to images/ and masks/, or "
            f"take the others away."
        )
    return names
