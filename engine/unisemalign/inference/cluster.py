"""Many slides on a Dask cluster, one task a slide. Needs the extra ``cluster``.

The workers see the project's folder under the same path: what they write is where one machine
would have written it. A worker that dies leaves the bands it finished; Dask hands its slide to
another, which goes on from there.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unisemalign.errors import CancelledError, SettingsError, UnisemalignError
from unisemalign.inference.loading import load_predictor
from unisemalign.inference.predictor import Predictor
from unisemalign.inference.segmenting import segment_slide
from unisemalign.project import Project
from unisemalign.protocol import NotSegmented, ProjectLayout, Segmented
from unisemalign.runtime import CancelToken

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
TRIES = 3
_LOOK_EVERY_S = 0.5


def segment_on_cluster(
    root: Path,
    names: Sequence[str],
    round_number: int,
    overrides: Sequence[str],
    *,
    address: str,
    cancel: CancelToken,
) -> Iterator[Segmented | NotSegmented]:
    """Label whole slides on a Dask cluster; yield each one's result as it comes.

    Parameters
    ----------
    root
        The project's folder, on storage that every worker sees under this path.
    names
        The slides.
    round_number, overrides
        What labels them, and how it is used (:func:`load_predictor`).
    address
        Of a scheduler, or ``local``: a cluster of this machine's own, one worker a GPU, or a core.

    Yields
    ------
    Segmented | NotSegmented
        What :func:`segment_slide` returns, or why a slide could not be labelled. The others are
        done all the same.

    Raises
    ------
    CancelledError
        If a stop was asked for. The slides' finished bands are kept.
    SettingsError
        If Dask is not installed, or nobody answers at ``address``.
    """
    stop = ProjectLayout(root).cluster_cancel(uuid.uuid4().hex)
    with _client(address) as client:
        from distributed import wait

        futures: dict[Future[Any], str] = {
            client.submit(
                _segment,
                str(root.resolve()),
                name,
                round_number,
                tuple(overrides),
                str(stop),
                pure=False,
                retries=TRIES - 1,
            ): name
            for name in names
        }
        waiting = set(futures)
        try:
            while waiting:
                if cancel.requested and not stop.exists():
                    stop.parent.mkdir(exist_ok=True)
                    stop.touch()  # whoever works looks at it, and so does who begins
                try:
                    done, _ = wait(waiting, timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED")
                except TimeoutError:
                    if cancel.requested and not client.scheduler_info()["workers"]:
                        break
                    continue
                for future in done:
                    waiting.discard(future)
                    yield _result(future, futures[future])
            cancel.check()
        finally:
            stop.unlink(missing_ok=True)


def _result(future: Future[Any], name: str) -> Segmented | NotSegmented:
    if future.status == "finished":
        result: Segmented | NotSegmented = future.result()
        return result
    error = future.exception()
    text = f"No worker could finish '{name}' in {TRIES} tries: {type(error).__name__}: {error}"
    return NotSegmented(slide=name, text=text)


def _segment(
    root: str, name: str, round_number: int, overrides: tuple[str, ...], stop: str
) -> Segmented | NotSegmented:
    """Label one slide in a worker. A sentence is an answer; anything else is tried again."""
    cancel = CancelToken(Path(stop))
    try:
        cancel.check()
        with Project.open(Path(root)) as project:
            stamp = project.round(round_number).layout.weights.stat().st_mtime_ns
            predictor = _predictor(root, round_number, overrides, stamp)
            return segment_slide(project, name, predictor, round_number, cancel=cancel)
    except (CancelledError, UnisemalignError) as error:
        return NotSegmented(slide=name, text=str(error))


@lru_cache(maxsize=1)
def _predictor(root: str, number: int, overrides: tuple[str, ...], _stamp: int) -> Predictor:
    """Keep a worker's model from one slide to the next."""
    with Project.open(Path(root)) as project:
        return load_predictor(project, number, overrides)[0]


@contextmanager
def _client(address: str) -> Iterator[Client]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise SettingsError(
            "--dask needs Dask, which is not installed. "
            "Run: pip install napari-unisemalign[cluster]"
        ) from error
    if address != LOCAL:
        try:
            client = Client(address, timeout="10s")
        except (OSError, ValueError, TimeoutError) as error:
            raise SettingsError(
                f"--dask needs the address of a Dask scheduler, or {LOCAL}; nobody answers at "
                f"'{address}'. Start one with: dask scheduler"
            ) from error
        with client:
            yield client
        return
    workers = torch.cuda.device_count() or None
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client
