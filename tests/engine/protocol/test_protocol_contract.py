"""The contract: the stand-in engine of the plugin's tests says what the real engine says.

Both are run as processes on a project of their own. Every line they print, and every line of the
round's log, must be a message of the protocol; for each verb the stand-in may use only kinds of
events that the real engine uses, with the same fields and the same types of values, and it leaves
the same files in a round's folder. A stand-in that says what a reader wishes for fails here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import QUICK
from unisemalign.project import Project
from unisemalign.protocol import LAST_KINDS, RunScores, read_event, read_request

REAL = (sys.executable, "-u", "-m", "unisemalign")
STAND_IN = (
    sys.executable,
    "-u",
    str(Path(__file__).parents[2] / "plugin" / "fake_engine.py"),
)
SETTINGS = [f"--set={name}={value}" for name, value in QUICK.items()]
REQUESTS = (
    {"verb": "segment", "slide": "b", "rect": [0, 0, 96, 96], "round": 1},
    {"verb": "segment", "slide": "b", "rect": None, "round": 1},
    {"verb": "queue", "count": 2, "size_px": 96},
    {"verb": "guess", "slides": ["b"], "clusters": 2},
    {"verb": "guess", "names": {"1": "stripes", "2": "none"}},
)


@dataclass
class Said:
    """What an engine said: lines by verb, and the files of its round."""

    lines: dict[str, list[bytes]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    shapes: dict[tuple[str, str], dict[str, set[str]]] = field(default_factory=dict)

    def kinds(self, verb: str) -> set[str]:
        return {kind for said, kind in self.shapes if said == verb}

    def note(self, verb: str, lines: list[bytes]) -> None:
        self.lines.setdefault(verb, []).extend(lines)
        for line in lines:
            values = json.loads(line)
            shape = self.shapes.setdefault((verb, values.get("event", "file")), {})
            for name, value in values.items():
                shape.setdefault(name, set()).update(types_of(value))


def types_of(value: Any, at: str = "") -> set[str]:
    """Return the types of a JSON value, and of what is in it."""
    match value:
        case dict():
            return {found for k, v in value.items() for found in types_of(v, f"{at}.{k}")} | {at}
        case list():
            return {found for each in value for found in types_of(each, f"{at}[]")} | {f"{at}[]"}
        case bool():
            return {f"{at} bool"}
        case int() | float():
            return {f"{at} number"}
        case _:
            return {f"{at} {type(value).__name__}"}


def run(engine: tuple[str, ...], *words: str | Path) -> list[bytes]:
    command = [*engine, *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert done.stdout, done.stderr.decode()
    return done.stdout.splitlines()


def serve(engine: tuple[str, ...], root: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Ask one thing after the other; yield the verb and every answer to it."""
    child = subprocess.Popen(
        [*engine, "serve", str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin
    assert child.stdout
    yield "serve", [child.stdout.readline()]
    for number, request in enumerate(REQUESTS, start=1):
        line = json.dumps({"id": number, **request}).encode()
        read_request(line)
        child.stdin.write(line + b"\n")
        child.stdin.flush()
        answers: list[bytes] = []
        while not answers or json.loads(answers[-1])["event"] not in LAST_KINDS:
            answers.append(child.stdout.readline())
            assert answers[-1], f"the engine went away before it answered {line.decode()}"
        yield str(request["verb"]), answers
    child.stdin.close()
    assert child.wait(60) == 0
    child.stdout.close()


def train(engine: tuple[str, ...], project: Project, said: Said) -> None:
    """Train round 1; note its lines, its log, and what its files hold."""
    steps = SETTINGS if engine == REAL else ["--set", "training.steps=20"]
    said.note("train", run(engine, "train", project.root, "--json", *steps))
    layout = project.layout.round(1)
    said.note("log", layout.log.read_bytes().splitlines())
    said.note("scores", [layout.scores.read_bytes()])
    said.files = {path.name for path in layout.folder.iterdir()}


def listen(engine: tuple[str, ...], project: Project, out: Path) -> Said:
    said, root = Said(), project.root
    train(engine, project, said)
    for verb, answers in serve(engine, root):
        said.note(verb, answers)
    said.note("export", run(engine, "export", root, "--out", out, "--json"))
    return said


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, Said]:
    """What the real engine says, and what the stand-in says."""
    from tests.engine.conftest import make_study

    found = []
    for engine in (REAL, STAND_IN):
        folder = tmp_path_factory.mktemp("contract")
        with make_study(folder) as project:
            found.append(listen(engine, project, folder / "out"))
    return found[0], found[1]


def test_every_line_is_a_message_of_the_protocol(both):
    for said in both:
        for verb, lines in said.lines.items():
            if verb == "scores":
                assert RunScores.model_validate_json(lines[0])
                continue
            kinds = [read_event(line).event for line in lines]
            assert verb == "serve" or kinds[-1] in LAST_KINDS, verb


def test_the_stand_in_knows_no_other_kinds(both):
    real, stand_in = both
    for verb in stand_in.lines:
        assert stand_in.kinds(verb) <= real.kinds(verb), verb


def test_the_stand_in_says_the_same_fields_with_the_same_types(both):
    assert not differences(*both)


def differences(real: Said, stand_in: Said) -> list[str]:
    """Return where the stand-in says or writes other fields, or other types, than the engine."""
    found = []
    for place, shape in stand_in.shapes.items():
        known = real.shapes[place]
        of_the_method = set() if place[1] != "step" else known.keys() - shape.keys()
        alone = shape.keys() ^ (known.keys() - of_the_method)
        found += [f"{place}: '{name}' is said by one alone" for name in sorted(alone)]
        for name, types in shape.items():
            if not types <= known.get(name, types):
                found.append(f"{place}: '{name}' is {types}, not {known[name]}")
    return found


def test_scores_of_another_shape_are_found(both, tmp_path):
    """A table once read ``mdice`` of a round, which the stand-in alone wrote: see it caught."""
    from tests.engine.conftest import make_study

    source = Path(STAND_IN[-1]).read_text(encoding="utf-8")
    wished = source.replace('reached.model_dump(mode="json"))', '{"mdice": 0.83})')
    assert wished != source
    engine = tmp_path / "wishing_engine.py"
    engine.write_text(wished, encoding="utf-8")
    said = Said()
    with make_study(tmp_path) as project:
        train((sys.executable, "-u", str(engine)), project, said)
    found = differences(both[0], said)
    assert "('scores', 'file'): 'mdice' is said by one alone" in found
    assert "('scores', 'file'): 'best_val' is said by one alone" in found


def test_the_stand_in_leaves_the_same_files_in_a_round(both):
    real, stand_in = both
    assert stand_in.files - {"steps"} == real.files
