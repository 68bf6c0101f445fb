"""The page of a table of methods: one table a data set, and what each method needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unisemalign.benchmark.page import fill_page, html_table, write_page
from unisemalign.benchmark.spread import SCORED_AT, spread_text
from unisemalign.datasets import DataSet
from unisemalign.settings import METHODS

if TYPE_CHECKING:
    from unisemalign.benchmark.table import TableChoice

_OBJECTS = ("object_dice", "object_f1")
_COLUMNS = {
    "mdice": "mDice",
    "mjaccard": "mJaccard",
    "object_dice": "object Dice",
    "object_f1": "object F1",
}


def row_scores(row: Mapping[str, Any], objects: bool) -> dict[str, str]:
    """Return a row's figures in words: column → text.

    Parameters
    ----------
    row
        Of :func:`make_table`.
    objects
        Whether object scores mean something on its data set.
    """
    shown: dict[str, str] = {}
    for place, where in SCORED_AT.items():
        if place not in row:
            continue
        for score, words in _COLUMNS.items():
            if objects or score not in _OBJECTS:
                shown[f"{words}, {where}"] = spread_text(row[place][score])
    shown["s a step"] = spread_text(row["seconds_per_step"], 3)
    memory, learned = row["peak_memory_mb"], row["learned_parameters"]
    shown["peak MB"] = "–" if memory is None else f"{memory:.0f}"
    shown["learned"] = "–" if learned is None else f"{learned / 1e6:.2f} M"
    return shown


def write_table_page(
    path: Path,
    choice: TableChoice,
    found: Mapping[str, DataSet],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the page of ``rows``, as ``make_table`` returns them."""
    seeds = ", ".join(str(seed) for seed in choice.seeds)
    steps = sorted({each.steps for each in choice.planned()})
    text = fill_page(
        "table.html",
        title="Methods beside each other",
        subtitle=(
            f"Preset {choice.preset}, encoder {choice.encoder}, text {choice.text}; seeds {seeds}; "
            f"{' or '.join(str(count) for count in steps)} steps. In per cent, mean ± sample "
            f"standard deviation (n − 1) over seeds."
        ),
        sections="\n".join(
            _section(found[name], [row for row in rows if row["dataset"] == name]) for name in found
        ),
        methods=html_table(
            ["method", "what it does", "needs beyond labelled crops"],
            [
                [row["method"], METHODS[row["method"]].sentence, ", ".join(row["needs"]) or "–"]
                for row in rows[: len(choice.methods)]
            ],
            left=3,
        ),
    )
    write_page(path, text)


def _section(dataset: DataSet, rows: Sequence[Mapping[str, Any]]) -> str:
    images = ", ".join(f"{count} {use}" for use, count in dataset.images.items() if count)
    texts = [row_scores(row, dataset.objects) for row in rows if row["seeds"]]
    lines = [f"<h2>{escape(dataset.title)}</h2>", f"<p>{escape(f'Images: {images}.')}</p>"]
    if dataset.remark:
        lines.append(f"<p>{escape(dataset.remark)}</p>")
    if texts:
        head = list(dict.fromkeys(column for each in texts for column in each))
        names = [row["method"] for row in rows if row["seeds"]]
        cells = [[n, *(t.get(c, "–") for c in head)] for n, t in zip(names, texts, strict=True)]
        bold = {(_highest(cells, k), k) for k, column in enumerate(head, 1) if "," in column}
        lines.append(f'<div class="wide">{html_table(["", *head], cells, bold=bold)}</div>')
    for row in rows:
        for seed, sentence in row["failed"].items():
            lines.append(f"<p>{escape(row['method'])}, seed {escape(seed)}: {escape(sentence)}</p>")
    return "\n".join(lines)


def _highest(cells: Sequence[Sequence[str]], column: int) -> int:
    """Return the row whose mean is highest in a column; −1 where there is none."""
    means = [
        (float(row[column].split()[0]), k) for k, row in enumerate(cells) if row[column] != "–"
    ]
    return max(means, default=(0.0, -1))[1]
