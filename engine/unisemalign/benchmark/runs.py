"""A benchmark's runs: one a seed, each in a folder of its own, read where it is there already."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unisemalign.benchmark.report import write_report
from unisemalign.benchmark.report_content import benchmark_round, gather_content, report_progress
from unisemalign.benchmark.spread import SCORED_AT, spread_over_seeds
from unisemalign.datasets import DataSet, read_dataset
from unisemalign.errors import ProjectError, SettingsError, WeightsError
from unisemalign.project import Project, Split
from unisemalign.project.locks import ProcessLock
from unisemalign.protocol import Message, RoundLayout, RunScores, Start, TestScores
from unisemalign.runtime import Events
from unisemalign.runtime.files import read_json, write_json
from unisemalign.runtime.results import check_results
from unisemalign.settings import ModelSettings, Settings, build_settings

if TYPE_CHECKING:
    from unisemalign.inference import Predictor

_EVERYWHERE = ("inference.skip_glass=false",)
"""Published masks judge every pixel, glass too."""
_LENGTH = ("training.steps=1000",)
"""Of `recommended`, trained once and from nothing; a person's rounds are shorter and add up."""
_LENGTH_20 = ("training.steps=1120", "training.validate_every=14")
"""80 epochs of 59 unlabelled images, 4 a step (methods.md A6). The presets say 1280, for 10 %."""
_TESTS = ("best_test", "last_test")


def benchmark_settings(
    fraction: int,
    preset: str = "recommended",
    method: str | None = None,
    overrides: Sequence[str] = (),
) -> Settings:
    """Return ``build_settings`` of the others, with the length of a benchmark's run.

    ``recommended`` takes 1000 steps. ``paper`` and ``released`` count epochs: 1280 steps on GlaS
    10 %, 1120 on GlaS 20 %, one validation an epoch (methods.md A6). Every pixel is scored,
    glass too. ``overrides`` such as ``training.steps=200`` win.

    Raises
    ------
    SettingsError
        As ``build_settings``.
    """
    length: tuple[str, ...] = _LENGTH if preset == "recommended" else ()
    if fraction == 20 and preset in {"paper", "released"}:
        length = _LENGTH_20
    return build_settings(preset, method, [*_EVERYWHERE, *length, *overrides])


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

    Each run lives in a folder of its own under ``out``, named after its settings and the partition:
    a run that is there already is read, one that was interrupted goes on. The weights of each run's
    best and last step are scored on the test images too where ``data`` holds them, now or at a
    later call; where they cannot be read any more, that is told and the run counts without.

    Returns
    -------
    dict
        What was run, ``spread_over_seeds`` of it, ``best`` and ``last`` (its val mDice), and
        ``runs``: seed, folder and scores of each. ``report``: where it lies as a page.

    Raises
    ------
    BusyError
        If another process makes one of these runs right now.
    DataError
        For an unknown data set, fraction, or a folder that does not hold it; or where the report
        would write over something else.
    SettingsError
        If the settings name a seed, encoder or text tower that differs from what is given here.
    """
    found = read_dataset(dataset, data, fraction)
    if found.remark:
        events.emit(Message(text=found.remark))
    settings = _with_towers(settings, encoder, text)
    report = f"{found.tag}-{settings.preset}-{settings.method.name}"
    report = f"report-{report}-{_digest(settings, f'{found.partition} {seeds}')}.html"
    check_results(out, [report])  # before hours of training
    runs = []
    for seed in seeds:
        mine = settings.model_copy(update={"seed": seed})
        digest = _digest(mine, found.partition)
        name = f"{found.tag}-{mine.preset}-{mine.method.name}-{digest}"
        folder = out / f"{name}-s{seed}"
        scores = _make(folder, found, mine, events)
        events.emit(Message(text=_sentence(seed, scores)))
        runs.append({"seed": seed, "folder": str(folder), **_shown(scores)})
    spread = spread_over_seeds(runs)
    result = {
        "dataset": dataset,
        "fraction": fraction,
        "preset": settings.preset,
        "method": settings.method.name,
        "encoder": encoder,
        "best": spread["best_val"]["mdice"],
        "last": spread["last_val"]["mdice"],
        **spread,
        "runs": runs,
    }
    content = gather_content(result, settings, found, project=_project(found), events=events)
    write_report(out / report, content)
    return {**result, "report": str(out / report)}


def _project(dataset: DataSet) -> str:
    """Return the name of the project in a run's folder."""
    return f"{dataset.name}.unisem"


def _with_towers(settings: Settings, encoder: str, text: str) -> Settings:
    given = {"encoder": encoder, "text": text}
    for name, value in given.items():
        asked = getattr(settings.model, name)
        if asked not in {value, ModelSettings.model_fields[name].default}:
            raise SettingsError(
                f"A benchmark's {name} is chosen with --{name}, found model.{name}={asked}. Write: "
                f"--{name} {asked}."
            )
    if settings.seed:
        raise SettingsError(
            f"A benchmark's seeds are chosen with --seeds, found seed={settings.seed}. Write: "
            f"--seeds {settings.seed}."
        )
    return settings.model_copy(update={"model": settings.model.model_copy(update=given)})


def _digest(settings: Settings, more: str) -> str:
    return hashlib.sha256(f"{settings.model_dump_json()} {more}".encode()).hexdigest()[:10]


