"""Prove the encoders that come with the package: hash, size, parts, origin; and its scores.

    python pretraining/check.py                     # in seconds, without data
    python pretraining/check.py --scores SHARED     # probes it again: minutes

Ends with 1 and a sentence for each thing that is not as ``registry.toml``, the logs and
``scores.json`` say.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from importlib.resources import files
from pathlib import Path

from probe import probe_all
from safetensors import safe_open

from unisemalign.model import build_encoder
from unisemalign.weights import find_published

HERE = Path(__file__).parent
LOGS = {"embedded": "log.jsonl", "organs": "log-organs.jsonl"}
LARGEST_BYTES = 25_000_000
TOLERANCE = 0.3
"""Points of Dice: what other processors and libraries may round differently."""


def check_file(name: str) -> list[str]:
    """Return what is wrong with an encoder's file."""
    path = Path(str(files("unisemalign.model.encoders").joinpath(f"{name}.safetensors")))
    content, entry, wrong = path.read_bytes(), find_published(name), []
    found = hashlib.sha256(content).hexdigest()
    if entry is None or found != entry.sha256:
        wrong.append(f"{name}: SHA-256 needs to be {entry and entry.sha256}, is {found}.")
    if len(content) > LARGEST_BYTES:
        wrong.append(f"{name}: {LARGEST_BYTES} bytes are allowed, it has {len(content)}.")
    parameters = sum(p.numel() for p in build_encoder(name).parameters())  # loads strictly
    with safe_open(path, framework="pt") as file:
        step = int((file.metadata() or {}).get("step", -1))
    lines = [json.loads(line) for line in (HERE / LOGS[name]).read_text().splitlines()]
    logged = [line for line in lines if line["event"] == "held_out" and line["step"] == step]
    if not logged:
        wrong.append(f"{name}: it is of step {step}, which {LOGS[name]} does not score.")
    print(f"{name}: {found[:12]}…, {len(content)} bytes, {parameters} parameters, {logged[-1:]}")
    return wrong


def check_scores(name: str, data: Path, wanted: dict[str, dict[str, float]]) -> list[str]:
    """Return the probes of an encoder that come out differently today."""
    found, wrong = probe_all(build_encoder(name), data, 0.5), []
    print(f"{name}: {found}", flush=True)
    for organ, score in wanted[name].items():
        if abs(found[organ] - score) > TOLERANCE:
            wrong.append(f"{name}: {organ} needs to be {score} ± {TOLERANCE}, is {found[organ]}.")
    return wrong


def main() -> None:
    """Check, say, and end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, metavar="SHARED", help="holds glas, luad, testis")
    given = parser.parse_args()
    wrong = [sentence for name in LOGS for sentence in check_file(name)]
    if given.scores is not None:
        wanted = json.loads((HERE / "scores.json").read_text())
        for name in LOGS:
            wrong += check_scores(name, given.scores, wanted)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
