"""The verbs: open (new, add) → segment → review (queue) → train → export."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from unisemalign.benchmark import (
    SCORED_AT,
    benchmark_settings,
    parse_seeds,
    run_benchmark,
    spread_text,
)
from unisemalign.cli.output import (
    FAILED,
    choose_events,
    errors_as_sentences,
    open_project,
    say,
    say_done,
)
from unisemalign.cli.queueing import queue_done
from unisemalign.cli.segmenting import segment_elsewhere, segment_here, tell_results
from unisemalign.errors import DataError, SettingsError
from unisemalign.exchange import Format, Source, What, export_labels, plan_export, planned_sentence
from unisemalign.geometry import parse_point, parse_rect
from unisemalign.metrics import SCORE_NAMES
from unisemalign.project import Cleaning, Project, RegionState, Round, Split
from unisemalign.project.cleaning import MOST_PX
from unisemalign.protocol import (
    AddDone,
    AddedSlide,
    BenchmarkDone,
    EvaluateDone,
    ExportDone,
    InfoDone,
    Message,
    NewDone,
    Progress,
    RelocateDone,
    SplitScores,
    Start,
    WeightsCheckDone,
    WeightsListDone,
)
from unisemalign.runtime import CancelToken, Events, SilentEvents, cancel_on_signals
from unisemalign.settings import METHODS, PRESETS, Settings, build_settings
from unisemalign.weights import PUBLISHED, is_here, spacing_advice

app = typer.Typer(
    name="unisemalign",
    help="Teach a computer to segment histology slides: open → segment → review → train → export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
weights_app = typer.Typer(
    help="Published weights: what is here, fetch, prove.", no_args_is_help=True
)
app.add_typer(weights_app, name="weights")

ProjectPath = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PLACE=VALUE", help="A setting, e.g. training.steps=200."),
]
Preset = Annotated[str, typer.Option(help=f"A complete set of numbers: {', '.join(PRESETS)}.")]
MethodName = Annotated[
    str | None, typer.Option("--method", help=f"How tissue is used: {', '.join(METHODS)}.")
]

MinObject = Annotated[
    int, typer.Option(min=0, max=MOST_PX, help="Predicted patches below this are dropped.")
]
MinHole = Annotated[
    int, typer.Option(min=0, max=MOST_PX, help="Predicted holes below this are filled.")
]
Smooth = Annotated[
    int, typer.Option(min=0, max=50, help="Radius of the most frequent class, in pixels.")
]
ClassMap = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="THEIRS=OURS", help="A class of outlines; '' leaves it out."),
]

ENCODER_HELP = "embedded, a name of 'weights list', a timm name, or NAME=PATH."
TEXT_HELP = "free, a name of 'weights list', an open_clip name, or NAME=PATH."


@app.command()
def info(
    project: Annotated[
        Path | None, typer.Argument(metavar="[PROJECT]", help="Say more about this project.")
    ] = None,
    as_json: AsJson = False,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting.")] = False,
) -> None:
    """Print versions, devices and the encoders at hand."""
    if settings:
        return _list_settings(as_json)
    with errors_as_sentences(as_json):
        about = _about_project(project) if project else None
    import torch

    names = ("napari-unisemalign", "torch", "timm", "open_clip_torch", "napari", "zarr", "numpy")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    report = InfoDone(
        versions={"python": platform.python_version(), **{n: _version(n) for n in names}},
        devices=("cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])),
        cores=os.cpu_count(),
        encoders=_at_hand("encoder", "timm"),
        text=_at_hand("text", "open_clip"),
        presets=PRESETS,
        methods=METHODS,
        project=about,
    )
    if as_json:
        return say_done(report)
    for name, value in report.fields().items():
        if name in {"event", "verb"} or value is None:
            continue
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for key, item in inner:
            text = ", ".join(item) if isinstance(item, list) else item
            say(f"{name:10} {key:20} {text}")
    return None


@app.command()
def new(
    project: ProjectPath,
    classes: Annotated[
        str, typer.Option(help="Class names, separated by commas: background,gland.")
    ],
    spacing_um: Annotated[
        float, typer.Option(min=0.01, max=100, help="Working pixel size in µm.")
    ] = 0.5,
    encoder: Annotated[str, typer.Option(help=ENCODER_HELP)] = "embedded",
    text: Annotated[str, typer.Option(help=TEXT_HELP)] = "free",
    as_json: AsJson = False,
) -> None:
    """Make a project."""
    with errors_as_sentences(as_json):
        names = [name.strip() for name in classes.split(",")]
        made = Project.create(
            project, classes=names, spacing_um=spacing_um, encoder=encoder, text=text
        )
        with made:
            report = NewDone(project=str(made.root), classes=tuple(names), spacing_um=spacing_um)
    if as_json:
        return say_done(report)
    say(f"Made '{project}' with {len(names)} classes at {spacing_um} µm/px.")
    if advice := spacing_advice(encoder, spacing_um, Settings().model.zoom):
        say(advice)
    if encoder == "embedded":
        say("Its encoder knows colon glands and goes on learning, with the head, from your tissue.")
    if text == "free":
        say("No text tower: classes are free vectors, their names are not read.")
    say(f"Next: unisemalign add {project} SLIDE…")
    return None


@app.command()
def add(
    project: ProjectPath,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Slides or folders.")],
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder with a mask, GeoJSON or XML of the same name for each slide."),
    ] = None,
    split: Annotated[Split, typer.Option(help="What the slides are for.")] = Split.TRAIN,
    spacing_um: Annotated[
        float | None,
        typer.Option(min=0.01, max=100, help="Pixel size of slides that state none, in µm."),
    ] = None,
    series: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Of files with several images: this, not the largest."
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile/--no-profile", help="Apply colour profiles (ICC).")
    ] = True,
    mapping: ClassMap = None,
    as_json: AsJson = False,
) -> None:
    """Add slides, and masks that label them, to a project."""
    from unisemalign.cli.adding import add_slides
    from unisemalign.cli.importing import parse_mapping

    with errors_as_sentences(as_json), open_project(project) as opened:
        added = add_slides(
            opened,
            paths,
            masks,
            split,
            spacing_um,
            choose_events(as_json),
            series=series,
            profile=profile,
            mapping=parse_mapping(mapping or []),
        )
    labelled = sum(1 for each in added if each["labelled"])
    if as_json:
        say_done(AddDone(slides=tuple(AddedSlide(**each) for each in added)))
    else:
        say(f"Added {len(added)} slides ({labelled} labelled) for {split.value}.")


@app.command("import")
def import_(
    project: ProjectPath,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Masks, GeoJSON, ImageScope's or ASAP's XML."),
    ],
    slide: Annotated[
        str | None, typer.Option(help="The slide of a single file that is not called like it.")
    ] = None,
    mapping: ClassMap = None,
    as_json: AsJson = False,
) -> None:
    """Take labels made elsewhere: files called like their slides, whole or not at all."""
    from unisemalign.cli.importing import import_files

    with errors_as_sentences(as_json), Project.open(project) as opened:
        done = import_files(opened, paths, slide, mapping or [], choose_events(as_json))
    if as_json:
        say_done(done)
    else:
        for each in done.files:
            say(f"'{each.slide}': {each.regions} regions from {each.path}.")


@app.command()
def relocate(project: ProjectPath, name: str, path: Path, as_json: AsJson = False) -> None:
    """Tell a project where a slide that was moved is now."""
    with errors_as_sentences(as_json), open_project(project) as opened:
        opened.relocate_slide(name, path)
    if as_json:
        say_done(RelocateDone(slide=name, path=str(path)))
    else:
        say(f"'{name}' is now {path}.")


@app.command()
def recover(project: ProjectPath, as_json: AsJson = False) -> None:
    """Put labels back that the journal holds and the project's folder has lost."""
    from unisemalign.cli.recovering import recover_labels, sentences

    with errors_as_sentences(as_json), open_project(project) as opened:
        done = recover_labels(opened)
    if as_json:
        return say_done(done)
    for line in sentences(done):
        say(line)
    return None


