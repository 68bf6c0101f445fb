"""``model export``: a round's model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unisemalign.cli.options import AsJson, ProjectPath, RoundNumber
from unisemalign.cli.output import errors_as_sentences, open_project, say, say_done
from unisemalign.terms import ModelFormat


def export(
    project: ProjectPath,
    out: Annotated[Path, typer.Option(help="Folder for the file.")],
    fmt: Annotated[
        ModelFormat,
        typer.Option(
            "--format",
            help="bioimageio; torchscript: for PyTorch and QuPath's DJL; "
            "onnx: for ONNX Runtime; unisemalign: for 'new --from-model'.",
        ),
    ] = "bioimageio",
    round_number: RoundNumber = None,
    author: Annotated[
        list[str] | None, typer.Option(help="Whose model it is; more than once for several.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Its terms, as an SPDX name: CC-BY-4.0, MIT, …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a round's model, the newest by default, as one file that other programs run."""
    with errors_as_sentences(as_json):
        from unisemalign.inference import export_model
        from unisemalign.protocol import ModelExportDone

        with open_project(project) as opened:
            path = export_model(
                opened, round_number, fmt, out, authors=author or (), licence=licence
            )
        if as_json:
            return say_done(ModelExportDone(file=str(path)))
        say(str(path))
    return None
