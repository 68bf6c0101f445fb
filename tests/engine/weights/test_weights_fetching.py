"""Weights arrive whole or not at all, go on where they broke off, and work offline from then on."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import save

from tests.engine.model.published_files import numbers, vit_shapes
from tests.engine.weights.hub import Hub
from unisemalign.errors import WeightsError
from unisemalign.runtime import SilentEvents
from unisemalign.weights import find_published

LOGIN = "hf_not_for_the_store"


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def terminal(hub, tmp_path):
    """Run the command line as a person does, with the hub above and a home of its own."""

    def run(*arguments, status=0):
        result = subprocess.run(
            [sys.executable, "-m", "unisemalign", "weights", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env={
                **os.environ,
                "HF_ENDPOINT": hub.endpoint,
                "HF_HOME": str(tmp_path),
                "HF_TOKEN": LOGIN,
                "HF_HUB_DISABLE_XET": "1",
                "NO_PROXY": "127.0.0.1,localhost",
            },
        )
        assert result.returncode == status, result.stderr + result.stdout
        assert LOGIN not in result.stdout + result.stderr
        return result

    return run


def blobs(tmp_path):
    return sorted((tmp_path / "hub").glob("models--*/blobs/*"))


def test_get_then_offline_for_ever(hub, terminal, tmp_path):
    """The file has the size and the parts of the published one; the hub is gone afterwards."""
    entry = find_published("kaiko-s16")
    content = save(numbers(vit_shapes(entry)))
    assert len(content) / 1e6 == pytest.approx(entry.megabytes, rel=0.01)
    hub.files[f"{entry.repo}/model.safetensors"] = content
    events = [
        json.loads(line) for line in terminal("get", entry.name, "--json").stdout.splitlines()
    ]
    assert [events[0]["event"], events[1]["event"], events[-1]["event"]] == [
        "message",
        "start",
        "done",
    ]
    assert "kaiko-non-commercial, terms at https://" in events[0]["text"]
    assert events[-1]["here"]
    done = [event["done"] for event in events if event["event"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(len(content) / 1e6, abs=0.1)
    digest = hashlib.sha256(content).hexdigest()
    assert events[-1]["files"] == [
        {"file": "model.safetensors", "megabytes": round(len(content) / 1e6, 3), "sha256": digest}
    ]
    hub.close()
    rows = {row["name"]: row for row in json.loads(terminal("list", "--json").stdout)["weights"]}
    assert rows[entry.name]["here"]
    assert rows[entry.name]["megabytes_here"] == pytest.approx(86.7, abs=0.1)
    (row,) = json.loads(terminal("check", entry.name, "--json").stdout)["weights"]
    assert row["ok"]
    assert row["sha256"] == digest
    assert row["outputs"] == [[1, 384, 14, 14]] * 2
    blob = blobs(tmp_path)[0]
    blob.chmod(0o644)
    blob.write_bytes(content[:-4] + b"\1\2\3\4")
    failed = terminal("check", entry.name, status=1)
    assert "is not the file that was fetched" in failed.stderr


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub, terminal, tmp_path):
    entry = find_published("phikon")
    content = os.urandom(7_000_000)
    hub.files[f"{entry.repo}/model.safetensors"] = content
    hub.cut_at = 1_100_000  # whole megabytes are kept
    broken = terminal("get", "phikon", status=1)
    assert "it goes on from what arrived" in broken.stderr
    assert [path.suffix for path in blobs(tmp_path) if path.suffix != ".lock"] == [".part"]
    listed = json.loads(terminal("list", "--json").stdout)["weights"]
    assert not next(row for row in listed if row["name"] == "phikon")["here"]
    before = [asked for method, path, asked, _ in hub.requests if path.startswith("/store/")]
    assert before == [None, "bytes=1048576-", "bytes=2097152-", "bytes=3145728-"]
    hub.requests.clear()
    terminal("get", "phikon")
    after = [asked for method, path, asked, _ in hub.requests if path.startswith("/store/")]
    assert after == ["bytes=4194304-", "bytes=5242880-", "bytes=6291456-"]
    assert [p.read_bytes() for p in blobs(tmp_path)] == [content]


def test_what_arrives_otherwise_than_published_is_deleted(hub, terminal, tmp_path):
    entry = find_published("phikon")
    hub.files[f"{entry.repo}/model.safetensors"] = os.urandom(10_000)
    hub.spoil = True
    assert "did not arrive as published" in terminal("get", "phikon", status=1).stderr
    assert not [path for path in blobs(tmp_path) if path.suffix != ".lock"]
    hub.spoil = False
    terminal("get", "phikon")


@pytest.mark.parametrize(("status", "gated"), [(401, False), (401, True), (403, True)])
def test_a_refusal_becomes_three_steps(hub, terminal, status, gated):
    hub.refuse, hub.gated = status, gated
    said = terminal("get", "uni", status=1).stderr
    for step in (
        "1. open https://huggingface.co/MahmoodLab/uni",
        "2. run 'hf auth login' once",
        "3. run 'unisemalign weights get uni' again",
    ):
        assert step in said
    told = json.loads(terminal("get", "uni", "--json", status=1).stdout.splitlines()[-1])
    assert told["event"] == "failed"
    assert len(told["steps"]) == 3
    assert all(step in told["text"] for step in told["steps"])


def test_what_the_hub_does_not_know_is_told(hub, terminal):
    assert "The hub knows no 'owkin/phikon'" in terminal("get", "phikon", status=1).stderr
    hub.files["owkin/phikon/README.md"] = b"moved"
    said = terminal("get", "phikon", status=1).stderr
    assert "needs the file 'model.safetensors' or 'pytorch_model.bin' of 'owkin/phikon'" in said
    hub.refuse = 500
    assert "The hub answered 500" in terminal("get", "phikon", status=1).stderr
    hub.close()
    assert "could not be reached" in terminal("get", "phikon", status=1).stderr


def test_the_second_name_a_tokenizer_and_where_the_login_goes(hub, terminal, tmp_path):
    entry = find_published("keep")
    hub.files[f"{entry.repo}/{entry.files[0]}"] = os.urandom(5000)
    hub.files[f"{entry.repo}/vocab.txt"] = b"[PAD]\n[UNK]\n"
    terminal("get", "keep")
    assert len(blobs(tmp_path)) == 2
    rows = {row["name"]: row for row in json.loads(terminal("list", "--json").stdout)["weights"]}
    assert rows["keep"]["here"]
    asked = {path.startswith("/store/"): login for _, path, _, login in hub.requests}
    assert asked == {False: True, True: False}  # the hub is shown the login, the file store is not


def test_conchs_tokenizer_is_named_when_it_is_missing(hub, terminal):
    hub.files["MahmoodLab/conch/pytorch_model.bin"] = os.urandom(5000)
    assert "conch_byte_level_bpe_uncased.json" in terminal("get", "conch").stderr
    rows = {row["name"]: row for row in json.loads(terminal("list", "--json").stdout)["weights"]}
    assert not rows["conch"]["here"]
    assert rows["conch"]["megabytes_here"] == 0.0
    assert rows["conch-vision"]["here"]


def test_any_name_on_the_hub(hub, terminal, tmp_path):
    hub.files["me/mine/config.json"] = b"{}"
    hub.files["me/mine/pytorch_model.bin"] = b"y" * 100
    terminal("get", "hf-hub:me/mine")
    assert len(blobs(tmp_path)) == 2


def test_a_full_disk_is_told_before_anything_is_sent(hub, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from unisemalign.weights import fetching

    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    about = SimpleNamespace(size=5_000_000, location=f"{hub.endpoint}/store/x")
    with pytest.raises(WeightsError, match="needs 5 MB, found 1 MB free"):
        fetching._download(about, tmp_path / "x.part", "x", SilentEvents())
    assert not hub.requests


def test_what_needs_no_download_is_told(hub, terminal):
    assert "'embedded' needs no download" in terminal("get", "embedded").stderr
    assert not hub.requests
