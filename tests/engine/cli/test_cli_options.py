"""Wrong use is status 2 and a sentence, whatever is typed; a stop is 130 at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from typer.testing import CliRunner

from unisemalign.cli.app import app, weights_app
from unisemalign.cli.output import printable
from unisemalign.project import Project

HEAVY = ("torch", "numpy", "zarr", "unisemalign.project", "unisemalign.settings")


def numbers():
    """Yield what is declared of every option and argument that takes a number."""
    for command in (*app.registered_commands, *weights_app.registered_commands):
        hints = get_type_hints(command.callback, include_extras=True)
        for name, hint in hints.items():
            kind, *declared = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            if {int, float} & {kind, *get_args(kind)}:
                yield pytest.param(declared, id=f"{command.callback.__name__} {name}")


@pytest.mark.parametrize("declared", list(numbers()))
def test_every_number_has_bounds(declared):
    [option] = declared
    assert option.min is not None
    assert option.max is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segment", "p", "--round", "9" * 20], "--round"),
        (["segment", "p", "--round", "9" * 5000], "--round"),
        (["segment", "p", "--round", "-1"], "--round"),
        (["segment", "p", "a", "--region", "1,2,3"], "four whole numbers"),
        (["segment", "p", "a", "--region", f"0,0,{'9' * 20},1"], "below 2³¹"),
        (["segment", "p", "a", "--region", f"0,0,{'9' * 5000},1"], "below 2³¹"),
        (["segment", "p", "a", "--focus", "10"], "two whole numbers"),
        (["segment", "p", "a", "--focus", f"{'9' * 20},1"], "below 2³¹"),
        (["guess", "p", "--region", "x"], "four whole numbers"),
        (["guess", "p", "--clusters", "1"], "--clusters"),
        (["guess", "p", "--seed", str(2**32)], "--seed"),
        (["guess", "p", "--names", "gland"], "NUMBER=CLASS"),
        (["guess", "p", "--names", f"{'9' * 5000}=gland"], "NUMBER=CLASS"),
        (["queue", "p", "--count", "0"], "--count"),
        (["queue", "p", "--size-px", "9" * 20], "--size-px"),
        (["evaluate", "p", "--round", "9" * 20], "--round"),
        (["evaluate", "p", "--split", "dev"], "train"),
        (["new", "p", "--classes", "a,b", "--spacing-um", "nan"], "--spacing-um"),
        (["new", "p", "--classes", "a,b", "--spacing-um", "inf"], "--spacing-um"),
        (["add", "p", "a.png", "--spacing-um", "nan"], "--spacing-um"),
        (["add", "p", "a.png", "--series", "9" * 20], "--series"),
        (["export", "p", "--out", "o", "--format", "bmp"], "geojson"),
        (["benchmark", "glas", "--data", "d", "--fraction", "9" * 20], "--fraction"),
        (["benchmark", "glas", "--data", "d", "--seeds", "1,1"], "different whole numbers"),
        (["benchmark", "glas", "--data", "d", "--seeds", "9" * 5000], "different whole numbers"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["words", "json"])
def test_beyond_the_bounds_is_wrong_use(arguments, words, more, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    result = CliRunner().invoke(app, [*arguments, *more])
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert not any(tmp_path.iterdir())


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom unisemalign.cli.app import app\n"
        "try: app(['train', '--help'])\nexcept SystemExit: pass\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.skipif(os.name == "nt", reason="signals of consoles differ there")
@pytest.mark.parametrize("after_s", [0.15, 0.3, 0.6, 1.2])
@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_a_stop_in_the_first_moments_is_130_and_no_traceback(tmp_path, after_s, as_json):
    with Project.create(tmp_path / "p.unisem", classes=["a", "b"]) as project:
        command = [sys.executable, "-m", "unisemalign", "train", str(project.root)]
    # It tells when it is there: what comes before is the interpreter's own start.
    command[1:3] = ["-c", "from unisemalign.cli import main; print(flush=True); main()"]
    child = subprocess.Popen(
        [*command, *(["--json"] if as_json else [])], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline() == b"\n"
    time.sleep(after_s)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert b"Traceback" not in err
    # On an idle machine the last moments may already be the verb's own end.
    assert child.returncode in ({130} if after_s < 1 else {130, 1})
    if as_json:
        assert json.loads(out.splitlines()[-1])["event"] in {"cancelled", "failed"}


def test_names_out_of_files_do_not_command_the_terminal(tmp_path):
    root = tmp_path / "p.unisem"
    Project.create(root, classes=["a", "b"]).close()
    text = (root / "project.toml").read_text(encoding="utf-8")
    (root / "project.toml").write_text(text.replace('"a"', r'"\u001b[31ma\u009b"'), "utf-8")
    told = CliRunner().invoke(app, ["info", str(root)]).output
    assert "�[31ma�" in told
    assert "\x1b" not in told
    assert printable("one\n\ttwo\x07\x7f") == "one\n\ttwo��"
