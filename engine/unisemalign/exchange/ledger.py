"""What each round cost a person and what it brought: minutes, regions and pixels beside Dice."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from unisemalign.project import FIRST_ROUND, JournalEntry, Project, Round
from unisemalign.runtime.results import writing_results

BREAK_S = 300.0
"""A pause longer than this between two acts is no work on the labels: it is not counted."""

COLUMNS = (
    "round",
    "minutes",
    "regions",
    "pixels",
    "imported_pixels",
    "mdice",
    "mdice_low",
    "mdice_high",
)


@dataclass(frozen=True)
class LedgerLine:
    """What a person did before a round, and the round's Dice.

    Attributes
    ----------
    round
        The round that learned from it; ``None``: done since the newest round began.
    minutes
        Time between acts that follow one another within :data:`BREAK_S`. The time before the first
        act of a sitting is not known and not counted.
    regions
        Regions accepted and not taken back.
    pixels, imported_pixels
        Pixels that were given another label, by hand and by files.
    mdice, interval
        Of the round, on held-out regions, and its 95 % interval; ``None`` where not measured.
    """

    round: int | None
    minutes: float
    regions: int
    pixels: int
    imported_pixels: int
    mdice: float | None = None
    interval: tuple[float, float] | None = None


def read_ledger(project: Project) -> list[LedgerLine]:
    """Return a line a trained round, oldest first, and one for what was done since.

    From the journal of labels, which is kept for good, and the rounds' scores.
    """
    rounds = [each for each in project.rounds() if each.number > FIRST_ROUND]
    acts = sorted(project.journal(limit=None), key=lambda each: each.time)
    lines, begun = [], 0.0
    for each in rounds:
        lines.append(_line(project, acts, begun, each.created, each))
        begun = each.created
    since = _line(project, acts, begun, float("inf"), None)
    return [*lines, since] if since.minutes or since.regions or since.pixels else lines


def write_ledger(path: Path, lines: Sequence[LedgerLine]) -> None:
    """Write the ledger as CSV; :class:`DataError` where something else lies there."""
    note = {"version": version("napari-unisemalign"), "created": date.today().isoformat()}
    with (
        writing_results(path.parent, [path.name]) as results,
        results.replaced(path.name, note) as part,
    ):
        part.write_text(ledger_csv(lines), encoding="utf-8")


def ledger_csv(lines: Sequence[LedgerLine]) -> str:
    """Return the ledger as CSV, one row a line, minutes with two digits; empty where unknown."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for line in lines:
        low, high = line.interval or (None, None)
        scores = ["" if each is None else f"{each:.4f}" for each in (line.mdice, low, high)]
        number = "" if line.round is None else line.round
        counted = (f"{line.minutes:.2f}", line.regions, line.pixels, line.imported_pixels)
        table.writerow([number, *counted, *scores])
    return text.getvalue()


def _line(
    project: Project, acts: Sequence[JournalEntry], begun: float, end: float, made: Round | None
) -> LedgerLine:
    within = [each for each in acts if begun <= each.time < end]
    by_hand = [each for each in within if each.action != "import"]
    times = [each.time for each in by_hand]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    done = [each for each in within if each.state == "done"]
    drawn = [each for each in done if each.action != "import"]
    scores = None if made is None or made.scores is None else made.scores
    best = None if scores is None else scores.best_val
    return LedgerLine(
        round=None if made is None else made.number,
        minutes=sum(gap for gap in gaps if gap <= BREAK_S) / 60,
        regions=len({number for each in drawn for number in project.regions_of(each)}),
        pixels=sum(project.changed_pixels(each) for each in drawn),
        imported_pixels=sum(
            project.changed_pixels(each) for each in done if each.action == "import"
        ),
        mdice=None if scores is None else scores.dice,
        interval=None if best is None else best.mdice_interval,
    )
