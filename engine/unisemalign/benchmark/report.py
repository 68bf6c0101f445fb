"""A benchmark as one page: no script, nothing from outside, pictures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from unisemalign.benchmark.curve import draw_curves
from unisemalign.benchmark.page import fill_page, html_table, write_page
from unisemalign.benchmark.pictures import (
    ERROR_COLORS,
    PREDICTED_COLOR,
    TRUTH_COLOR,
    Example,
    draw_outlines,
    error_map,
    error_map_uri,
    jpeg_uri,
)
from unisemalign.benchmark.spread import SCORED_AT, spread_text
from unisemalign.metrics import SCORE_NAMES
from unisemalign.terms import score_text


@dataclass(frozen=True)
class ReportContent:
    """What a report says.

    Attributes
    ----------
    result
        As ``run_benchmark`` returns it.
    title
        What the page is headed with.
    images
        How many images: use (``labelled``, ``val``, …) → number.
    shown_class
        The class whose outlines are drawn.
    text
        Name of the text tower.
    changed
        Settings that differ from the preset: address, the preset's value, this value.
    curves
        Seed in words → points (step, val mDice in per cent).
    examples
        The worst val image first, the best last; one where there is only one.
    examples_seed
        The seed whose best weights made them.
    no_examples
        Why there are none: a sentence.
    """

    result: Mapping[str, Any]
    title: str
    images: Mapping[str, int]
    shown_class: str
    text: str
    changed: Sequence[tuple[str, str, str]]
    curves: Mapping[str, list[tuple[int, float]]]
    examples: Sequence[Example] = ()
    examples_seed: int | None = None
    no_examples: str = ""


def write_report(path: Path, content: ReportContent) -> None:
    """Write the page, atomically. Everything that is not a number is escaped.

    Raises
    ------
    DataError
        If something lies there that is no earlier report of this name, unchanged since.
    """
    result = content.result
    seeds = [str(run["seed"]) for run in result["runs"]]
    images = ", ".join(f"{count} {use}" for use, count in content.images.items() if count)
    many = "mean ± sample standard deviation (n − 1) over seeds" if len(seeds) > 1 else "one seed"
    text = fill_page(
        "report.html",
        title=content.title,
        subtitle=(
            f"{result['method']}, preset {result['preset']}, encoder {result['encoder']}, text "
            f"{content.text}; {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(seeds)}. "
            f"Images: {images}."
        ),
        tiles=_tiles(result),
        scores_sentence=escape(f"In per cent, {many}."),
        scores_table=_scores_table(result),
        seeds_table=_seeds_table(result["runs"]),
        curve=draw_curves(content.curves) or '<p class="soft">The runs\' logs are not here.</p>',
        examples=_examples(content),
        settings=_settings(content.changed, str(result["preset"])),
    )
    write_page(path, text)


def _tiles(result: Mapping[str, Any]) -> str:
    shown = [
        (f"mDice, {words}", spread_text(result[place]["mdice"]))
        for place, words in SCORED_AT.items()
        if place in result
    ]
    shown.append(("seconds per step", spread_text(result["seconds_per_step"], 3)))
    return "\n".join(
        f'<div class="tile"><div class="name">{escape(name)}</div>'
        f'<div class="value">{escape(value)}</div></div>'
        for name, value in shown
    )


def _scores_table(result: Mapping[str, Any]) -> str:
    places = [place for place in SCORED_AT if place in result]
    return html_table(
        ["", *(SCORED_AT[place] for place in places)],
        [
            [words, *(spread_text(result[place][key]) for place in places)]
            for key, words in SCORE_NAMES.items()
        ],
    )


def _seeds_table(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for run in runs:
        best_step = (run.get("best_val") or {}).get("step")
        for place, words in SCORED_AT.items():
            scores = run.get(place)
            if not scores:
                continue
            cells = [f"{run['seed']}", words, f"{scores.get('step', best_step)}"]
            cells += [score_text(scores.get(key)) for key in SCORE_NAMES]
            rows.append([*cells, f"{run['seconds_per_step']:.3f}"])
    return html_table(
        ["seed", "scored on", "step", *SCORE_NAMES.values(), "s per step"], rows, left=2
    )


def _settings(changed: Sequence[tuple[str, str, str]], preset: str) -> str:
    if not changed:
        return f"<p>All as in the preset <code>{escape(preset)}</code>.</p>"
    rows = [list(row) for row in changed]
    head = ["setting", f"in {preset}", "here"]
    return (
        f"<p>What differs from the preset <code>{escape(preset)}</code>.</p>"
        f'<div class="wide">{html_table(head, rows)}</div>'
    )


def _examples(content: ReportContent) -> str:
    if not content.examples:
        return f'<p class="soft">Not shown. {escape(content.no_examples)}</p>'
    maps = [error_map(example) for example in content.examples]
    judged_all = not any((kinds == len(ERROR_COLORS) - 1).any() for kinds in maps)
    shown = [(n, c) for n, c in ERROR_COLORS.items() if not (judged_all and n == "not judged")]
    outlines = {"outline, truth": TRUTH_COLOR, "outline, predicted": PREDICTED_COLOR}
    keys = "\n".join(
        f'<li><i style="background:{color}"></i>{escape(name)}</li>'
        for name, color in [*outlines.items(), *shown]
    )
    names = ["The only val image"] if len(maps) == 1 else ["Worst", "Best"]
    figures = []
    for title, example, kinds in zip(names, content.examples, maps, strict=True):
        name = escape(example.name)
        figures.append(
            f"<figure><figcaption><b>{escape(title)}: {name}</b>. "
            f"mDice {score_text(example.mdice)}, {escape(content.shown_class)} Dice "
            f"{score_text(example.class_dice)}."
            f'</figcaption><div class="pair">'
            f'<img alt="{name} with true and predicted outlines" '
            f'src="{jpeg_uri(draw_outlines(example))}">'
            f'<img alt="{name}: where the prediction is right and wrong" '
            f'src="{error_map_uri(kinds)}">'
            f"</div></figure>"
        )
    middle = ", in the middle by best val mDice" if len(content.result["runs"]) > 1 else ""
    return "\n".join(
        [
            f"<p>By the image's own mDice, with the best weights of seed {content.examples_seed}"
            f"{middle}.</p>",
            f'<ul class="key">{keys}</ul>',
            *figures,
        ]
    )
