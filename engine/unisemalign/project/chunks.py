"""Zarr chunks as files that are whole or absent."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from unisemalign.geometry import Rect

CHUNK_PX = 512


class WholeFileStore(LocalStore):  # type: ignore[misc]  # zarr is not typed here
    """A folder of Zarr chunks in which a reader meets the old chunk or the new one, never a part.

    Older releases of zarr write chunks in place, and none of them waits for the disk. This store
    writes beside the chunk, waits for the disk when ``durable``, and renames.
    """

    def __init__(self, root: Path, *, read_only: bool = False, durable: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self.durable = durable

    def with_read_only(self, read_only: bool = False) -> WholeFileStore:
        """Return the same store, read-only or not."""
        return type(self)(self.root, read_only=read_only, durable=self.durable)

    async def set(self, key: str, value: Any) -> None:
        """Write one file, whole."""
        self._check_writable()
        await asyncio.to_thread(write_whole, self.root / key, value.to_bytes(), self.durable)

    def set_sync(self, key: str, value: Any) -> None:
        """Write one file, whole."""
        self._check_writable()
        write_whole(self.root / key, value.to_bytes(), self.durable)


def write_whole(path: Path, content: bytes, durable: bool) -> None:
    """Write ``content`` beside ``path``, then put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def create_array(group: zarr.Group, name: str, shape_yx: tuple[int, int], codec: Any) -> zarr.Array:
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


def iter_chunks(rect: Rect) -> Iterator[Rect]:
    """Yield the part of ``rect`` in each chunk it touches, row by row."""
    for y in range(rect.y // CHUNK_PX, -(-rect.y1 // CHUNK_PX)):
        for x in range(rect.x // CHUNK_PX, -(-rect.x1 // CHUNK_PX)):
            yield rect.intersect(Rect(y * CHUNK_PX, x * CHUNK_PX, CHUNK_PX, CHUNK_PX))


def _numbered(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.isdecimal()]
