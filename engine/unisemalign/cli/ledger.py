"""The ledger of a project as a page with its curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from unisemalign.benchmark.curve import draw_curves
from unisemalign.benchmark.page import fill_page, html_table, write_page
from unisemalign.exchange import LedgerLine


def write_ledger_page(path: Path, project: str, lines: Sequence[LedgerLine]) -> None:
    """Write a page with the ledger's table and the curve of Dice over a person's minutes.

    Raises
    ------
    DataError
        If something lies there that is no earlier page of this name, unchanged since.
    """
    head = ["round", "minutes", "regions", "pixels", "imported", "mDice (95 % interval)"]
    rows = [
        [
            "since" if line.round is None else str(line.round),
            f"{line.minutes:.1f}",
            str(line.regions),
            str(line.pixels),
            str(line.imported_pixels),
            _dice(line),
        ]
        for line in lines
    ]
    spent = list(accumulate(line.minutes for line in lines))
    points = [
        (minutes, 100 * line.mdice)
        for minutes, line in zip(spent, lines, strict=True)
        if line.mdice is not None
    ]
    curve = draw_curves({"rounds": points}, "minute", "project") if len(points) > 1 else ""
    text = fill_page(
        "ledger.html", "Minutes and Dice", project, table=html_table(head, rows), curve=curve
    )
    write_page(path, text)


def _dice(line: LedgerLine) -> str:
    if line.mdice is None:
        return "–"
    inside = (
        ""
        if line.interval is None
        else " ({:.1f}…{:.1f})".format(*(100 * each for each in line.interval))
    )
    return f"{100 * line.mdice:.1f}{inside}"
