"""Make the site's reference out of the code: settings, commands and the Python names.

mkdocs runs :func:`on_files` as a hook (mkdocs.yml), so no page of the reference is written twice.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import unisemalign
from unisemalign.cli.app import app
from unisemalign.settings import METHODS, PRESETS, Settings, build_settings

PAGES = ("reference/settings.md", "reference/commands.md", "reference/python.md")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site."""
    texts = (settings_page(), commands_page(), python_page())
    for place, text in zip(PAGES, texts, strict=True):
        files.append(File.generated(config, place, content=text))
    return files


def settings_page() -> str:
    """Return the page of settings, in Markdown: a table a section, a column a preset."""
    trees = [build_settings(name).model_dump(mode="json") for name in PRESETS]
    schema = Settings.model_json_schema()
    lines = [
        "# Settings",
        "",
        "A setting's address is its section and its name: `training.steps`. In the terminal: "
        "`--set training.steps=200`. `unisemalign info --settings` lists all addresses. Each round "
        "keeps its settings in `rounds/N/run.toml`.",
        "",
        f"A *preset* is a complete set of values: {_codes(PRESETS)}. The first is the default. "
        "A dash: as the default. [Methods](../methods.md) says what is computed with them.",
        "",
        "## Top level",
        "",
        *_table("", schema, trees, schema),
    ]
    for section, about in schema["properties"].items():
        listed: dict[str, Any] = {}
        for title, inner in _sections(section, about, schema):
            fields = inner["properties"]
            lines += ["", f"## {title}", "", inner.get("description", ""), ""]
            # A field that another method has with another default stands in both tables.
            again = [n for n in fields if n in listed and _default(fields[n]) == listed[n]]
            if again:
                told = [f"{section}.{name}" for name in again]
                lines += [f"From the tables above: {_codes(told)}.", ""]
            of_method = trees
            if section == "method":
                method = fields["name"]["default"]
                of_method = [build_settings(p, method).model_dump(mode="json") for p in PRESETS]
            lines += _table(section, inner, of_method, schema, without=again)
            listed = {**{n: _default(field) for n, field in fields.items()}, **listed}
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return the page of commands, in Markdown."""
    group = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Exit status: 0 done, 1 failed, 2 wrong use, 130 cancelled. With `--json` a command prints "
        "one JSON object a line.",
    ]
    for path, command in _commands(group, ("unisemalign",)):
        context = command.make_context(path[-1], [], parent=None, resilient_parsing=True)
        usage = " ".join((*path, *_arguments(command), "[options]"))
        lines += ["", f"## {' '.join(path[1:])}", "", inspect.cleandoc(command.help or "")]
        lines += ["", f"```\n{usage}\n```", ""]
        rows = [row for param in command.params if (row := _parameter(param, context))]
        if rows:
            lines += ["| option | what |", "| --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def python_page() -> str:
    """Return the page of public Python names, for mkdocstrings to fill."""
    lines = [
        "# Python",
        "",
        "The names below are the public ones: `from unisemalign import Project`. They load on "
        "first use: importing the package loads neither torch nor a viewer. Everything else may "
        "change from one release to the next.",
    ]
    for name in sorted(unisemalign.__all__, key=str.lower):
        lines += ["", f"::: unisemalign.{name}"]
    return "\n".join(lines) + "\n"


def _default(field: Mapping[str, Any]) -> Any:
    return field.get("default")


def _sections(
    name: str, about: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the title and schema of each table under a field: none for a plain value."""
    if name == "method":
        for method, known in METHODS.items():
            yield f"{name} ({method})", known.settings.model_json_schema()
    elif "$ref" in about:
        yield name, _resolved(about, schema)


def _table(
    section: str,
    about: Mapping[str, Any],
    trees: list[dict[str, Any]],
    schema: Mapping[str, Any],
    without: Collection[str] = (),
) -> list[str]:
    others = " | ".join(f"`{name}`" for name in PRESETS[1:])
    columns = 4 + len(PRESETS[1:])
    lines = []
    for name, field in about["properties"].items():
        # A section has a table of its own; a constant (method.name) cannot be set.
        if name in without or "const" in field or any(_sections(name, field, schema)):
            continue
        address = f"{section}.{name}" if section else name
        values = [(tree[section] if section else tree).get(name) for tree in trees]
        first = _value(values[0] if values[0] is not None else field.get("default"))
        rest = ["–" if value in (None, values[0]) else _value(value) for value in values[1:]]
        what = field.get("description", "").replace("|", "\\|")
        cells = [f"`{address}`", first, *rest, _allowed(field), what]
        lines.append("| " + " | ".join(cells) + " |")
    head = [f"| setting | default | {others} | allowed | what |", "|" + " --- |" * columns]
    return [*head, *lines] if lines else []


def _allowed(field: Mapping[str, Any]) -> str:
    """Return in words what a value may be, from its JSON schema."""
    if "anyOf" in field:
        return ", or ".join(_allowed(part) for part in field["anyOf"])
    if "enum" in field or "const" in field:
        return _codes(field.get("enum", [field.get("const")]))
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    above = "above " if "exclusiveMinimum" in field else ""
    below = "below " if "exclusiveMaximum" in field else ""
    if low is not None and high is not None:
        return f"{above}{low:g} to {below}{high:g}" if high < 1e6 else f"{above}{low:g} to {high:,}"
    if low is not None:
        return f"{above}{low:g}" if above else f"{low:g} or more"
    names = {"boolean": "`true`, `false`", "string": "text", "array": "numbers"}
    return names.get(field.get("type", ""), field.get("type", ""))


def _value(value: Any) -> str:
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _codes(values: Any) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _resolved(about: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema["$defs"][about["$ref"].rpartition("/")[2]]


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that does something, with the words that call it."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from _commands(each, (*path, name))


def _arguments(command: Any) -> Iterator[str]:
    for param in command.params:
        if param.param_type_name == "argument":
            name = param.metavar or param.name.upper()
            yield name if param.required or name.startswith("[") else f"[{name}]"


def _parameter(param: Any, context: Any) -> str:
    record = param.get_help_record(context)
    if record is None or param.name == "help":
        return ""
    names, what = (" ".join(text.split()).replace("|", "\\|") for text in record)
    return f"| `{names}` | {what} |"
