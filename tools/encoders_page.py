"""Write the tables of docs/encoders.md from the registry; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from unisemalign.weights import PUBLISHED, Published

PAGE = Path(__file__).parents[1] / "docs" / "encoders.md"
_BEGIN = "<!-- {kind}: made by tools/encoders_page.py -->"
_END = "<!-- end -->"
_STATISTICS = {
    (0.485, 0.456, 0.406): "ImageNet",
    (0.5, 0.5, 0.5): "0.5 / 0.5",
    (0.48145466, 0.4578275, 0.40821073): "CLIP",
}


def encoder_row(entry: Published) -> list[str]:
    """Return the cells of an encoder's row."""
    return [
        f"`{entry.name}`",
        f"[{entry.title}]({entry.page})",
        entry.licence,
        "yes" if entry.gated else "no",
        f"{entry.patch} px, {entry.width}",
        str(entry.prefix_tokens),
        "{}, {} of {}".format(*(entry.taps or ()), entry.depth),
        _statistics(entry),
        f"{entry.spacing_um:g}",
        f"{entry.parameters_m:.0f}",
        f"{entry.megabytes:.0f} / {entry.memory_megabytes:.0f}",
        f"{entry.speed} ({entry.gflop_per_megapixel:.0f})",
    ]


def text_row(entry: Published) -> list[str]:
    """Return the cells of a text tower's row."""
    return [
        f"`{entry.name}`",
        f"[{entry.title}]({entry.page})",
        entry.licence,
        "yes" if entry.gated else "no",
        f"{entry.depth} × {entry.width} → {entry.arguments['output_dim']}",
        str(entry.arguments["context_length"]),
        str(entry.tokenizer),
        f"{entry.parameters_m:.0f}",
        f"{entry.megabytes:.0f} / {entry.memory_megabytes:.0f}",
    ]


COLUMNS = {
    "encoder": (
        "name",
        "model and page",
        "licence",
        "gated",
        "patch, width",
        "tokens before patches",
        "taps",
        "mean / SD",
        "µm/px",
        "M parameters",
        "MB disk / memory",
        "speed (GFLOP/Mpx)",
    ),
    "text": (
        "name",
        "model and page",
        "licence",
        "gated",
        "blocks × width → out",
        "tokens",
        "tokenizer",
        "M parameters",
        "MB disk / memory",
    ),
}
ROWS = {"encoder": encoder_row, "text": text_row}


def table(kind: str) -> str:
    """Return the table of one kind, in Markdown."""
    rows = [ROWS[kind](entry) for entry in PUBLISHED if entry.kind == kind and entry.repo]
    lines = [list(COLUMNS[kind]), ["---"] * len(COLUMNS[kind]), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def filled(page: str) -> str:
    """Return the page with its tables as the registry has them."""
    for kind in COLUMNS:
        begin = _BEGIN.format(kind=kind)
        before, found, rest = page.partition(begin)
        if not found:
            raise SystemExit(f"{PAGE.name} needs the line '{begin}', found none.")
        page = f"{before}{begin}\n{table(kind)}\n{_END}{rest.partition(_END)[2]}"
    return page


def _statistics(entry: Published) -> str:
    plain = ", ".join(f"{value:.3g}" for value in entry.mean)
    spread = ", ".join(f"{value:.3g}" for value in entry.std)
    return _STATISTICS.get(entry.mean, f"{plain} / {spread}")


def main() -> None:
    """Write the page, or with ``--check`` compare it."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = filled(page)
    if "--check" not in sys.argv:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != page:
        raise SystemExit("docs/encoders.md is behind the registry. Run tools/encoders_page.py.")


if __name__ == "__main__":
    main()
