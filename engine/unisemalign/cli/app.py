"""The verbs: open (new, add) → segment → review (queue) → train → export."""

from __future__ import annotations

import typer

from unisemalign.cli.verbs import (
    benchmark,
    export,
    info,
    model,
    project,
    rounds,
    segment,
    train,
    weights,
)

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

benchmark_app = typer.Typer(
    cls=benchmark.BenchmarkGroup,
    help="Train and score on public data sets: `benchmark glas --data DIR`, or a table of them.",
    no_args_is_help=True,
)
benchmark_app.command()(benchmark.dataset)
benchmark_app.command()(benchmark.table)
benchmark_app.command()(benchmark.effort)

model_app = typer.Typer(help="A round's model for other programs.", no_args_is_help=True)
model_app.command("export")(model.export)

# In the order of the loop: help lists them so.
app.command()(info.info)
app.command()(project.new)
app.command()(project.add)
app.command("import")(project.import_labels)
app.command()(project.relocate)
app.command()(project.recover)
app.command()(project.tissue)
app.command()(segment.segment)
app.command()(segment.guess)
app.command()(segment.queue)
app.command()(train.train)
app.command()(train.evaluate)
app.command()(rounds.rounds)
app.command()(rounds.ledger)
app.command()(rounds.readings)
app.command()(export.export)
app.add_typer(model_app, name="model")
app.add_typer(benchmark_app, name="benchmark")
app.command()(segment.serve)
weights_app.command("list")(weights.list_all)
weights_app.command("get")(weights.get)
weights_app.command("check")(weights.check)
app.add_typer(weights_app, name="weights")
