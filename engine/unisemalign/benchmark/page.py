"""A page of results: its frame, its tables, and how it is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from unisemalign.runtime.results import writing_results


def fill_page(body: str, title: str, subtitle: str, **parts: str) -> str:
    """Return a page: ``page.html`` around the file ``body`` of this room.

    ``title`` and ``subtitle`` are text, ``parts`` of the body HTML already.
    """
    room = files("unisemalign.benchmark")

    def read(name: str) -> str:
        return room.joinpath(name).read_text(encoding="utf-8")

    return Template(read("page.html")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        style=read("page.css"),
        body=Template(read(body)).substitute(parts),
        footer=escape(
            f"napari-unisemalign {version('napari-unisemalign')}, {date.today().isoformat()}. "
            f"Research use only."
        ),
    )


def write_page(path: Path, text: str) -> None:
    """Write a page, atomically.

    Raises
    ------
    DataError
        If something lies there that is no earlier page of this name, unchanged since.
    """
    note = {"version": version("napari-unisemalign"), "created": date.today().isoformat()}
    with (
        writing_results(path.parent, [path.name]) as results,
        results.replaced(path.name, note) as part,
    ):
        part.write_text(text, encoding="utf-8")


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    bold: Collection[tuple[int, int]] = (),
) -> str:
    """Return a table whose first ``left`` columns are names; cells (row, column) may be bold.

    With more than one, rows of the same first cell are a group: a rule parts it from the last.
    """

    def side(index: int) -> str:
        return ' class="left"' if index < left else ""

    lines = ["<table><thead><tr>"]
    lines += [f'<th scope="col"{side(i)}>{escape(cell)}</th>' for i, cell in enumerate(head)]
    lines.append("</tr></thead><tbody>")
    for number, row in enumerate(rows):
        grouped = left > 1 and number > 0 and rows[number - 1][0] != row[0]
        lines.append('<tr class="first">' if grouped else "<tr>")
        lines.append(f'<th scope="row" class="left">{escape(row[0])}</th>')
        for index, cell in enumerate(row[1:], start=1):
            text = f"<b>{escape(cell)}</b>" if (number, index) in bold else escape(cell)
            lines.append(f"<td{side(index)}>{text}</td>")
        lines.append("</tr>")
    return "\n".join([*lines, "</tbody></table>"])
