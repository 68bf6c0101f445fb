"""Names: of slides, safe as names of files on every system; and of persons."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from unisemalign.errors import DataError, ProjectError

_MAX_BYTES = 180
_LONGEST_PERSON = 200
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_name(text: str) -> str:
    """Return ``text`` as a name that is a file name everywhere; letters of any script stay."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text))
    name = "".join(
        c if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} else "_" for c in name
    )
    # File systems count bytes, and a cut must not split a letter.
    name = name.encode()[:_MAX_BYTES].decode(errors="ignore")
    name = name.strip(" .")
    if _RESERVED.match(name):
        name = f"_{name}"
    return name or "slide"


def unique_name(text: str, taken: Callable[[str], bool]) -> str:
    """Return :func:`safe_name` of ``text``, with ``-2``, ``-3`` … added while it is ``taken``."""
    base = safe_name(text)
    name, number = base, 2
    while taken(name):
        name = f"{base}-{number}"
        number += 1
    return name


def check_name(name: str) -> str:
    """Return ``name`` if it cannot lead outside the project's folders.

    Raises
    ------
    ProjectError
        If a damaged or doctored project offers a name that this package would never give.
    """
    stem, _, number = name.rpartition("-")
    if name != safe_name(name) and not (number.isdigit() and stem == safe_name(stem)):
        raise ProjectError(
            f"project.sqlite: a slide's name needs to be a plain file name, found {name!r}. "
            f"The project is damaged: take project.sqlite from a backup."
        )
    return name


def check_person(name: str) -> str:
    """Return a person's name without blanks around it.

    Raises
    ------
    DataError
        For a name that is empty, longer than 200 characters or not printable.
    """
    plain = " ".join(name.split())
    if not 1 <= len(plain) <= _LONGEST_PERSON or not plain.isprintable():
        raise DataError(
            f"A person's name needs 1 to {_LONGEST_PERSON} printable characters, found "
            f"{plain[:_LONGEST_PERSON]!r}. Write it another way."
        )
    return plain