def _make(folder: Path, dataset: DataSet, settings: Settings, events: Events) -> RunScores:
    """Return a run's scores, of today's test images alone; train and score what is missing."""
    tests = dataset.tests_digest() if dataset.tests else None
    scores = _read_scores(folder)
    if scores is None or not _are_scored(scores, tests):
        busy = f"'{folder.name}' is being made by {{holder}}. Wait for it, or choose another --out."
        with ProcessLock(folder / "making.lock", busy).held():
            scores = _read_scores(folder)  # again: somebody may have finished it meanwhile
            if scores is None:
                root, model = folder / _project(dataset), settings.model
                with dataset.open_study(root, model.encoder, model.text) as project:
                    scores = _train(project, settings, events)
                _write_scores(folder, scores)
            if not _are_scored(scores, tests):
                scores = _score_tests(folder, scores, dataset, settings, events)
    return scores if scores.tests == tests else _untested(scores, None)


def _read_scores(folder: Path) -> RunScores | None:
    """Return what a run noted; ``None`` where it is absent, torn, or edited into something else."""
    try:
        scores = RunScores.model_validate(read_json(RoundLayout(folder).scores))
    except ValidationError:
        return None
    defined = [at is not None and at.mdice is not None for at in (scores.best_val, scores.last_val)]
    return scores if all(defined) else None


def _write_scores(folder: Path, scores: RunScores) -> None:
    write_json(RoundLayout(folder).scores, scores.model_dump(mode="json"))


def _untested(scores: RunScores, tests: str | None) -> RunScores:
    """Return ``scores`` without those on test images; ``tests`` is the hash of today's."""
    return scores.model_copy(update={**dict.fromkeys(_TESTS), "tests": tests})


def _are_scored(scores: RunScores, tests: str | None) -> bool:
    """Tell whether these test images were scored, as far as the weights were there."""
    done = [getattr(scores, place) is not None for place in _TESTS]
    return tests is None or (scores.tests == tests and all(done))


def _shown(scores: RunScores) -> dict[str, Any]:
    """Return the scores of a run as JSON values, without what is absent."""
    values = scores.model_dump(mode="json", exclude={"version", "tests"})
    return {name: value for name, value in values.items() if value is not None}


def _train(project: Project, settings: Settings, events: Events) -> RunScores:
    """Train the project's one round, or go on with it, or read it; return its scores."""
    from unisemalign.training import train_round, unfinished_round

    made = benchmark_round(project)
    if made is None:
        # A round that failed before its first checkpoint has nothing to go on with: begin anew.
        resume = unfinished_round(project) is not None
        made = train_round(project, settings, resume=resume, events=events)
    if made.scores is None:
        raise ProjectError(
            f"Round {made.number} of '{project.root}' is done without scores. Delete that folder "
            f"to train it again."
        )
    return RunScores(**made.scores.model_dump())


def _score_tests(
    folder: Path, scores: RunScores, dataset: DataSet, settings: Settings, events: Events
) -> RunScores:
    """Return and note the scores with those on the test images; what cannot be scored is told.

    The images lie in a project of their own for as long as they are scored: the run's own may hold
    others that a person scores with it.
    """
    from unisemalign.inference import score_split

    digest = dataset.tests_digest()
    if scores.tests != digest:  # of other images
        scores = _untested(scores, digest)
    root = folder / "tests.unisem"
    shutil.rmtree(root, ignore_errors=True)  # of a killed process
    try:
        with (
            Project.open(folder / _project(dataset)) as project,
            dataset.create_tests(root) as tests,
        ):
            for place in (each for each in _TESTS if getattr(scores, each) is None):
                try:
                    predictor, about = _predictor(project, place, settings.device)
                except (ProjectError, WeightsError) as error:  # the other figures stand without
                    events.emit(Message(text=f"Not scored: {SCORED_AT[place]}. {error}"))
                    continue
                events.emit(Start(what=f"Scoring {SCORED_AT[place]}", total=len(dataset.tests)))
                found = score_split(tests, predictor, Split.TEST, on_region=report_progress(events))
                at = TestScores.model_validate({**about, **found.summary()})
                scores = scores.model_copy(update={place: at})
                _write_scores(folder, scores)
    except ProjectError as error:
        events.emit(Message(text=f"Not scored: test images. {error}"))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return scores


def _predictor(project: Project, place: str, device: str) -> tuple[Predictor, dict[str, Any]]:
    """Return the predictor with the weights of the best or the last step, and what step that is."""
    from unisemalign.inference import Predictor, load_predictor
    from unisemalign.runtime.device import choose_device
    from unisemalign.training import last_network

    made = benchmark_round(project)
    if made is None:
        raise ProjectError(
            "Scoring a run needs a finished round in its project, found none. Delete the run's "
            "folder to train it anew."
        )
    if place == "best_test":
        return load_predictor(project, made.number, [f"device={device}"])[0], {}
    network, used, step = last_network(made.folder)
    where = choose_device(device)
    return Predictor(network.to(where), used, where), {"step": step}


def _sentence(seed: int, scores: RunScores) -> str:
    found = {words: getattr(scores, place) for place, words in SCORED_AT.items()}
    parts = [f"{words} {100 * at.mdice:.2f}" for words, at in found.items() if at is not None]
    return f"seed {seed}, mDice: {'; '.join(parts)}"
