"""Which image is used for what: read from a file, or drawn, the same at each call."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from unisemalign.errors import DataError
from unisemalign.runtime.files import read_note_text

_USES = ("labeled", "unlabeled", "val", "test")
_VAL_SHARE = 0.2


@dataclass(frozen=True)
class Names:
    """A partition by name; ``test`` is ``None`` where the file does not say."""

    part: str
    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] | None = None


def read_splits(folder: Path, name: str, fraction: int) -> Names:
    """Return the table ``NAME_FRACTION`` of ``splits.toml``, or the only one called ``NAME_…``.

    Raises
    ------
    DataError
        If the file is missing or damaged, has no such table or several, or the table lacks a list.
    """
    path = folder / "splits.toml"
    try:
        splits = tomllib.loads(read_note_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"'{name}' needs images/, masks/ and splits.toml in '{folder}', found no splits.toml. "
            f"Check --data."
        ) from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, nested without end
        raise DataError(f"'{path}' cannot be read: {error}. Mend it, or copy it again.") from None
    key = f"{name}_{fraction}"
    others = [each for each in splits if each.startswith(f"{name}_")]
    if key not in splits and len(others) == 1:
        key = others[0]
    found: Any = splits.get(key)
    for use in _USES:
        names = found.get(use, [] if use == "test" else None) if isinstance(found, dict) else None
        fits = isinstance(names, list) and all(map(_is_inside, names))
        if not fits or (use in {"labeled", "val"} and not names):
            raise DataError(
                f"'{path}' needs a table '{key}' with lists of image names, 'labeled', "
                f"'unlabeled' and 'val', found {str(names)[:200]} for '{use}'."
            )
    lists = {use: tuple(found.get(use, ())) for use in _USES}
    return Names(
        key.removeprefix(f"{name}_"),
        lists["labeled"],
        lists["unlabeled"],
        lists["val"],
        lists["test"] if "test" in found else None,
    )


def _is_inside(name: object) -> bool:
    """Tell whether a value is a name that leads to no other folder than the data set's."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    path = PureWindowsPath(name)  # knows both separators, and drives
    return not path.anchor and ".." not in path.parts


def draw_partition(
    names: Sequence[str],
    fraction: int,
    *,
    val: Sequence[str] | None = None,
    group: Callable[[str], str] = str,
) -> Names:
    """Return a partition drawn by name alone: every machine draws the same.

    Parameters
    ----------
    names
        Images to learn from, and to choose on unless ``val`` is given.
    fraction
        Per cent of them that are labelled; one at least.
    val
        Images to choose on; ``None``: a fifth of ``names``.
    group
        Name → what must stay together, such as a patient.

    Raises
    ------
    DataError
        If there are too few.
    """
    if not 1 <= fraction <= 100:
        raise DataError(
            f"A fraction needs to be 1 to 100 per cent, found {fraction}. Correct --fraction."
        )
    groups = sorted({group(name) for name in names}, key=_mix)
    if val is None:
        count = max(1, round(_VAL_SHARE * len(groups)))
        held = set(groups[:count])
        val = sorted(name for name in names if group(name) in held)
        groups = groups[count:]
    count = max(1, round(fraction / 100 * len(groups)))
    taught = set(groups[:count])
    learned = sorted(name for name in names if group(name) in set(groups))
    labelled = tuple(name for name in learned if group(name) in taught)
    if not labelled or not val:
        raise DataError(
            f"A partition needs images to learn from and others to choose on, found "
            f"{len(names)} in {len(groups)} groups. Check --data."
        )
    unlabelled = tuple(name for name in learned if group(name) not in taught)
    return Names(str(fraction), labelled, unlabelled, tuple(val))


def _mix(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
