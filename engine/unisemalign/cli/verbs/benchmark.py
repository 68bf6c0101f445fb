"""``benchmark``: train and score on a public data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unisemalign.cli.options import AsJson, Encoder, Overrides, Text, parse_seeds, read_option
from unisemalign.cli.output import choose_events, errors_as_sentences, say
from unisemalign.cli.verbs.train import METHOD_HELP, PRESET_HELP


def benchmark(
    dataset: Annotated[
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
            dataset,
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
