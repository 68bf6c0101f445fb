"""`weights check conch` proves that the words on this machine are CONCH's. methods.md G."""

import json
import re

import pytest
from typer.testing import CliRunner

from tests.engine.model.published_files import (
    CONCH_IDS,
    conch_tokenizer,
    numbers,
    shrunk,
    tower_shapes,
    write,
)
from unisemalign.cli.app import app
from unisemalign.weights import find_published, registry
from unisemalign.weights.places import CONCH_TOKENIZER


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a narrow CONCH's weights, for which the registry's own stands in."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    small = shrunk(find_published("conch"))
    entries = tuple(small if e.name == "conch" else e for e in registry.PUBLISHED)
    monkeypatch.setattr(registry, "PUBLISHED", entries)
    write(small, numbers(tower_shapes(small)), tmp_path)
    return tmp_path


def check(home, *more):
    return CliRunner().invoke(app, ["weights", "check", f"conch={home}", *more])


def without_tail(folder):
    """Take the end token away, as a tokenizer does that adds no special tokens."""
    path = folder / CONCH_TOKENIZER
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "post_processor": None}), encoding="utf-8")


def test_the_tokenizer_of_part_g_passes(home):
    conch_tokenizer(home)
    result = check(home)
    assert result.exit_code == 0, result.output
    assert "loads and runs" in result.stdout


@pytest.mark.parametrize(
    ("token", "wrong", "prompt", "wanted", "found"),
    [
        ("background", 1079, "x x x x background", "1410, 1078, 2]", "1410, 1079, 2]"),
        ("gland", 1246, "x x x x gland", "1410, 1245, 2]", "1410, 1246, 2]"),
        ("x", 1411, "x x x x background", "[1, 1410, 1410,", "[1, 1411, 1411,"),
    ],
)
def test_a_word_with_another_id_is_told(home, token, wrong, prompt, wanted, found):
    conch_tokenizer(home, {**CONCH_IDS, f"\u0120{token}": wrong})
    result = check(home)
    assert result.exit_code == 1
    told = result.stderr
    assert f"read '{prompt}' as [1, " in told
    assert wanted in told.split(", found ")[0]
    assert found in told.split(", found ")[1]
    assert str(home / CONCH_TOKENIZER) in told
    assert "Take the file from the 'conch' package." in told


def test_a_name_torn_into_pieces_is_told(home):
    """The special tokens and every id are right, but no piece is joined with the next."""
    conch_tokenizer(home)
    path = home / CONCH_TOKENIZER
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["merges"] = content["model"]["merges"][:3]
    path.write_text(json.dumps(content), encoding="utf-8")
    result = check(home)
    assert result.exit_code == 1
    assert re.search(r"1078, 2\], found \[1, (\d+, ){8,}2\]", result.stderr)


def test_a_tokenizer_without_start_and_end_is_told_and_as_json_too(home):
    conch_tokenizer(home)
    without_tail(home)
    result = check(home, "--json")
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout.splitlines()[0])["weights"]
    assert row["ok"] is False
    assert "found [1410, 1410, 1410, 1410, 1078, 0, 0]" in row["text"]
