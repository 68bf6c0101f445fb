"""The README's Python example runs as it stands, with settings that are quick."""

import re
from pathlib import Path

from tests.engine.conftest import QUICK

README = Path(__file__).parents[2] / "README.md"
STEPS = 'overrides={"training.steps": 200}'


def test_the_python_example_runs(study, monkeypatch, capsys):
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert STEPS in example
    study.root.rename(study.root.with_name("study.unisem"))
    study.close()
    monkeypatch.chdir(study.root.parent)
    exec(example.replace(STEPS, f"overrides={QUICK!r}"), {})  # noqa: S102  the README is ours
    told = capsys.readouterr().out
    assert re.search(r"round 1: held-out Dice [01]\.\d{3}", told)
    assert re.findall(r"^(\w): (\d+) windows", told, re.MULTILINE) == [
        ("a", "6"),
        ("b", "6"),
        ("c", "6"),
    ]
    assert told.count("(192, 256) label values, 1 is stripes") == 3
