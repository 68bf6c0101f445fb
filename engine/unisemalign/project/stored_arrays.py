"""What Zarr files in a project may say. They are outside input: checked before zarr reads them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from numcodecs import zstd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unisemalign.errors import ProjectError

CHUNK_PX = 512
_NOTE_LIMIT_BYTES = 64 * 1024
_Side = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class DamagedStoreError(ProjectError):
    """A file of labels or predictions holds something else than this program writes there."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _BytesCodec(_Part):
    name: Literal["bytes"]
    configuration: dict[Literal["endian"], Literal["little", "big"] | None] = {}


class _ZstdConfiguration(_Part):
    level: int = Field(strict=True, ge=-22, le=22)
    checksum: bool = False


class _ZstdCodec(_Part):
    name: Literal["zstd"]
    configuration: _ZstdConfiguration


class _GridConfiguration(_Part):
    chunk_shape: tuple[Literal[512], Literal[512]]


class _Grid(_Part):
    name: Literal["regular"]
    configuration: _GridConfiguration


class _KeyConfiguration(_Part):
    separator: Literal["/"] = "/"


class _Keys(_Part):
    name: Literal["default"]
    configuration: _KeyConfiguration = _KeyConfiguration()


class _ArrayNote(_Part):
    """``zarr.json`` of an array: no code, no codec and no path but ours can be named in it."""

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: tuple[_Side, _Side]
    data_type: Literal["uint8"]
    chunk_grid: _Grid
    chunk_key_encoding: _Keys
    fill_value: Literal[0]
    codecs: tuple[_BytesCodec, _ZstdCodec]
    attributes: dict[str, Any] = {}
    dimension_names: tuple[Literal["y"], Literal["x"]] | None = None
    storage_transformers: tuple[()] = ()


class _GroupNote(_Part):
    zarr_format: Literal[3]
    node_type: Literal["group"]
    attributes: dict[str, Any] = {}
    consolidated_metadata: None = None


def check_stored(key: str, content: bytes) -> None:
    """See that a file of a store is one that this program writes.

    Parameters
    ----------
    key
        Its place in the store.
    content
        All of it.

    Raises
    ------
    DamagedStoreError
        If it is something else. Nothing has been unpacked then.
    """
    if key.endswith("zarr.json"):
        _check_note(key, content)
    elif not _is_whole_chunk(content):
        raise DamagedStoreError(
            f"The chunk '{key}' is damaged: it needs {CHUNK_PX} × {CHUNK_PX} pixels, compressed as "
            f"Zstandard, found something else. Of labels: take that file from a backup. Of a "
            f"prediction: delete the slide's folder there and segment the slide again."
        )


def _check_note(key: str, content: bytes) -> None:
    try:
        if len(content) > _NOTE_LIMIT_BYTES:
            raise ValueError(f"{len(content)} bytes are too many")
        fields = json.loads(content)
        node = fields.get("node_type") if isinstance(fields, dict) else None
        (_GroupNote if node == "group" else _ArrayNote).model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DamagedStoreError(
            f"'{key}' needs what this program writes, found a mistake in {place}: {first['msg']}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(f"'{key}' needs to be JSON, found: {error}"[:300]) from None


def _is_whole_chunk(frame: bytes) -> bool:
    # First what it says: a frame may claim to unpack to more than any memory.
    if _unpacked_bytes(frame) != CHUNK_PX * CHUNK_PX:
        return False
    try:
        return len(zstd.decompress(frame)) == CHUNK_PX * CHUNK_PX
    except RuntimeError:
        return False


def _unpacked_bytes(frame: bytes) -> int | None:
    """Return how many bytes a Zstandard frame says it unpacks to (RFC 8878, 3.1.1.1)."""
    if len(frame) < 6 or frame[:4] != _ZSTD_MAGIC:
        return None
    descriptor = frame[4]
    single, flag = descriptor >> 5 & 1, descriptor >> 6
    size = (1 if single else 0, 2, 4, 8)[flag]
    start = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    if not size or len(frame) < start + size:
        return None
    return int.from_bytes(frame[start : start + size], "little") + (256 if flag == 1 else 0)
