"""Write down the public Python names and how they are called; ``--check`` only compares.

The record is ``docs/public-api.txt``. A change of it is a change for everybody who uses the
package: it belongs into CHANGELOG.md.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel

import unisemalign

RECORD = Path(__file__).parents[1] / "docs" / "public-api.txt"


def api_lines() -> Iterator[str]:
    """Yield a line for each public name: its signature, and those of what it holds."""
    for name in sorted(unisemalign.__all__, key=str.lower):
        found = getattr(unisemalign, name)
        if not inspect.isclass(found):
            yield f"{name}{_signature(found)}"
            continue
        if issubclass(found, BaseModel):
            yield f"class {name}({', '.join(found.model_fields)})"
            continue
        yield f"class {name}({', '.join(base.__name__ for base in found.__bases__)})"
        for member, value in sorted(vars(found).items()):
            if not member.startswith("_"):
                yield f"  {name}.{_described(member, value)}"


def _described(member: str, value: object) -> str:
    if isinstance(value, property):
        return member
    inner = getattr(value, "__func__", value)
    return f"{member}{_signature(inner)}" if callable(inner) else member


class _Shown:
    """Text that a signature shows without quotes and addresses."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _signature(call: Callable[..., object]) -> inspect.Signature:
    found = inspect.signature(call)
    params = [
        param.replace(annotation=_annotation(param.annotation), default=_default(param.default))
        for param in found.parameters.values()
    ]
    answer = _annotation(found.return_annotation)
    return found.replace(parameters=params, return_annotation=answer)


def _annotation(value: object) -> object:
    return _Shown(value) if isinstance(value, str) else value


def _default(value: object) -> object:
    if value is inspect.Parameter.empty:
        return value
    if isinstance(value, enum.Enum):
        return _Shown(f"{type(value).__name__}.{value.name}")
    plain = value is None or isinstance(value, bool | int | float | str | tuple)
    return value if plain else _Shown("…")


def main() -> None:
    """Write the record, or with ``--check`` compare it."""
    text = "\n".join(api_lines()) + "\n"
    if "--check" not in sys.argv:
        RECORD.write_text(text, encoding="utf-8")
    elif text != RECORD.read_text(encoding="utf-8"):
        raise SystemExit("docs/public-api.txt is behind the code. Run tools/public_api.py.")


if __name__ == "__main__":
    main()
