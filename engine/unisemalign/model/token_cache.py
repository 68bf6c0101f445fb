"""What a frozen encoder said, kept on disk: a crop that comes back is not encoded again."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
import zlib
from contextlib import suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from unisemalign.model.encoders import Encoder
from unisemalign.protocol import Message
from unisemalign.runtime import Events

_FORMAT = "tokens 1"
_SUFFIX = ".safetensors"
_ROOM = 0.9
"""What is left of a full folder after room was made."""
_LOOK = 0.05
"""How much is added, by all processes, before looking what others added."""
_STALE_S = 3600


class TokenCache:
    """Both maps of a frozen encoder, one file a crop, named after everything they depend on.

    The name is a hash of the encoder's exact input pixels and of the encoder itself: weights, taps,
    precision, device, torch's and timm's version. Whatever changes the maps changes the name, so
    nothing is ever out of date. Values are float16 (float32 where one would overflow): about 1 MB
    for a crop of 256 px through a ViT-L.

    A crop is encoded by itself, never in a batch, and a miss returns the rounded values too. So the
    answer does not depend on what was in the cache, nor on which crops lay beside it.

    Parameters
    ----------
    folder
        Made when the first map is kept. May be deleted at any time.
    limit_bytes
        What the folder may hold; the maps unused for longest make room.
    events
        Told when a file is damaged or the disk is full; training goes on in both cases.
    sharers
        Processes that keep maps in the folder; together they stay within the bound.
    """

    def __init__(self, folder: Path, limit_bytes: int, events: Events, *, sharers: int = 1) -> None:
        self.hits = self.misses = 0
        self._folder = folder
        # What others have added since one looked must fit as well.
        self._limit = limit_bytes if sharers == 1 else int((1 - _LOOK) * limit_bytes)
        self._look = _LOOK * limit_bytes / sharers
        self._events = events
        self._digests: WeakKeyDictionary[Encoder, str] = WeakKeyDictionary()
        self._held: int | None = None
        self._added = 0
        self._keeping = True

    def __call__(self, encoder: Encoder, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what ``encoder`` makes of ``pixels`` ``(B, 3, H, W)``, rounded to float16."""
        about = self._about(encoder, pixels)
        pairs = [self._one(encoder, crop, about) for crop in torch.split(pixels, 1)]
        device = pixels.device
        low, high = (
            torch.cat([one.to(device).float() for one in maps]) for maps in zip(*pairs, strict=True)
        )
        return low, high

    def _one(self, encoder: Encoder, crop: Tensor, about: bytes) -> tuple[Tensor, Tensor]:
        crop = crop.contiguous()
        digest = hashlib.blake2b(about, digest_size=20)
        digest.update(str(tuple(crop.shape)).encode())
        digest.update(crop.detach().float().cpu().numpy().data)
        name = digest.hexdigest()
        path = self._folder / name[:2] / f"{name}{_SUFFIX}"
        found = self._read(path)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        with torch.no_grad():
            low, high = (_rounded(maps) for maps in encoder(crop))
        self._keep(path, low, high)
        return low, high

    def _about(self, encoder: Encoder, pixels: Tensor) -> bytes:
        kind = pixels.device.type
        inside = torch.is_autocast_enabled(kind)
        precision = torch.get_autocast_dtype(kind) if inside else torch.float32
        return f"{self._encoder_digest(encoder)} {kind} {precision}".encode()

    def _encoder_digest(self, encoder: Encoder) -> str:
        known = self._digests.get(encoder)
        if known is None:
            known = self._digests[encoder] = encoder_digest(encoder)
        return known

    def _read(self, path: Path) -> tuple[Tensor, Tensor] | None:
        try:
            with safe_open(path, framework="pt") as file:
                low, high = file.get_tensor("low"), file.get_tensor("high")
                whole = (file.metadata() or {}).get("check") == _check(low, high)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError):
            whole = False
        if not whole:
            self._events.emit(
                Message(text=f"A file of the token cache was damaged and is made anew: {path}")
            )
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # another process may have made room meanwhile
            os.utime(path)  # used last: the last to make room
        return low, high

    def _keep(self, path: Path, low: Tensor, high: Tensor) -> None:
        if not self._keeping:
            return
        low, high = low.cpu(), high.cpu()
        data = save({"low": low, "high": high}, metadata={"check": _check(low, high)})
        try:
            if not self._make_room(len(data)):
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part")
            try:
                # Not forced onto the disk: a file lost with the power fails its check.
                part.write_bytes(data)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            self._keeping = False
            self._events.emit(
                Message(
                    text=f"The token cache keeps nothing more: {error.strerror or error}. Training "
                    f"goes on without.",
                )
            )

    def _make_room(self, needed: int) -> bool:
        """Delete what was unused for longest until ``needed`` more bytes fit the bound."""
        if needed > self._limit:
            return False
        if (
            self._held is None
            or self._held + needed > self._limit
            or self._added + needed > self._look
        ):
            self._held, self._added = self._swept(self._limit - needed), 0
        self._held += needed
        self._added += needed
        return True

    def _swept(self, limit: int) -> int:
        """Return the bytes that are held; where above ``limit``, after deleting down to 90 %."""
        files = []
        for path in self._folder.rglob("*"):
            try:
                about = path.stat()
                if path.suffix == _SUFFIX:
                    files.append((about.st_mtime_ns, about.st_size, path))
                elif path.suffix == ".part" and time.time() - about.st_mtime > _STALE_S:
                    path.unlink()  # of a killed process
            except FileNotFoundError:
                continue  # another process made room too
        held = sum(size for _, size, _ in files)
        if held <= limit:
            return held
        for _, size, path in sorted(files):
            if held <= _ROOM * limit:
                break
            path.unlink(missing_ok=True)
            held -= size
        return held


def encoder_digest(encoder: Encoder) -> str:
    """Return a hash of all that an encoder's maps depend on but pixels, device and precision."""
    # How a width is divided into heads is in no weight's shape, and in no module's own words.
    heads = [m.num_heads for m in encoder.modules() if hasattr(m, "num_heads")]
    about = f"{_FORMAT} torch {torch.__version__} timm {timm.__version__} {heads} {encoder!r}"
    digest = hashlib.blake2b(about.encode())
    for name, value in encoder.state_dict().items():
        digest.update(f"{name} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _rounded(maps: Tensor) -> Tensor:
    # One memory layout for hits and misses: convolutions sum in an order that depends on it.
    half = maps.half().contiguous()
    return half if bool(half.isfinite().all()) else maps.float().contiguous()


def _check(low: Tensor, high: Tensor) -> str:
    return str(zlib.crc32(high.numpy().data, zlib.crc32(low.numpy().data)))
