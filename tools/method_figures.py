"""What each method reached where all were compared alike, from the kept scores of those runs.

    python tools/method_figures.py [--check]

Reads ``benchmarks/methods/SET/RUN/scores.json`` (of `unisemalign benchmark table`) and writes
``engine/unisemalign/settings/methods/measured.json``, which the dock's sentence on a method reads.
``--check`` writes nothing and fails where the file is another.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "methods"
WRITTEN = ROOT / "engine" / "unisemalign" / "settings" / "methods" / "measured.json"
TITLES = {"glas": "GlaS (colon glands)", "luad": "lung", "testis": "mink testis"}
STEPS = 150
_RUN = re.compile(r"[a-z]+\d*-recommended-(?P<method>\w+)-[0-9a-f]+-s\d+")


def gather() -> dict[str, dict[str, str]]:
    """Return method → data set → val mDice of the step that is kept, mean ± SD over seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for path in sorted(KEPT.glob("*/*/scores.json")):
        named = _RUN.fullmatch(path.parent.name)
        if named is None:
            raise SystemExit(f"'{path.parent}' is no run of the table.")
        scores = json.loads(path.read_text(encoding="utf-8"))
        values = found.setdefault(named["method"], {}).setdefault(path.parents[1].name, [])
        values.append(100 * scores["best_val"]["mdice"])
    return {
        method: {name: _words(sets[name]) for name in TITLES if name in sets}
        for method, sets in sorted(found.items())
    }


def _words(values: list[float]) -> str:
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.1f} (one seed)"
    return f"{mean:.1f} ± {statistics.stdev(values):.1f} ({len(values)} seeds)"


def main() -> int:
    """Write the file, or compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    content = {"steps": STEPS, "titles": TITLES, "mdice": gather()}
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if given.check:
        return int(WRITTEN.read_text(encoding="utf-8") != text)
    WRITTEN.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
