"""The public names, and how they are called, are those on record: a change is made on purpose."""

import difflib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import unisemalign

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "public_api.py"))


def test_the_record_is_the_code():
    recorded = TOOL["RECORD"].read_text(encoding="utf-8").splitlines()
    found = list(TOOL["api_lines"]())
    changes = [line for line in difflib.ndiff(recorded, found) if line[:1] in "+-?"]
    assert not changes, "\n".join(
        [*changes, "If this is meant: python tools/public_api.py, and a line in CHANGELOG.md."]
    )


@pytest.mark.parametrize("name", unisemalign.__all__)
def test_each_name_is_documented(name):
    assert getattr(unisemalign, name).__doc__


def test_a_name_that_is_not_public_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = unisemalign.train


def test_every_lazy_name_loads_from_its_own_room():
    """The list, the table of homes and what a type checker sees are one."""
    assert sorted(unisemalign.__all__) == sorted(unisemalign._HOME)
    assert dir(unisemalign) == list(unisemalign.__all__)
    for name, home in unisemalign._HOME.items():
        found = getattr(unisemalign, name)
        assert found.__name__ == name
        assert found.__module__.startswith(f"unisemalign.{home}"), name


def test_importing_the_package_loads_no_room():
    code = (
        "import sys, unisemalign; dir(unisemalign); "
        "print([m for m in sys.modules if m.startswith('unisemalign.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
