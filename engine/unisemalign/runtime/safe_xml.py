"""XML from outside: no document types, no entities, nothing fetched, bounded in size and depth."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

MOST_BYTES = 128 * 2**20
"""Ten times as much is held in memory while a text is read."""
_DEEPEST = 100


class UnsafeXmlError(ValueError):
    """What is to be read is no XML, or XML of a kind that is not read."""


def parse_xml(text: str | bytes) -> ElementTree.Element:
    """Return the root of an XML text.

    Raises
    ------
    UnsafeXmlError
        If it is no XML, declares a document type (where entities are defined that grow or fetch),
        is nested too deeply, or is larger than :data:`MOST_BYTES`.
    """
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(data) > MOST_BYTES:
        raise UnsafeXmlError(f"it has {len(data) / 2**20:.0f} MB, more than is read")
    builder = _Builder()
    parser = expat.ParserCreate("utf-8" if isinstance(text, str) else None)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ElementTree.ParseError, AssertionError, LookupError) as error:
        raise UnsafeXmlError(f"it is no XML ({error})") from error


class _Builder:
    def __init__(self) -> None:
        self._tree = ElementTree.TreeBuilder()
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnsafeXmlError(f"it is nested more than {_DEEPEST} levels deep")
        self._tree.start(_local(tag), attributes)

    def end(self, tag: str) -> None:
        self._depth -= 1
        self._tree.end(_local(tag))

    def data(self, text: str) -> None:
        self._tree.data(text)

    def close(self) -> ElementTree.Element:
        return self._tree.close()

    def refuse_doctype(self, *_: Any) -> None:
        raise UnsafeXmlError("it declares a document type, which is not read")


def _local(tag: str) -> str:
    return tag.rsplit(":", 1)[-1]  # without the prefix of a name space
