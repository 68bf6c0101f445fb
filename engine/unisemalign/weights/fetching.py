"""Fetching weights from the Hugging Face hub: the one place that uses the network.

Files go into the hub client's own cache, so that every program that uses it finds them. The client
(version 2) starts a broken download anew; here the part that arrived is kept and gone on with, and
a file enters the cache only when it has the hash the hub names. The client's own login is used;
this program neither asks for a token nor reads one out.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from unisemalign.errors import BusyError, WeightsError
from unisemalign.protocol import Progress, Start
from unisemalign.runtime.events import Events
from unisemalign.weights.hashes import file_sha256, remember_sha256
from unisemalign.weights.registry import Published

Names = Sequence[str]
_TRIES = 4
_PAUSE_S = 1.0
_CHUNK = 1 << 20
_MEGABYTE = 1e6
_REFUSED = {401, 403}
_TRANSPORT = {"httpx", "httpx2", "httpcore", "httpcore2"}


def fetch_entry(entry: Published, *, events: Events) -> list[Path]:
    """Fetch what ``entry`` needs from the hub, and return the files.

    Raises
    ------
    WeightsError
        If the hub refuses, has no such file, cannot be reached, or sends another file than it
        names. What arrived is kept; the next call goes on from there.
    """
    wanted = [entry.files] + ([entry.tokenizer_files] if entry.tokenizer_files else [])
    return fetch_files(str(entry.repo), wanted, name=entry.name, events=events)


def fetch_files(repo: str, wanted: Sequence[Names], *, name: str, events: Events) -> list[Path]:
    """Fetch from ``repo``, for each of ``wanted``, the first of its names that exists there.

    ``name`` is what the person typed. Errors as :func:`fetch_entry`.
    """
    try:
        return [_fetch_first(repo, names, name, events) for names in wanted]
    except (WeightsError, BusyError):
        raise
    except Exception as error:
        sentence = _sentence(error, repo, name)
        if sentence is None:
            raise
        failure = WeightsError(sentence)
        if _status(error) in _REFUSED:
            failure.steps = refused_steps(repo, name)
        raise failure from error


def _fetch_first(repo: str, names: Names, name: str, events: Events) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for file in names:
        try:
            about = get_hf_file_metadata(hf_hub_url(repo, file))
        except EntryNotFoundError:
            continue
        return _fetch(repo, file, about, name, events)
    listed = " or ".join(f"'{file}'" for file in names)
    raise WeightsError(
        f"'{name}' needs the file {listed} of '{repo}', found none there: the publisher has "
        f"changed it. Fetch the weights by hand and use {name}=PATH."
    )


def _fetch(repo: str, file: str, about: Any, name: str, events: Events) -> Path:
    """Fetch one file into the cache, under its hash, and return its place in the snapshot."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    if about.etag is None or about.size is None or not _is_hash(about.etag):
        raise WeightsError(
            f"The hub names no hash for '{file}' of '{repo}', so it could not be checked. Nothing "
            f"was fetched. Check HF_ENDPOINT, or fetch it by hand and use {name}=PATH."
        )
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    blob = folder / "blobs" / about.etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not blob.exists():
        lock = FileLock(blob.with_suffix(".part.lock"))
        try:
            with lock.acquire(timeout=0):
                part = blob.with_suffix(".part")
                _download(about, part, f"{name}: {file}", events)
                _verify(part, about.etag, name, file)
                part.replace(blob)
        except Timeout:
            raise BusyError(
                f"Fetching '{name}' needs to be the only one, found another process that fetches "
                f"it. "
                f"Wait for it to finish."
            ) from None
        blob.with_suffix(".part.lock").unlink(missing_ok=True)
    # With the file in place under its hash, the client only adds its own bookkeeping.
    place = Path(hf_hub_download(repo, file))
    if len(about.etag) == 64:
        remember_sha256(place, about.etag)
    return place


