"""Slides shared out to Dask workers: real processes on one machine."""

import json

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from tests.engine.conftest import QUICK, draw_textures
from unisemalign.cli.app import app
from unisemalign.errors import CancelledError, SettingsError
from unisemalign.geometry import Rect
from unisemalign.inference import load_predictor, segment_slide
from unisemalign.inference.cluster import segment_on_cluster
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import train_round

KINDS = ("class", "confidence", "disagreement")


@pytest.fixture(scope="module")
def cluster():
    """Two workers that compute as this process does: sums over more threads round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    env = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, env=env
    ) as running:
        yield running
    torch.set_num_threads(threads)


@pytest.fixture
def trained(study, tmp_path):
    settings = build_settings(
        overrides={**QUICK, "training.steps": 2, "inference.skip_glass": False}
    )
    train_round(study, settings, events=SilentEvents())
    draw_textures(tmp_path / "wide.png", 7, shape=(1200, 1500))
    study.add_slide(tmp_path / "wide.png", spacing_um=0.5)
    return study


def maps_of(project, name, number=1):
    store = project.predictions(number, name)
    return [np.asarray(level) for kind in KINDS for level in store.levels(kind)]


def die_after_a_band(dead):
    """Return what makes the first worker that stores a band of the large slide end at once."""

    def arm():
        import os
        import signal

        from unisemalign.project import PredictionStore

        plainly = PredictionStore.write

        def write(store, rect, **planes):
            plainly(store, rect, **planes)
            if store.shape_yx == (1200, 1500) and not dead.exists():
                dead.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        PredictionStore.write = write

    return arm


def test_a_cluster_gives_the_maps_of_one_machine_though_a_worker_dies(trained, cluster, tmp_path):
    """The command a person types; the first worker to store a band is killed."""
    predictor, _ = load_predictor(trained)
    names = [slide.name for slide in trained.slides()]
    alone = {}
    for name in names:
        segment_slide(trained, name, predictor, 1, events=SilentEvents(), cancel=CancelToken())
        alone[name] = maps_of(trained, name)
        trained.remove_prediction(1, name)

    dead = tmp_path / "dead"
    with Client(cluster) as client:
        client.run(die_after_a_band(dead))
    told = CliRunner().invoke(
        app, ["segment", str(trained.root), "--dask", cluster.scheduler_address, "--json"]
    )
    assert dead.exists()
    assert told.exit_code == 0, told.output
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert {e["slide"] for e in events if e["event"] == "done"} == set(names)
    for name in names:
        for mine, theirs in zip(maps_of(trained, name), alone[name], strict=True):
            assert np.array_equal(mine, theirs), name


def test_a_slide_that_fails_is_told_and_the_others_are_done(trained, cluster, tmp_path):
    (tmp_path / "wide.png").unlink()
    told = CliRunner().invoke(
        app, ["segment", str(trained.root), "--dask", cluster.scheduler_address, "--json"]
    )
    assert told.exit_code == 1
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert {e["slide"] for e in events if e["event"] == "done"} == {"a", "b", "c"}
    assert events[-1]["text"].startswith("1 of 4 slides could not be segmented: wide.")
    (why,) = [e["text"] for e in events if e["event"] == "message"]
    assert why.startswith("wide: ")
    assert trained.predictions(1, "a").read(Rect(0, 0, 192, 256)).any()


def test_a_stop_reaches_the_workers(trained, cluster):
    token = CancelToken()
    token.request()
    results = segment_on_cluster(
        trained.root, ["wide"], 1, [], address=cluster.scheduler_address, cancel=token
    )
    with pytest.raises(CancelledError):
        list(results)
    assert not list((trained.root / "predictions").glob("cancel-*"))


def test_nobody_at_the_address_is_a_sentence(trained):
    results = segment_on_cluster(
        trained.root, ["a"], 1, [], address="tcp://127.0.0.1:9", cancel=CancelToken()
    )
    with pytest.raises(SettingsError, match="nobody answers at 'tcp://127.0.0.1:9'"):
        list(results)
