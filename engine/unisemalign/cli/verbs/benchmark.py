"""``benchmark``: train and score on public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from unisemalign.cli.options import (
    AsJson,
    Encoder,
    Overrides,
    Text,
    parse_folders,
    parse_seeds,
    read_option,
)
from unisemalign.cli.output import FAILED, choose_events, errors_as_sentences, say
from unisemalign.cli.verbs.train import METHOD_HELP, PRESET_HELP
from unisemalign.terms import MAX_REGION_PX, MIN_REGION_PX

if TYPE_CHECKING:
    from unisemalign.benchmark import TableChoice


class BenchmarkGroup(TyperGroup):
    """``benchmark glas`` is ``benchmark dataset glas``: a name that is no command is a data set."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that ``args`` name, and what is left for it."""
        if args[0] not in self.commands:
            args = ["dataset", *args]
        return super().resolve_command(ctx, args)


def dataset(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Data set: glas, luad, lists, …; a name not known lists them all."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Its folder, as it is published.")],
    fraction: Annotated[
        int, typer.Option(min=1, max=100, help="Per cent of labelled images (GlaS: 10 or 20).")
    ] = 10,
    preset: Annotated[str, typer.Option(help=PRESET_HELP)] = "recommended",
    method: Annotated[str | None, typer.Option(help=METHOD_HELP)] = None,
    encoder: Encoder = "embedded",
    text: Text = "free",
    seeds: Annotated[
        str, typer.Option(metavar="N,N,…", help="Seeds, separated by commas.")
    ] = "0,1,2",
    out: Annotated[Path, typer.Option(help="Folder for the runs; they resume.")] = Path("runs"),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train and score on a data set: mean ± sample standard deviation (n − 1) over seeds.

    Test images are scored where there are any (GlaS: test* in images/ and masks/). The preset
    recommended takes 1000 steps, paper and released 80 epochs: 1280 steps at 10 %, 1120 at 20 %.
    """
    listed = read_option(parse_seeds, seeds) or []
    with errors_as_sentences(as_json):
        from unisemalign.benchmark import SCORED_AT, benchmark_settings, run_benchmark, spread_text
        from unisemalign.cli.starting import begin_work
        from unisemalign.metrics import SCORE_NAMES
        from unisemalign.protocol import BenchmarkDone

        begin_work()
        events = choose_events(as_json)
        report = run_benchmark(
            name,
            data,
            fraction,
            benchmark_settings(fraction, preset, method, overrides or []),
            encoder=encoder,
            text=text,
            seeds=listed,
            out=out,
            events=events,
        )
        events.emit(BenchmarkDone(**report))
        if as_json:
            return
        say(f"{dataset}, {preset}, {report['method']}, seeds {seeds}:")
        places = [place for place in SCORED_AT if place in report]
        say(f"  {'':18}" + "".join(f"{SCORED_AT[place]:18}" for place in places).rstrip())
        for key, words in SCORE_NAMES.items():
            row = "".join(f"{spread_text(report[place][key]):18}" for place in places)
            say(f"  {words:18}{row.rstrip()}")
        say(f"  {'seconds per step':18}{spread_text(report['seconds_per_step'], 3)}")
        say(f"  {'report':18}{report['report']}")


def table(
    data: Annotated[
        str,
        typer.Option(metavar="NAME=DIR,…", help="Data sets and their folders."),
    ],
    methods: Annotated[
        str, typer.Option(metavar="NAME,…", help="Methods, separated by commas, or all.")
    ] = "all",
    fraction: Annotated[
        int, typer.Option(min=1, max=100, help="Per cent of labelled images (GlaS: 10 or 20).")
    ] = 10,
    preset: Annotated[str, typer.Option(help=PRESET_HELP)] = "recommended",
    encoder: Encoder = "embedded",
    text: Text = "free",
    seeds: Annotated[
        str, typer.Option(metavar="N,N,…", help="Seeds, separated by commas.")
    ] = "0,1,2",
    at_once: Annotated[
        int,
        typer.Option(min=1, max=64, help="Runs side by side; each has its share of the cores."),
    ] = 1,
    out: Annotated[Path, typer.Option(help="Folder for runs and page; they resume.")] = Path(
        "runs"
    ),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods on several data sets: one table, and a page in --out.

    Encoder, steps, labelled losses, views and inference are the same for all. What is stopped
    goes on when the command is given again. Exit status 1 if a run failed; the others count.
    """
    folders = read_option(parse_folders, data) or {}
    listed = read_option(parse_seeds, seeds) or []
    with errors_as_sentences(as_json):
        from unisemalign.benchmark import TableChoice, make_table
        from unisemalign.cli.starting import begin_work
        from unisemalign.protocol import BenchmarkTableDone
        from unisemalign.runtime import CancelToken, cancel_on_signals
        from unisemalign.settings import METHODS

        begin_work()
        events = choose_events(as_json)
        names = list(METHODS) if methods == "all" else [n.strip() for n in methods.split(",")]
        choice = TableChoice(
            data=folders,
            methods=list(dict.fromkeys(names)),
            seeds=listed,
            out=out,
            fraction=fraction,
            preset=preset,
            encoder=encoder,
            text=text,
            overrides=overrides or [],
            at_once=at_once,
        )
        with cancel_on_signals(CancelToken()) as token:
            result = make_table(choice, events=events, cancel=token)
        events.emit(BenchmarkTableDone(**result))
        if not as_json:
            _say_table(result, choice)
        if result["failed"]:
            raise SystemExit(FAILED)