@app.command()
def tissue(
    project: ProjectPath,
    slide: str,
    mask_out: Annotated[
        Path | None, typer.Option("--export", metavar="MASK.png", help="Write it, white = tissue.")
    ] = None,
    mask_in: Annotated[
        Path | None,
        typer.Option("--import", metavar="MASK", help="Correct it by a black and white image."),
    ] = None,
    as_found: Annotated[bool, typer.Option("--as-found", help="Forget the correction.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell how much of a slide is tissue; the rest (glass, pen, folds) is skipped everywhere."""
    from unisemalign.cli.tissue import look_at_tissue, sentence

    with errors_as_sentences(as_json), open_project(project) as opened:
        done = look_at_tissue(opened, slide, mask_in=mask_in, mask_out=mask_out, as_found=as_found)
    say_done(done) if as_json else say(sentence(done))


@app.command()
def segment(
    project: ProjectPath,
    slides: Annotated[list[str] | None, typer.Argument(metavar="[SLIDE…]")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="Y,X,H,W", help="Only this, in working pixels.")
    ] = None,
    focus: Annotated[
        str | None, typer.Option(metavar="Y,X", help="Begin near this working pixel.")
    ] = None,
    round_number: Annotated[
        int | None, typer.Option("--round", help="Use this round's model, not the newest.")
    ] = None,
    overrides: Overrides = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS|local", help="Share the slides out to a Dask cluster."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Segment slides with the newest round's model. What is finished is not done again."""
    with errors_as_sentences(as_json), open_project(project) as opened:
        rect = parse_rect(region) if region else None
        if rect and len(slides or []) != 1:
            raise DataError("A region wants exactly one slide. Name it: segment PROJECT SLIDE.")
        near = parse_point(focus) if focus else None
        if near and len(slides or []) != 1:
            raise DataError("A focus wants exactly one slide. Name it: segment PROJECT SLIDE.")
        if dask and (rect or near):
            raise DataError("--dask labels whole slides. Leave --region and --focus out.")
        names = slides or [record.name for record in opened.slides()]
        known = [opened.slide(name).name for name in names]
        events = choose_events(as_json)
        with cancel_on_signals(CancelToken()) as token:
            if dask:
                results = segment_elsewhere(
                    opened, known, round_number, overrides or [], dask, events, token
                )
            else:
                results = segment_here(
                    opened, known, round_number, overrides or [], rect, near, events, token
                )
            tell_results(opened, len(known), results, events, as_json=as_json)


@app.command()
def guess(
    project: ProjectPath,
    slides: Annotated[list[str] | None, typer.Argument(metavar="[SLIDE…]")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="Y,X,H,W", help="Only this, in working pixels.")
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare tissue with class words; NAME or NAME=PATH."),
    ] = None,
    clusters: Annotated[
        int | None, typer.Option(min=2, max=30, metavar="K", help="Find K clusters anew.")
    ] = None,
    names: Annotated[
        str | None, typer.Option(metavar="1=CLASS,2=none,…", help="Name the clusters there are.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the clustering.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a first map before anything is labelled: from words, or from clusters you name.

    Words want a vision-language pair whose weights are here (conch, plip, quiltnet-b-16, …).
    Without one, tissue that looks alike is gathered into clusters; --names says what they are.
    """
    from unisemalign.cli.guessing import make_guess, parse_names, sentences

    with errors_as_sentences(as_json), open_project(project) as opened:
        events = choose_events(as_json)
        with cancel_on_signals(CancelToken()) as token:
            done = make_guess(
                opened,
                slides or [],
                parse_rect(region) if region else None,
                words=words,
                clusters=clusters,
                names=parse_names(names) if names else None,
                seed=seed,
                events=events,
                cancel=token,
            )
        events.emit(done)
        if not as_json:
            for line in sentences(done, project):
                say(line)


@app.command()
def queue(
    project: ProjectPath,
    count: Annotated[int, typer.Option(min=1, max=1000)] = 10,
    size_px: Annotated[int, typer.Option(min=32, max=4096, help="Side of a region.")] = 256,
    as_json: AsJson = False,
) -> None:
    """List the regions most worth a look, best first, with the reason."""
    from unisemalign.active import rank_regions

    with errors_as_sentences(as_json), open_project(project) as opened:
        found = opened.doubting_round()
        if found is None:
            raise DataError(
                "The queue wants a segmented slide, this project has no trained round yet. "
                "Label a region, train, then segment; or make a first guess and name its clusters: "
                "unisemalign guess."
            )
        regions = rank_regions(
            opened, found.number, count=count, size_px=size_px, events=choose_events(as_json)
        )
    if as_json:
        return say_done(queue_done(found.number, regions))
    for r in regions:
        say(f"{r.score:.3f}  {r.slide}  {r.rect}  {r.reason}")
    if not regions:
        say("Nothing is left to doubt: every predicted region is labelled, skipped or held out.")
    return None


@app.command()
def train(
    project: ProjectPath,
    preset: Annotated[
        str | None, typer.Option(help=f"A complete set of numbers: {', '.join(PRESETS)}.")
    ] = None,
    method: MethodName = None,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a round that was stopped or killed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a round from the labelled and the unlabelled tissue.

    On several GPUs or machines: accelerate launch -m unisemalign train PROJECT …
    """
    with errors_as_sentences(as_json), open_project(project) as opened:
        from unisemalign.training import gather_team, train_round

        team = gather_team()
        events = choose_events(as_json) if team.rank == 0 else SilentEvents()
        settings = None
        if not resume:
            settings = build_settings(preset or PRESETS[0], method, overrides or [])
            _advise(opened, settings, events)
        elif preset or method or overrides:
            raise SettingsError(
                "--resume goes on with the settings the round was started with, found --preset, "
                "--method or --set too. Leave them out."
            )
        if hasattr(os, "nice"):
            os.nice(10)  # the viewer and the person come first

        done = train_round(opened, settings, resume=resume, events=events, team=team)
    if not as_json and team.rank == 0:
        say(_round_sentence(done))


@app.command()
def evaluate(
    project: ProjectPath,
    split: Annotated[Split, typer.Option(help="Which held-out regions.")] = Split.VAL,
    round_number: Annotated[int | None, typer.Option("--round")] = None,
    overrides: Overrides = None,
    min_object_px: MinObject = 0,
    min_hole_px: MinHole = 0,
    smooth_px: Smooth = 0,
    as_json: AsJson = False,
) -> None:
    """Score a round's model on held-out regions."""
    with errors_as_sentences(as_json), open_project(project) as opened:
        from unisemalign.inference import load_predictor, score_split

        predictor, found = load_predictor(opened, round_number, overrides or [])
        if not opened.regions(state=RegionState.ACCEPTED, split=split):
            raise DataError(
                f"Scoring wants labelled regions of the split '{split.value}', found none. Add "
                f"slides with --masks and --split {split.value}, or hold a region out."
            )
        events = choose_events(as_json)
        events.emit(Start(what=f"Scoring {split.value}"))
        with cancel_on_signals(CancelToken()) as token:

            def on_region(done: int, total: int) -> None:
                token.check()
                events.emit(Progress(done=done, total=total))

            cleaning = Cleaning(min_object_px, min_hole_px, smooth_px)
            counted = score_split(opened, predictor, split, on_region=on_region, cleaning=cleaning)
        scores = SplitScores.model_validate(counted.summary())
        events.emit(EvaluateDone(round=found.number, split=split.value, **scores.model_dump()))
    if not as_json:
        names = [c.name for c in opened.info.classes]
        say(f"Round {found.number} on {scores.images} regions of {split.value}:")
        for key, words in SCORE_NAMES.items():
            say(f"  {words:18} {_percent(getattr(scores, key))}")
        for name, value in zip(names, scores.dice_per_class, strict=True):
            say(f"  Dice {name:13} {_percent(value)}")


@app.command()
def export(
    project: ProjectPath,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    fmt: Annotated[Format, typer.Option("--format", help="What to write.")] = "png",
    source: Annotated[
        Source, typer.Option(help="best: labels where there are any, else the prediction.")
    ] = "best",
    slides: Annotated[list[str] | None, typer.Argument(metavar="[SLIDE…]")] = None,
    what: Annotated[
        What, typer.Option(help="confidence, disagreement, origin: as png, ome-tiff, ome-zarr.")
    ] = "class",
    min_object_px: MinObject = 0,
    min_hole_px: MinHole = 0,
    smooth_px: Smooth = 0,
    as_json: AsJson = False,
) -> None:
    """Write masks and outlines other programs read; say first what of each slide is written."""
    with errors_as_sentences(as_json), open_project(project) as opened:
        events = choose_events(as_json)
        cleaning = Cleaning(min_object_px, min_hole_px, smooth_px)
        plan = plan_export(opened, fmt, source=source, slides=slides, cleaning=cleaning, what=what)
        for each in plan.slides:
            events.emit(Message(text=planned_sentence(each), slide=each.slide))
        paths = export_labels(
            opened,
            out,
            fmt,
            source=source,
            slides=slides,
            cleaning=cleaning,
            what=what,
            plan=plan,
            events=events,
        )
    if as_json:
        files = tuple(str(path) for path in paths)
        return say_done(ExportDone(files=files, slides=plan.slides, left_out=plan.left_out))
    for path in paths:
        say(str(path))
    return None


@app.command()
def benchmark(
    dataset: Annotated[str, typer.Argument(metavar="glas", help="Which benchmark.")],
    data: Annotated[Path, typer.Option(help="Folder with images/, masks/ and splits.toml.")],
    fraction: Annotated[int, typer.Option(help="Share of labelled images: 10 or 20.")] = 10,
    preset: Preset = "recommended",
    method: MethodName = None,
    encoder: Annotated[str, typer.Option(help=ENCODER_HELP)] = "embedded",
    text: Annotated[str, typer.Option(help=TEXT_HELP)] = "free",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    out: Annotated[Path, typer.Option(help="Folder for the runs; they resume.")] = Path("runs"),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train and score on a public benchmark: mean ± sample standard deviation (n − 1) over seeds.

    Test images (test* in images/ and masks/, or 'test' in splits.toml) are scored where there are
    any. The preset recommended takes 1000 steps, paper and released 80 epochs: 1280 steps at 10 %,
    1120 at 20 %.
    """
    with errors_as_sentences(as_json):
        events = choose_events(as_json)
        report = run_benchmark(
            dataset,
            data,
            fraction,
            benchmark_settings(fraction, preset, method, overrides or []),
            encoder=encoder,
            text=text,
            seeds=parse_seeds(seeds),
            out=out,
            events=events,
        )
        events.emit(BenchmarkDone(**report))
    if as_json:
        return
    say(f"{dataset} {fraction} %, {preset}, {report['method']}, seeds {seeds}:")
    places = [place for place in SCORED_AT if place in report]
    say(f"  {'':18}" + "".join(f"{SCORED_AT[place]:18}" for place in places).rstrip())
    for key, words in SCORE_NAMES.items():
        row = "".join(f"{spread_text(report[place][key]):18}" for place in places)
        say(f"  {words:18}{row.rstrip()}")
    say(f"  {'seconds per step':18}{spread_text(report['seconds_per_step'], 3)}")
    say(f"  {'report':18}{report['report']}")


@app.command()
def serve(project: ProjectPath, overrides: Overrides = None) -> None:
    """Answer a viewer's requests: JSON lines in, events out."""
    with errors_as_sentences(as_json=True), open_project(project) as opened:
        from unisemalign.cli.serving import serve_requests

        serve_requests(opened, overrides or [])


@weights_app.command("list")
def weights_list(as_json: AsJson = False) -> None:
    """List encoders and text towers: what is here, what wants a licence, the disk each takes."""
    from unisemalign.cli.weights import list_weights, state_of

    rows = list_weights()
    if as_json:
        return say_done(WeightsListDone(weights=tuple(rows)))
    for row in rows:
        size = f"{row['megabytes']:.0f} MB" if row["megabytes"] else ""
        speed = row["speed"] or ""
        say(
            f"{row['name']:18} {row['kind']:8} {size:>8}  {speed:7} {row['licence']:21} "
            f"{state_of(row)}"
        )
    say("Any other timm (encoder) or open_clip (text) name works too, and NAME=PATH for your file.")
    return None


@weights_app.command("get")
def weights_get(name: str, as_json: AsJson = False) -> None:
    """Fetch published weights once; they work offline from then on. The one verb that goes online.

    A download that broke off goes on where it stopped; what arrives is checked by its hash.
    """
    from unisemalign.cli.weights import get_weights

    events = choose_events(as_json)
    with errors_as_sentences(as_json):
        got = get_weights(name, events)
    events.emit(got)
    if not as_json:
        for file in got.files:
            say(f"{file.file}: {file.megabytes} MB, SHA-256 {file.sha256}")
        if got.here:
            say(f"'{name}' is here now. Next: unisemalign weights check {name}")


@weights_app.command("check")
def weights_check(names: list[str], as_json: AsJson = False) -> None:
    """Load weights by name and shape, and run one forward pass."""
    from unisemalign.cli.weights import check_all

    with errors_as_sentences(as_json):
        rows = check_all(names)
    if as_json:
        say_done(WeightsCheckDone(weights=tuple(rows)))
    for row in [] if as_json else rows:
        if row["ok"]:
            shapes = " and ".join("×".join(map(str, shape)) for shape in row["outputs"])
            say(
                f"{row['name']}: loads and runs; gives {shapes}; "
                f"{row['parameters'] / 1e6:.1f} million parameters; loaded in "
                f"{row['seconds_to_load']} s, ran in {row['seconds']} s"
            )
        else:
            sys.stderr.write(f"{row['name']}: {row['text']}\n")
    if not all(row["ok"] for row in rows):
        raise SystemExit(FAILED)


def _at_hand(kind: str, others: str) -> dict[str, str]:
    """Say of each entry of the registry whether it can be used now."""
    rows = {}
    for entry in PUBLISHED:
        if entry.kind == kind:
            get = f"'unisemalign weights get {entry.name}'"
            wants = f"{get} after accepting its licence" if entry.gated else get
            rows[entry.name] = "here" if is_here(entry) else wants
    return {**rows, others: "any model by name; its weights must have been fetched"}


def _about_project(path: Path) -> dict[str, Any]:
    with open_project(path) as opened:
        about = opened.info
    advice = spacing_advice(about.encoder, about.spacing_um, Settings().model.zoom)
    return {
        "classes": [c.name for c in about.classes],
        "spacing_um": about.spacing_um,
        "encoder": about.encoder,
        "text": about.text,
        **({"advice": advice} if advice else {}),
    }


def _advise(project: Project, settings: Settings, events: Events) -> None:
    """Tell when the encoder will see another pixel size than it was trained at."""
    about = project.info
    if advice := spacing_advice(about.encoder, about.spacing_um, settings.model.zoom):
        events.emit(Message(text=advice))


def _list_settings(as_json: bool) -> None:
    tree = Settings().model_dump(mode="json")
    if as_json:
        return say_done(InfoDone(settings=tree))
    for section, value in tree.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                say(f"{section}.{key} = {inner}")
        else:
            say(f"{section} = {value}")
    return None


def _round_sentence(done: Round) -> str:
    scores = done.scores
    if scores is None:
        return f"Round {done.number} is trained."
    score = "" if scores.dice is None else f", best validation Dice {_percent(scores.dice)}"
    return (
        f"Round {done.number} is trained{score}: {scores.seconds:.0f} s, "
        f"{scores.seconds_per_step:.3f} s a step, {scores.wait_per_step:.3f} s of it waiting for "
        f"crops. Next: unisemalign segment PROJECT"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Run the command line. Offline unless the person asks for weights.

    The hub's client reads the variable when it is imported, so it is set before anything else.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["HF_HUB_OFFLINE"] = "0" if sys.argv[1:3] == ["weights", "get"] else "1"
    app()
