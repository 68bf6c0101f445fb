"""What the pages promise exists: commands, options, settings, make's targets."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from unisemalign.cli.app import app
from unisemalign.settings import build_settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GROUP = typer.main.get_command(app)
_COMMENT = re.compile(r"\s{2,}.*| #.*")


def code(path: Path) -> list[str]:
    """Return the lines of code of a page: those of its blocks, and each inline piece."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line.strip() for block in blocks for line in block.splitlines()] + inline


def commands() -> list[tuple[str, str]]:
    """Return every ``unisemalign …`` of the pages, with the page's name."""
    found = []
    for page in PAGES:
        for line in code(page):
            start = re.search(r"(?:^|-m |run: )unisemalign ([a-z].*)", line)
            if start:
                found.append((page.name, _COMMENT.sub("", start.group(1))))
    return found


def find_command(words: list[str]):
    """Return the command that ``words`` begin with, and the words after its name."""
    command = GROUP
    while words and hasattr(command, "commands"):
        _, command, words = command.resolve_command(typer.Context(command), words)
    return command, words


def overrides(line: str) -> list[str]:
    """Return what a line sets with ``--set``, without placeholders (N, …)."""
    pairs = re.findall(r"--set ([a-z_.]+=[^\s`\"']+)", line)
    values = [pair.rstrip(".,;:") for pair in pairs]
    return [pair for pair in values if not re.search(r"=([A-Z]+$|.*…)", pair)]


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_of_the_pages_exist(page, line):
    command, words = find_command(shlex.split(line.replace("…", "")))
    known = {name for param in getattr(command, "params", []) for name in param.opts}
    for word in words:
        if word.startswith("--"):
            assert word in known, f"{page}: '{word}' is no option of '{line}'"
    build_settings(overrides=overrides(line))


def test_the_pages_hold_commands():
    """The search above finds what it is meant to find."""
    found = commands()
    assert len(found) > 50
    assert {"README.md", "terminal.md", "encoders.md"} <= {page for page, _line in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_settings_of_the_pages_exist(page):
    for line in code(page):
        assert build_settings(overrides=overrides(line)).preset == "recommended"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_targets_of_make_exist(page):
    targets = re.findall(
        r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for line in code(page):
        if line.startswith("make "):
            for word in _COMMENT.sub("", line).split()[1:]:
                assert "=" in word or word in targets, f"make {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" in target or target.startswith(("../reference/", "reference/")):
            continue  # the reference is made when the site is built, which checks its links
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
