"""How much of a slide each class covers, as a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from unisemalign.exchange.pixels import ExportPixels
from unisemalign.project import ClassInfo

COLUMNS = ("slide", "class", "area_px", "area_um2", "percent")


def write_area_table(
    path: Path, pixels: ExportPixels, classes: tuple[ClassInfo, ...], spacing_um: float
) -> None:
    """Write one row a class: pixels at working spacing, µm², and percent of all that has a class.

    The last row is what has none; its percent is left empty.
    """
    counts = np.zeros(256, np.int64)
    for band in pixels.iter_bands():
        counts += np.bincount(band.ravel(), minlength=256)
    total = max(1, int(counts[1 : len(classes) + 1].sum()))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        rows = [(each.name, int(counts[k])) for k, each in enumerate(classes, start=1)]
        for name, count in rows:
            area = f"{count * spacing_um**2:.2f}"
            row = (pixels.slide.name, name, count, area, f"{100 * count / total:.4f}")
            table.writerow([_plain(cell) for cell in row])
        area = f"{counts[0] * spacing_um**2:.2f}"
        table.writerow([_plain(pixels.slide.name), "(no class)", int(counts[0]), area, ""])


def _plain(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t"} else cell
