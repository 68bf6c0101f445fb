"""The page of effort curves: Dice against regions, one figure and one table a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unisemalign.benchmark.curve import draw_curves
from unisemalign.benchmark.page import fill_page, html_table, write_page
from unisemalign.benchmark.spread import spread_text
from unisemalign.datasets import DataSet

if TYPE_CHECKING:
    from unisemalign.benchmark.effort import EffortChoice

ENOUGH = 0.95
"""Share of the whole pool's Dice that counts as having arrived."""


def write_effort_page(
    path: Path,
    choice: EffortChoice,
    found: Mapping[str, DataSet],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the page of ``rows``, as ``measure_effort`` returns them."""
    seeds = ", ".join(str(seed) for seed in choice.seeds)
    steps = choice.settings(0).training.steps
    text = fill_page(
        "effort.html",
        title="What a person's regions bring",
        subtitle=(
            f"Preset {choice.preset}, encoder {choice.encoder}, text {choice.text}. Seeds: "
            f"{seeds}. {choice.first} regions of {choice.side_px} px, {choice.more} more in each "
            f"of {choice.rounds} rounds of {steps} steps."
        ),
        sections="\n".join(
            _section(found[name], [row for row in rows if row["dataset"] == name]) for name in found
        ),
        enough=f"{100 * ENOUGH:g}",
    )
    write_page(path, text)


def _section(dataset: DataSet, rows: Sequence[Mapping[str, Any]]) -> str:
    curves = {
        row["arm"]: [(p["regions"], p["mdice"]["mean"]) for p in row["points"]] for row in rows
    }
    asked_for = [f"{point['regions']:g}" for point in rows[0]["points"]]
    head = ["", *(f"{count} regions" for count in asked_for), "regions to arrive"]
    cells = [
        [row["arm"], *(spread_text(p["mdice"]) for p in row["points"]), enough_text(row)]
        for row in rows
    ]
    shares = [f"{p['share']:.2f}" for p in rows[0]["points"]]
    return "\n".join(
        [
            f"<h2>{escape(dataset.title)}</h2>",
            f"<p>{escape(_pool_sentence(dataset, rows[0], shares))}</p>",
            draw_curves(curves, across="regions", each="way to choose"),
            f'<div class="wide">{html_table(head, cells)}</div>',
        ]
    )


def _pool_sentence(dataset: DataSet, row: Mapping[str, Any], shares: Sequence[str]) -> str:
    return (
        f"Pool: {len(dataset.pool)} images; {len(dataset.val)} val images. A model that was shown "
        f"the whole pool: {spread_text(row['full'])}. Per cent of the pool's labelled pixels that "
        f"{row['arm']} was shown: {', '.join(shares)}."
    )


def enough_text(row: Mapping[str, Any]) -> str:
    """Return the regions after which a row of :func:`measure_effort` arrived, in words."""
    return "not reached" if row["enough"] is None else spread_text(row["enough"], 1)
