"""The features of a GeoJSON one after the other: no more than one of them is held in memory.

Plain text, gzip, or the first GeoJSON in a zip; UTF-8 or UTF-16 with or without a byte-order mark.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any, BinaryIO

from unisemalign.errors import DataError
from unisemalign.slides.files import check_regular

MOST_BYTES = 16 * 2**30
"""Of text in one file, however well it is packed."""
_MOST_FEATURE_CHARS = 2**28
_PIECE_CHARS = 2**20
_LONGEST_REST = 8
"""Of a number that was cut off after a part that is one by itself: ``1.5`` of ``1.5e-300``."""
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_BLANK = " \t\r\n"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_INSIDE = (".geojson", ".json", ".xml")


class NoJsonError(ValueError):
    """What was found is no GeoJSON."""


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """Open a text file, unpacked where it is a gzip or a zip.

    Raises
    ------
    DataError
        If it cannot be opened, or is larger than :data:`MOST_BYTES`.
    """
    check_regular(path, "GeoJSON", DataError)
    with ExitStack() as opened:
        try:
            if path.is_dir():
                raise DataError(
                    f"Outlines need a file; found a folder at '{path}'. Choose a GeoJSON file."
                )
            if path.stat().st_size > MOST_BYTES:
                raise DataError(
                    f"'{path.name}' has {path.stat().st_size / 2**30:.0f} GB; up to "
                    f"{MOST_BYTES >> 30} are read. Export fewer objects."
                )
            file = opened.enter_context(path.open("rb"))
            start = file.read(4)
            file.seek(0)
            if start[:2] == _GZIP:
                yield opened.enter_context(gzip.open(file))  # type: ignore[misc]
            elif start == _ZIP:
                yield opened.enter_context(_first_inside(path, opened))
            else:
                yield file
        except OSError as error:
            raise DataError(
                f"Cannot read '{path}': {error.strerror or error}. Choose a GeoJSON file."
            ) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise DataError(f"'{path.name}' cannot be unpacked: {error}. Copy it again.") from error


def _first_inside(path: Path, opened: ExitStack) -> BinaryIO:
    packed = opened.enter_context(zipfile.ZipFile(path))
    names = [name for name in packed.namelist() if name.lower().endswith(_INSIDE)]
    names = [name for name in names if not Path(name).name.startswith(".")]
    if not names:
        raise DataError(f"'{path.name}' holds no GeoJSON. Unpack it and choose the file.")
    if packed.getinfo(names[0]).flag_bits & 1:
        raise DataError(f"'{path.name}' is locked by a password. Unpack it and choose the file.")
    return packed.open(names[0])  # type: ignore[return-value]


def iter_features(path: Path) -> Iterator[Any]:
    """Yield the features of a FeatureCollection, of a list, or the only one.

    Raises
    ------
    NoJsonError
        If the text is none; :class:`DataError` as :func:`open_text`.
    """
    with open_text(path) as file:
        text = _Text(file)
        try:
            start = text.peek()
            if start == "[":
                yield from _items(text)
            elif start == "{":
                yield from _collection(text)
            else:
                raise NoJsonError("it begins with neither '{' nor '['")
        except (RecursionError, UnicodeDecodeError, ValueError) as error:
            if isinstance(error, NoJsonError):
                raise
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            raise NoJsonError(str(reason)) from error


def _collection(text: _Text) -> Iterator[Any]:
    """Yield from the list called ``features``, or the object itself where it is a feature."""
    text.skip("{")
    found: dict[str, Any] = {}
    streamed = False
    while text.peek() != "}":
        key = text.value()
        text.skip(":")
        if key == "features" and text.peek() == "[":
            streamed = True
            yield from _items(text)
        else:
            found[str(key)] = text.value()
        if text.peek() != ",":
            break
        text.skip(",")
    text.skip("}")
    if not streamed:
        if found.get("type") != "Feature":
            raise NoJsonError("it has no list of features")
        yield found


def _items(text: _Text) -> Iterator[Any]:
    text.skip("[")
    while text.peek() != "]":
        yield text.value()
        if text.peek() != ",":
            break
        text.skip(",")
    text.skip("]")


class _Text:
    """Text read in pieces, of which no more is held than the value that is being read."""

    def __init__(self, file: BinaryIO) -> None:
        start = file.read(4)
        encoding = next((name for bom, name in _BOMS if start.startswith(bom)), "utf-8")
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._file = file
        self._text = self._decoder.decode(start)
        self._at = 0
        self._read = len(start)
        self._ended = not start
        self._json = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more(_PIECE_CHARS):
                return ""

    def skip(self, wanted: str) -> None:
        """Step over ``wanted``."""
        found = self.peek()
        if found != wanted:
            raise NoJsonError(f"'{wanted}' is missing" if found else "it ends too early")
        self._at += 1

    def value(self) -> Any:
        """Return the next value."""
        if not self.peek():
            raise NoJsonError("it ends too early")
        piece = _PIECE_CHARS
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except JSONDecodeError:
                # Perhaps cut off. Twice as much each time, so that all is read a few times at most.
                if len(self._text) - self._at > _MOST_FEATURE_CHARS:
                    raise NoJsonError("one of its objects is too large") from None
                if not self._more(piece):
                    raise
                piece *= 2
                continue
            # A number may go on in the next piece.
            if len(self._text) - end < _LONGEST_REST and self._more(_PIECE_CHARS):
                continue
            self._at = end
            return value

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        data = self._file.read(size)
        self._read += len(data)
        if self._read > MOST_BYTES:
            raise NoJsonError(f"it has more than {MOST_BYTES >> 30} GB")
        self._ended = not data
        self._text = self._text[self._at :] + self._decoder.decode(data, final=self._ended)
        self._at = 0
        return True


def first_character(path: Path) -> str:
    """Return the first character of a text file that is no blank: ``<`` for XML."""
    with open_text(path) as file:
        start = file.read(4096)
    for bom, name in _BOMS:
        if start.startswith(bom):
            return start.decode(name, "ignore").lstrip()[:1]
    return start.decode("utf-8", "ignore").lstrip()[:1]


def read_all(path: Path, most_bytes: int) -> bytes:
    """Return the whole of a text file of at most ``most_bytes``."""
    with open_text(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise DataError(f"'{path.name}' has more than {most_bytes >> 20} MB. Export fewer objects.")
    return data