def _download(about: Any, part: Path, what: str, events: Events) -> None:
    """Download to ``part``, going on from what is there."""
    from huggingface_hub import get_session, hf_raise_for_status

    size = int(about.size)
    have = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if free < size - have:
        raise WeightsError(
            f"{what} needs {(size - have) / _MEGABYTE:.0f} MB, found {free / _MEGABYTE:.0f} MB "
            f"free where '{part.parent}' lies. Free some space there, or set HF_HOME to another "
            f"disk."
        )
    events.emit(Start(what=what, total=round(size / _MEGABYTE, 1)))
    for left in reversed(range(_TRIES)):
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            part.unlink()
            have = 0
        if have == size:
            return
        try:
            with get_session().stream(
                "GET", about.location, headers=_headers(about.location, have), timeout=60
            ) as response:
                hf_raise_for_status(response)
                again = have > 0 and response.status_code == 206
                with part.open("ab" if again else "wb") as file:
                    for chunk in response.iter_bytes(_CHUNK):
                        file.write(chunk)
                        done = round(file.tell() / _MEGABYTE, 1)
                        events.emit(Progress(done=done, total=round(size / _MEGABYTE, 1)))
        except Exception as error:
            if not _is_transport(error) or not left:
                raise
            time.sleep(_PAUSE_S)
    if part.stat().st_size != size:
        raise WeightsError(_stopped(part, size, what))


def _verify(part: Path, etag: str, name: str, file: str) -> None:
    found = file_sha256(part) if len(etag) == 64 else _git_sha1(part)
    if found != etag:
        part.unlink()
        raise WeightsError(
            f"'{file}' of '{name}' did not arrive as published: its hash should be {etag[:12]}…, "
            f"found {found[:12]}…. It was deleted. Fetch it again; if this repeats, something on "
            f"the way changes it."
        )


def _headers(location: str, have: int) -> dict[str, str]:
    """Return the client's headers; its login goes to the hub alone, not to where files are kept."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers: dict[str, str] = build_hf_headers()
    if urlsplit(location).netloc != urlsplit(constants.ENDPOINT).netloc:
        headers.pop("authorization", None)
    headers["Accept-Encoding"] = "identity"
    if have:
        headers["Range"] = f"bytes={have}-"
    return headers


def _git_sha1(path: Path) -> str:
    """Return the hash git, and so the hub, gives a small file."""
    content = path.read_bytes()
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _is_hash(etag: str) -> bool:
    return len(etag) in {40, 64} and all(digit in "0123456789abcdef" for digit in etag)


def _is_transport(error: BaseException) -> bool:
    """Tell whether the network failed, whichever HTTP library the hub's client uses."""
    return type(error).__module__.partition(".")[0] in _TRANSPORT or isinstance(
        error, ConnectionError | TimeoutError
    )


def _stopped(part: Path, size: int, what: str) -> str:
    have = part.stat().st_size if part.exists() else 0
    return (
        f"{what} stopped at {have / _MEGABYTE:.1f} of {size / _MEGABYTE:.1f} MB. Run the same "
        f"command again: it goes on from there."
    )


def _sentence(error: BaseException, repo: str, name: str) -> str | None:
    """Say in plain words what the hub or the network answered; ``None`` if it was neither."""
    from huggingface_hub import constants

    status = _status(error)
    if status in _REFUSED:
        return refused_sentence(repo, name)
    if status == 404:
        return f"The hub knows no '{repo}', which '{name}' needs. Check the name."
    if status is not None:
        return f"The hub answered {status} for '{repo}'. Try again later."
    if _is_transport(error):
        return (
            f"The download of '{name}' broke off or did not begin: {constants.ENDPOINT} could not "
            f"be reached ({error}). Run the same command again where there is a network: it goes "
            f"on from what arrived."
        )
    return None


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def refused_steps(repo: str, name: str) -> tuple[str, str, str]:
    """Return the three steps to weights whose licence has not been accepted."""
    return (
        f"open https://huggingface.co/{repo}, log in, and accept the terms",
        "run 'hf auth login' once (the Hugging Face client keeps your token, this program never "
        "asks for it)",
        f"run 'unisemalign weights get {name}' again",
    )


def refused_sentence(repo: str, name: str) -> str:
    """Say the three steps of :func:`refused_steps` in one go."""
    steps = "; ".join(f"{k}. {step}" for k, step in enumerate(refused_steps(repo, name), start=1))
    return (
        f"The hub refused '{name}': its licence must be accepted by you. Three steps: {steps}. "
        f"Some publishers answer a request only after days."
    )