def effort(
    data: Annotated[
        str,
        typer.Option(metavar="NAME=DIR,…", help="Data sets and their folders."),
    ],
    arms: Annotated[
        str,
        typer.Option(metavar="NAME,…", help="Ways to choose regions: queue, doubt, random."),
    ] = "queue,doubt,random",
    first: Annotated[int, typer.Option(min=1, max=1000, help="Regions to begin with.")] = 2,
    more: Annotated[int, typer.Option(min=1, max=1000, help="Regions of a later round.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Later rounds.")] = 5,
    side: Annotated[
        int, typer.Option(min=MIN_REGION_PX, max=MAX_REGION_PX, help="Side of a region, px.")
    ] = 256,
    forest: Annotated[
        bool, typer.Option(help="A random forest on the queue's pixels beside it (scikit-learn).")
    ] = True,
    preset: Annotated[str, typer.Option(help=PRESET_HELP)] = "recommended",
    encoder: Encoder = "embedded",
    text: Text = "free",
    seeds: Annotated[
        str, typer.Option(metavar="N,N,…", help="Seeds, separated by commas.")
    ] = "0,1,2",
    out: Annotated[Path, typer.Option(help="Folder for studies and page; they resume.")] = Path(
        "runs"
    ),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Measure how much a person's regions bring: the data set's masks answer in their place.

    A round has 200 steps unless --set training.steps says otherwise. Scored is each round's last
    step on the val images, beside a model that was shown every training image whole.
    """
    folders = read_option(parse_folders, data) or {}
    listed = read_option(parse_seeds, seeds) or []
    with errors_as_sentences(as_json):
        from unisemalign.benchmark import ARMS, EffortChoice, measure_effort
        from unisemalign.cli.starting import begin_work
        from unisemalign.errors import SettingsError
        from unisemalign.protocol import BenchmarkEffortDone
        from unisemalign.runtime import CancelToken, cancel_on_signals

        begin_work()
        events = choose_events(as_json)
        names = [name.strip() for name in arms.split(",")]
        chosen = [arm for arm in ARMS if arm in names]
        if unknown := [name for name in names if name not in ARMS]:
            raise SettingsError(
                f"A way to choose regions needs to be one of {', '.join(ARMS)}, found "
                f"'{unknown[0]}'."
            )
        choice = EffortChoice(
            data=folders,
            seeds=listed,
            out=out,
            arms=chosen,
            first=first,
            more=more,
            rounds=rounds,
            side_px=side,
            forest=forest,
            preset=preset,
            encoder=encoder,
            text=text,
            overrides=overrides or [],
        )
        with cancel_on_signals(CancelToken()) as token:
            result = measure_effort(choice, events=events, cancel=token)
        events.emit(BenchmarkEffortDone(**result))
        if not as_json:
            _say_effort(result)


def _say_effort(result: dict[str, Any]) -> None:
    from unisemalign.benchmark import enough_text, spread_text

    for row in result["rows"]:
        say(f"{row['dataset']}, {row['arm']}; the whole pool: {spread_text(row['full'])}")
        for point in row["points"]:
            share = f"{point['share']:.2f} % of the pixels"
            say(f"  {point['regions']:5g} regions  {share:22}  {spread_text(point['mdice'])}")
        say(f"  regions to arrive: {enough_text(row)}")
    say(f"Page: {result['report']}")


def _say_table(result: dict[str, Any], choice: TableChoice) -> None:
    from unisemalign.benchmark import row_scores
    from unisemalign.datasets import read_dataset

    for name, folder in choice.data.items():
        objects = read_dataset(name, folder, choice.fraction).objects
        rows = [row for row in result["rows"] if row["dataset"] == name]
        shown = [row_scores(row, objects) for row in rows]
        columns = list(dict.fromkeys(column for each in shown for column in each))
        say(f"{name}: " + " | ".join(["method", *columns]))
        for row, texts in zip(rows, shown, strict=True):
            say(" | ".join([f"{row['method']:16}", *(texts.get(c, "–") for c in columns)]))
            for seed, sentence in row["failed"].items():
                say(f"  seed {seed} failed: {sentence}")
    say(f"Page: {result['report']}")
