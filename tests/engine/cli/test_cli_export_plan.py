"""``export --plan`` says what would be written and writes nothing."""

import json

from typer.testing import CliRunner

from unisemalign.cli.app import app


def test_a_plan_names_every_slide_and_writes_nothing(study, tmp_path):
    root, out = str(study.root), tmp_path / "out"
    study.close()
    arguments = ["export", root, "--plan", "--out", str(out), "--format", "png"]
    told = CliRunner().invoke(app, [*arguments, "--json"])
    assert told.exit_code == 0, told.output
    done = json.loads(told.stdout.splitlines()[-1])
    assert [each["slide"] for each in done["slides"]] == ["a", "c"]
    assert [each["slide"] for each in done["left_out"]] == ["b"]
    assert done["files"] == []
    assert not out.exists()
    words = CliRunner().invoke(app, arguments)
    assert words.exit_code == 0
    assert "b: left out." in words.output
    some = CliRunner().invoke(app, [*arguments, "--json", "--", "c"])
    assert [e["slide"] for e in json.loads(some.stdout.splitlines()[-1])["slides"]] == ["c"]
