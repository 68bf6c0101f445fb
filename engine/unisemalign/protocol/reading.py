"""From bytes to messages and notes. What does not fit becomes a sentence, whatever it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from unisemalign.errors import MessageError, ProjectError, shortened
from unisemalign.protocol.events import KINDS, AnyOther, Event
from unisemalign.protocol.requests import REQUEST, REQUESTS, Request, RequestId
from unisemalign.protocol.results import RESULTS, AnyDone

EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[AnyOther | AnyDone, Field(discriminator="event")])
"""Reads an event of any kind."""

LAST_KINDS = frozenset({"done", "failed", "cancelled"})
"""Kinds of the event that ends a piece of work."""

_Model = TypeVar("_Model", bound=BaseModel)
_MISTAKES = 3
_LOOKED_AT = 400
_MANY_BITS = 200
_NO_OBJECT = frozenset(
    {"json_invalid", "json_type", "model_attributes_type", "model_type", "dict_type"}
)
_TAGS = frozenset(
    {*REQUESTS}
    | {"done"}
    | {str(kind.model_fields["event"].default) for kind in KINDS}
    | {str(kind.model_fields["verb"].default) for kind in RESULTS}
)


class _Identity(BaseModel):
    """The ``id`` of an object that is no valid request otherwise."""

    id: RequestId | None = None


def read_request(line: bytes | str) -> Request:
    """Return the request in ``line``.

    Raises
    ------
    MessageError
        If it is none: a sentence, with the request's ``id`` where it has one.
    """
    try:
        return REQUEST.validate_json(line)
    except ValidationError as error:
        raise MessageError(_request_sentence(error, line), id=_id_of(line)) from None


def read_event(line: bytes | str) -> Event:
    """Return the event in ``line``.

    Raises
    ------
    MessageError
        If it is none: a sentence.
    """
    try:
        return EVENT.validate_json(line)
    except ValidationError as error:
        text = f"An event needs the fields of its kind: {mistakes(error)} Found {_shown(line)}."
        raise MessageError(text) from None


def read_note(model: type[_Model], value: Any, place: Path | str, remedy: str) -> _Model:
    """Return ``value``, JSON values out of a project, as ``model``.

    ``place`` names the file for the person; ``remedy`` is the sentence that says what to do.

    Raises
    ------
    ProjectError
        If ``value`` is something else: a sentence that names the mistakes.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ProjectError(f"'{place}' is damaged: {mistakes(error)} {remedy}") from None


def mistakes(error: ValidationError) -> str:
    """Return the first mistakes of ``error``, a sentence each."""
    errors = error.errors(include_url=False, include_context=False)
    sentences = dict.fromkeys(_mistake(each) for each in errors)
    return " ".join(list(sentences)[:_MISTAKES])


def _mistake(error: ErrorDetails) -> str:
    # The tags of unions stand in the place too; nobody wrote them.
    parts = [str(part) for part in error["loc"]]
    place = ".".join(part for part in parts if part not in _TAGS and "[" not in part)
    if error["type"] == "missing":
        return f"'{place}' is missing."
    if error["type"] == "extra_forbidden":
        return f"Unknown field '{shortened(place)}'."
    if error["type"] in _NO_OBJECT:
        return "It is no JSON object."
    if error["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        return "Its kind, or the verb of its kind, is absent or unknown."
    needed = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"'{place}' needs {needed}, found {_shown(error['input'])}."


def _request_sentence(error: ValidationError, line: bytes | str) -> str:
    first = error.errors(include_url=False)[0]
    verbs = ", ".join(REQUESTS)
    if first["type"] in _NO_OBJECT:
        return f"A request needs to be one JSON object with a verb, found {_shown(line)}."
    if first["type"] == "union_tag_not_found":
        return f"A request needs a verb ({verbs}), found none in {_shown(line)}."
    if first["type"] == "union_tag_invalid":
        tag = first["ctx"]["tag"]
        return f"A request needs one of the verbs {verbs}, found {_shown(tag)}."
    verb, name = str(first["loc"][0]), str(first["loc"][1])
    field = REQUESTS[verb].model_fields.get(name)
    if field is None:
        known = ", ".join(REQUESTS[verb].model_fields)
        return f"The request '{verb}' has the fields {known}, found '{shortened(name)}'."
    found = "nothing" if first["type"] == "missing" else _shown(first["input"])
    return f"The request '{verb}' needs '{name}' to be {field.description}, found {found}."


def _id_of(line: bytes | str) -> int | str | None:
    try:
        return _Identity.model_validate_json(line).id
    except ValidationError:
        return None


def _shown(value: Any) -> str:
    """Return the beginning of ``value`` for a sentence, whatever its length and depth."""
    if isinstance(value, bytes):
        value = value[:_LOOKED_AT].decode(errors="replace")
    if isinstance(value, str):
        return f"'{shortened(value.strip())}'"
    if isinstance(value, int) and value.bit_length() > _MANY_BITS:
        return "a number of very many digits"
    if isinstance(value, bool | int | float) or value is None:
        return str(value)
    if isinstance(value, Mapping):
        return f"an object with {len(value)} fields"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return type(value).__name__
