"""``new``, ``add``, ``import``, ``relocate``, ``recover``, ``tissue``: what a project holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unisemalign.cli.options import (
    AsJson,
    ClassMap,
    Encoder,
    FileSpacingUm,
    OwnSpacingUm,
    ProjectPath,
    Text,
)
from unisemalign.cli.output import (
    choose_events,
    errors_as_sentences,
    open_project,
    say,
    say_done,
)
from unisemalign.terms import Split


def new(
    project: ProjectPath,
    classes: Annotated[
        str | None, typer.Option(help="Class names, separated by commas: background,gland.")
    ] = None,
    from_model: Annotated[
        Path | None,
        typer.Option(help="Begin with a model of 'model export --format unisemalign'."),
    ] = None,
    spacing_um: OwnSpacingUm = None,
    encoder: Encoder = "embedded",
    text: Text = "free",
    as_json: AsJson = False,
) -> None:
    """Make a project."""
    if (classes is None) == (from_model is None):
        raise typer.BadParameter(
            "A new project needs either --classes or --from-model, found "
            f"{'neither' if classes is None else 'both'}. Example: --classes background,gland."
        )
    with errors_as_sentences(as_json):
        from unisemalign.cli.starting import begin_work
        from unisemalign.project import Project
        from unisemalign.protocol import NewDone
        from unisemalign.settings import Settings
        from unisemalign.weights import spacing_advice

        begin_work()
        if from_model is not None:
            from unisemalign.inference import create_from_model

            made = create_from_model(project, from_model, spacing_um=spacing_um)
        else:
            made = Project.create(
                project,
                classes=[name.strip() for name in str(classes).split(",")],
                spacing_um=0.5 if spacing_um is None else spacing_um,
                encoder=encoder,
                text=text,
            )
        with made:
            info = made.info
            names = tuple(each.name for each in info.classes)
            done = NewDone(project=str(made.root), classes=names, spacing_um=info.spacing_um)
        if as_json:
            return say_done(done)
        encoder, text, spacing_um = info.encoder, info.text, info.spacing_um
        say(f"Made '{project}' with {len(names)} classes at {spacing_um} µm/px.")
        if from_model is not None:
            say("Round 1 is the model it begins with: it can segment at once, and trains on.")
        if advice := spacing_advice(encoder, spacing_um, Settings().model.zoom):
            say(advice)
        if encoder in {"embedded", "organs"}:
            knows = "knows colon glands" if encoder == "embedded" else "has seen many organs"
            say(f"Its encoder {knows} and goes on learning, with the head, from your tissue.")
        if text == "free":
            say("No text tower: classes are free vectors, their names are not read.")
        say(f"Next: unisemalign add {project} SLIDE…")
    return None


def add(
    project: ProjectPath,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH…", help="Slides or folders.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder with a mask, GeoJSON or XML of the same name for each slide."),
    ] = None,
    split: Annotated[Split, typer.Option(help="What the slides are for.")] = Split.TRAIN,
    spacing_um: FileSpacingUm = None,
    series: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=9999,
            metavar="N",
            help="Of files with several images: this, not the largest.",
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile/--no-profile", help="Apply colour profiles (ICC).")
    ] = True,
    mapping: ClassMap = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Columns slide and caption: a sentence on what a slide shows, also of slides "
            "that are there already.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add slides, masks that label them, and sentences on them to a project."""
    if not paths and captions is None:
        raise typer.BadParameter(
            "Adding needs a slide, a folder of slides or --captions, found none of them. Example: "
            "unisemalign add study.unisem SLIDE…"
        )
    with errors_as_sentences(as_json):
        from unisemalign.cli.adding import add_slides
        from unisemalign.cli.importing import parse_mapping
        from unisemalign.exchange import import_captions, read_captions
        from unisemalign.protocol import AddDone, AddedSlide

        if captions is not None:
            read_captions(captions)  # before anything is added
        events, sentences = choose_events(as_json), 0
        with open_project(project) as opened:
            added = add_slides(
                opened,
                paths or [],
                masks,
                split,
                spacing_um,
                events,
                series=series,
                profile=profile,
                mapping=parse_mapping(mapping or []),
            )
            if captions is not None:
                sentences = import_captions(opened, captions, events)
        labelled = sum(1 for each in added if each["labelled"])
        if as_json:
            say_done(AddDone(slides=tuple(AddedSlide(**each) for each in added)))
        else:
            say(f"Added {len(added)} slides ({labelled} labelled) for {split.value}.")
            if captions is not None:
                say(f"{sentences} slides have a caption.")


def import_labels(
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
    with errors_as_sentences(as_json):
        from unisemalign.cli.importing import import_files

        with open_project(project) as opened:
            done = import_files(opened, paths, slide, mapping or [], choose_events(as_json))
        if as_json:
            return say_done(done)
        for each in done.files:
            say(f"'{each.slide}': {each.regions} regions from {each.path}.")
    return None


def relocate(project: ProjectPath, name: str, path: Path, as_json: AsJson = False) -> None:
    """Tell a project where a slide that was moved is now."""
    with errors_as_sentences(as_json):
        from unisemalign.protocol import RelocateDone

        with open_project(project) as opened:
            opened.relocate_slide(name, path)
        if as_json:
            say_done(RelocateDone(slide=name, path=str(path)))
        else:
            say(f"'{name}' is now {path}.")


def recover(project: ProjectPath, as_json: AsJson = False) -> None:
    """Put labels back that the journal holds and the project's folder has lost."""
    with errors_as_sentences(as_json):
        from unisemalign.cli.recovering import recover_labels, sentences

        with open_project(project) as opened:
            done = recover_labels(opened)
        if as_json:
            return say_done(done)
        for line in sentences(done):
            say(line)
    return None


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
    with errors_as_sentences(as_json):
        from unisemalign.cli.tissue import look_at_tissue, sentence

        with open_project(project) as opened:
            done = look_at_tissue(
                opened, slide, mask_in=mask_in, mask_out=mask_out, as_found=as_found
            )
        say_done(done) if as_json else say(sentence(done))
