"""``rounds``, ``ledger``, ``readings``: models and what changed, what it cost, who agrees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unisemalign.cli.options import AsJson, ProjectPath, read_option
from unisemalign.cli.output import errors_as_sentences, open_project, say, say_done
from unisemalign.terms import MAX_ROUND, score_text

if TYPE_CHECKING:
    from unisemalign.project import Project
    from unisemalign.protocol import ChangedSlide, ListedRound


def rounds(
    project: ProjectPath,
    use: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_ROUND,
            help="Go back, or forward, to this round: newer ones are set aside, and kept.",
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="OLDER,NEWER", help="Say what changed on the slides both segmented."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the rounds, choose which model is used, say what changed between two."""
    pair = read_option(_read_pair, compare)
    with errors_as_sentences(as_json):
        from unisemalign.protocol import RoundsDone

        with open_project(project) as opened:
            if use is not None:
                opened.use_round(use)
            listed = _listed(opened)
            changes = [] if pair is None else _changes(opened, *pair)
        if as_json:
            return say_done(RoundsDone(rounds=tuple(listed), changes=tuple(changes)))
        if not listed:
            say("No round yet. Train one: unisemalign train PROJECT")
        for each in listed:
            mark = "in use" if each.in_use else "set aside" if each.set_aside else ""
            say(f"{each.number:4}  {each.state:9}  {each.method:12}  {_dice(each):22}  {mark}")
        for slide in changes:
            gained = ", ".join(
                f"{name} {um2 / 1e6:+.4f} mm²" for name, um2 in slide.gained_um2.items()
            )
            say(f"{slide.slide}: {100 * slide.share:.2f} % changed its class; {gained}")
    return None


def ledger(
    project: ProjectPath,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write it there as CSV.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write it there as a page, with curves.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what each round cost a person in minutes, regions and pixels, and its Dice."""
    with errors_as_sentences(as_json):
        from unisemalign.exchange import read_ledger
        from unisemalign.protocol import LedgerDone, LedgerRow

        with open_project(project) as opened:
            lines = read_ledger(opened)
            name = opened.root.name
        if csv is not None or page is not None:
            from unisemalign.cli.ledger import write_ledger_page
            from unisemalign.exchange import write_ledger

            if csv is not None:
                write_ledger(csv, lines)
            if page is not None:
                write_ledger_page(page, name, lines)
        if as_json:
            rows = tuple(LedgerRow(**vars(line)) for line in lines)
            return say_done(LedgerDone(lines=rows))
        say("round  minutes  regions      pixels  imported  mDice")
        for line in lines:
            number = "since" if line.round is None else str(line.round)
            say(
                f"{number:>5}  {line.minutes:7.1f}  {line.regions:7}  {line.pixels:10}  "
                f"{line.imported_pixels:8}  {score_text(line.mdice)}"
            )
    return None


def _read_pair(text: str) -> tuple[int, int]:
    from unisemalign.errors import SettingsError, shortened

    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 2 or not all(each.isdecimal() and len(each) < 7 for each in numbers):
        raise SettingsError(
            f"Comparing needs two rounds, separated by a comma, found '{shortened(text)}'. "
            f"Example: --compare 1,2."
        )
    return int(numbers[0]), int(numbers[1])


def _listed(project: Project) -> list[ListedRound]:
    from unisemalign.protocol import ListedRound

    used = project.latest_round()
    found = []
    for each in project.rounds():
        best = None if each.scores is None else each.scores.best_val
        found.append(
            ListedRound(
                number=each.number,
                state=each.state,
                method=each.method,
                in_use=used is not None and each.number == used.number,
                set_aside=each.set_aside,
                mdice=None if each.scores is None else each.scores.dice,
                mdice_interval=None if best is None else best.mdice_interval,
                verdict="" if each.scores is None else each.scores.verdict(),
            )
        )
    return found


def _changes(project: Project, older: int, newer: int) -> list[ChangedSlide]:
    from unisemalign.errors import DataError
    from unisemalign.exchange import count_changes
    from unisemalign.protocol import ChangedSlide

    project.round(older), project.round(newer)  # says so where one is not there
    names = [
        each.name
        for each in project.slides()
        if project.has_prediction(older, each.name) and project.has_prediction(newer, each.name)
    ]
    if not names:
        raise DataError(
            f"Comparing needs a slide that both rounds segmented, found none of rounds {older} and "
            f"{newer}. Segment one with each: unisemalign segment PROJECT SLIDE --round {older}"
        )
    found = [(name, count_changes(project, name, older, newer)) for name in names]
    return [ChangedSlide(slide=n, share=c.share, gained_um2=c.gained()) for n, c in found]


def _dice(each: ListedRound) -> str:
    if each.mdice is None:
        return "no Dice"
    interval = each.mdice_interval
    inside = "" if interval is None else f" ({score_text(interval[0])}…{score_text(interval[1])})"
    return f"Dice {score_text(each.mdice)}{inside}"


def readings(project: ProjectPath, as_json: AsJson = False) -> None:
    """List what was sent to second readers, and how far they agree with the first ones."""
    with errors_as_sentences(as_json):
        from unisemalign.protocol import ReadingRow, ReadingsDone

        with open_project(project) as opened:
            slides = {region.id: region.slide for region in opened.regions()}
            found = tuple(
                ReadingRow(
                    slide=slides.get(each.region_id, ""),
                    region=each.region_id,
                    sent_by=each.sent_by,
                    reader=each.reader,
                    answered=each.answered,
                    agreement=each.agreement if each.answered else None,
                )
                for each in opened.second_readings()
            )
        if as_json:
            return say_done(ReadingsDone(readings=found))
        for each in found:
            agreed = "waits" if each.agreement is None else f"{100 * each.agreement:.1f} % agree"
            say(f"{each.slide}, region {each.region}: {each.reader}, sent by "
                f"{each.sent_by or 'nobody named'}: {agreed}.")  # fmt: skip
        answered = [each.agreement for each in found if each.agreement is not None]
        if answered:
            mean = 100 * sum(answered) / len(answered)
            say(f"Agreement: {mean:.1f} % of the pixels, mean of {len(answered)} regions.")
        elif not found:
            say("Nothing was sent to a second reader: press Accept and send… in the dock.")
    return None
