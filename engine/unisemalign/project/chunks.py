"""Zarr chunks as files that are whole or absent."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from unisemalign.geometry import Rect
from unisemalign.project.stored_arrays import CHUNK_PX, check_stored
from unisemalign.runtime.files import (
    flush_file,
    flush_folder,
    flush_handle,
    make_folder,
    part_beside,
    put_in_place,
    take_away,
)


class WholeFileStore(LocalStore):
    """A folder of Zarr chunks in which a reader meets the old chunk or the new one, never a part.

    Older releases of zarr write chunks in place, and none of them waits for the disk. This store
    writes beside the chunk, waits for the disk when ``durable``, and renames. All of it is on the
    disk after :meth:`flush`: once for many chunks, before anybody says that they are kept.

    Parameters
    ----------
    root
        The folder.
    read_only
        Whether writing raises.
    durable
        Whether a chunk's content is waited for before it replaces the one before. Where it is not,
        some file systems lose both in a power cut.
    empty_is_absent
        Whether a file without content, which such a power cut leaves, counts as absent.
    """

    def __init__(
        self,
        root: Path,
        *,
        read_only: bool = False,
        durable: bool = True,
        empty_is_absent: bool = False,
    ) -> None:
        super().__init__(root, read_only=read_only)
        self.durable = durable
        self._empty_is_absent = empty_is_absent
        self._unflushed: set[Path] = set()

    def with_read_only(self, read_only: bool = False) -> WholeFileStore:
        """Return the same store, read-only or not."""
        same = type(self)(
            self.root,
            read_only=read_only,
            durable=self.durable,
            empty_is_absent=self._empty_is_absent,
        )
        same._unflushed = self._unflushed
        return same

    def flush(self) -> None:
        """Wait until every change so far is on the disk."""
        # Files first: a name is worth nothing before what it names.
        for path in sorted(self._unflushed, key=Path.is_dir):
            with contextlib.suppress(FileNotFoundError):  # replaced, or the store was removed
                flush_folder(path) if path.is_dir() else flush_file(path)
            self._unflushed.discard(path)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the content of one file, checked; ``None`` when it is absent."""
        found = await super().get(key, prototype, byte_range)
        if found is None or (self._empty_is_absent and len(found) == 0):
            return None
        check_stored(str(self.root / key), found.to_bytes())
        return found

    async def set(self, key: str, value: Any) -> None:
        """Write one file, whole."""
        await asyncio.to_thread(self.set_sync, key, value)

    def set_sync(self, key: str, value: Any) -> None:
        """Write one file, whole."""
        self._check_writable()
        path = self.root / key
        write_whole(path, value.to_bytes(), self.durable)
        self._note(path)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        """Write one file, whole, unless it is there."""
        if not (self.root / key).exists():
            await self.set(key, value)

    async def delete(self, key: str) -> None:
        """Remove one file (or folder), if it is there."""
        await asyncio.to_thread(self.delete_sync, key)

    def delete_sync(self, key: str) -> None:
        """Remove one file (or folder), if it is there."""
        self._check_writable()
        path = self.root / key
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            take_away(path)
        else:
            return
        self._note(path)

    def _note(self, path: Path) -> None:
        self._unflushed.add(path.parent)
        if not self.durable:
            # Nor were folders waited for that this file may be the first in.
            inside = path.parent.relative_to(self.root)
            self._unflushed.update({path, *(self.root / each for each in inside.parents)})


def write_whole(path: Path, content: bytes, durable: bool) -> None:
    """Write ``content`` beside ``path``, then put it in its place."""
    make_folder(path.parent) if durable else path.parent.mkdir(parents=True, exist_ok=True)
    part = part_beside(path)
    try:
        with part.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                flush_handle(file.fileno())
        put_in_place(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def create_array(
    group: zarr.Group, name: str, shape_yx: tuple[int, int], codec: Any
) -> zarr.Array[Any]:
    """Make an empty ``uint8`` array of chunks that cost nothing until they are written."""
    return group.create_array(
        name,
        shape=shape_yx,
        dtype="uint8",
        chunks=(CHUNK_PX, CHUNK_PX),
        fill_value=0,
        compressors=[codec],
        dimension_names=("y", "x"),
        config={"write_empty_chunks": False},
    )


def written_rects(array_folder: Path, shape_yx: tuple[int, int]) -> list[Rect]:
    """Return the rectangles of the chunks on disk, row by row, cut at the array's edge.

    A chunk that became all zero is taken off the disk, so each of these holds something.
    """
    whole = Rect(0, 0, *shape_yx)
    found = []
    for row in _numbered(array_folder / "c"):
        for column in _numbered(row):
            rect = Rect(int(row.name) * CHUNK_PX, int(column.name) * CHUNK_PX, CHUNK_PX, CHUNK_PX)
            found.append(rect.intersect(whole))
    return sorted(rect for rect in found if rect.area)


def is_written(array_folder: Path, rect: Rect) -> bool:
    """Tell whether any chunk under ``rect`` is on disk."""
    return any(
        (array_folder / "c" / str(part.y // CHUNK_PX) / str(part.x // CHUNK_PX)).exists()
        for part in iter_chunks(rect)
    )


def chunk_around(rect: Rect, shape_yx: tuple[int, int]) -> Rect:
    """Return the whole chunk that ``rect``, which lies in one, is a part of."""
    y, x = (side // CHUNK_PX * CHUNK_PX for side in (rect.y, rect.x))
    return Rect(y, x, CHUNK_PX, CHUNK_PX).intersect(Rect(0, 0, *shape_yx))


def iter_chunks(rect: Rect) -> Iterator[Rect]:
    """Yield the part of ``rect`` in each chunk it touches, row by row."""
    for y in range(rect.y // CHUNK_PX, -(-rect.y1 // CHUNK_PX)):
        for x in range(rect.x // CHUNK_PX, -(-rect.x1 // CHUNK_PX)):
            yield rect.intersect(Rect(y * CHUNK_PX, x * CHUNK_PX, CHUNK_PX, CHUNK_PX))


def _numbered(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.isdecimal()]


def flat_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return the array ``name`` of a store, which has rows and columns.

    Raises
    ------
    KeyError, ValueError
        If it is missing, a group, or has another number of axes.
    """
    found = group[name]
    if not isinstance(found, zarr.Array) or len(found.shape) != 2:
        raise ValueError(f"'{name}' needs to be an array of rows and columns")
    return found


def flat_shape(array: zarr.Array[Any]) -> tuple[int, int]:
    """Return rows and columns of a :func:`flat_array`."""
    rows, columns = array.shape
    return int(rows), int(columns)
