"""Kills, power cuts and full disks: acts that were acknowledged and lost, or torn.

    python benchmarks/faults.py --kills 100 [--cuts 40] [--full-disk 200] [--adds 100]

`--kills`: a writer is killed (SIGKILL) at random moments while it draws, undoes, redoes, accepts,
imports a mask, adds slides, exports, segments and trains. `--cuts`: the writer works on an ext4
file system of its own (a loop device, so root is needed); at random moments it is stopped, and the
device is copied as it is: what the system still held back is not in the copy, as after a power cut.
`--full-disk`: acts on a small disk (tmpfs, root) with little or no room left. `--adds`: two
processes add the same three slides with their masks at once, and one more each.

A ledger outside the project says what was begun and what was acknowledged. A project opened
afterwards must be as the ledger says: with every acknowledged act (else `lost`), the one under way
whole or absent (else `torn`), and a refused one never (`done_though_refused`). The act under way is
then repeated (`not_repeated`: it could not be).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unisemalign.cli.adding import add_slides
from unisemalign.errors import UnisemalignError
from unisemalign.exchange import export_labels, import_mask
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project, RegionState, Split
from unisemalign.runtime import SilentEvents

SIDE = 1024
WHOLE = Rect(0, 0, SIDE, SIDE)
KINDS = ("draw", "draw", "draw", "undo", "redo", "accept", "import", "add", "export")
QUICK = {
    "training.steps": 12,
    "training.batch_labelled": 2,
    "training.batch_unlabelled": 2,
    "training.validate_every": 6,
    "training.checkpoint_every": 3,
    "views.crop_px": 64,
    "inference.window_px": 128,
    "inference.stride_px": 96,
    "model.decoder_dim": 16,
    "model.high_dim": 32,
    "model.low_dim": 16,
    "model.skip_dim": 8,
    "model.embed_dim": 16,
    "device": "cpu",
}
State = tuple[bytes, bytes, tuple[Any, ...], int]
Undo = tuple[Rect, Any, Any, bool]


@dataclass
class Model:
    """What a project is to hold, by plain rules: labels, origins, regions, slides."""

    pixels: np.ndarray = field(default_factory=lambda: np.zeros((2, SIDE, SIDE), np.uint8))
    regions: dict[Rect, str] = field(default_factory=dict)
    slides: int = 1
    done: list[Undo] = field(default_factory=list)
    undone: list[Undo] = field(default_factory=list)

    def apply(self, kind: str, number: int) -> None:
        """Do what act ``number`` does."""
        if kind in {"draw", "accept", "import"}:
            rect, values, origin = drawn(kind, number)
            before = self.pixels[(slice(None), *rect.slices)].copy()
            after = np.stack([values, np.where(values > 0, origin, 0).astype(np.uint8)])
            known = self.regions.get(rect, "unlabelled")
            self._turn((rect, after, "accepted" if kind != "draw" else None, kind != "draw"))
            self.done.append((rect, (before, known), (after, "accepted"), kind != "draw"))
            self.undone.clear()
        elif kind == "undo" and self.done:
            rect, (before, known), _, has_region = self.done[-1]
            self._turn((rect, before, known, has_region))
            self.undone.append(self.done.pop())
        elif kind == "redo" and self.undone:
            rect, _, (after, state), has_region = self.undone[-1]
            self._turn((rect, after, state, has_region))
            self.done.append(self.undone.pop())
        elif kind == "add":
            self.slides += 1

    def _turn(self, change: tuple[Rect, np.ndarray, str | None, bool]) -> None:
        rect, pixels, state, has_region = change
        self.pixels[(slice(None), *rect.slices)] = pixels
        if has_region and state is not None:
            self.regions[rect] = state

    def state(self) -> State:
        """Return it in a form to compare."""
        regions = tuple(sorted((tuple(vars(r).values()), s) for r, s in self.regions.items()))
        return self.pixels[0].tobytes(), self.pixels[1].tobytes(), regions, self.slides


def drawn(kind: str, number: int) -> tuple[Rect, np.ndarray, int]:
    """Return where act ``number`` labels, what, and with which origin."""
    rng = np.random.default_rng(number)
    if kind == "import":
        return WHOLE, rng.integers(1, 3, WHOLE.shape, np.uint8), int(Origin.IMPORTED)
    y, x = (int(v) for v in rng.integers(0, SIDE - 300, 2))
    rect = Rect(y, x, 300, 300)
    return rect, rng.integers(0, 3, rect.shape, np.uint8), int(Origin.DRAWN)


def act(project: Project, kind: str, number: int, outside: Path) -> None:
    """Do act ``number`` of the given kind. Files that are not the project's lie ``outside``."""
    if kind in {"draw", "accept"}:
        rect, values, _ = drawn(kind, number)
        if kind == "draw":
            project.write_labels("a", rect, values, Origin.DRAWN, action="draw")
        else:
            edit = LabelEdit(rect, values, Origin.DRAWN, None, (rect,))
            project.accept("a", [edit], action="accept")
    elif kind == "import":
        path = outside / f"mask-{number}.png"
        Image.fromarray(drawn(kind, number)[1]).save(path)
        import_mask(project, "a", path, values={1: 1, 2: 2})
        path.unlink()
    elif kind in {"undo", "redo"}:
        getattr(project, kind)()
    elif kind == "add":
        path = outside / f"slide-{number}.png"
        draw_slide(path, number)
        project.add_slide(path, spacing_um=0.5)
    elif kind == "export":
        export_labels(project, outside / "out", "png", source="labels")
    elif kind == "train":
        train(project)
    elif kind == "segment":
        segment(project)


def train(project: Project) -> None:
    """Train a small round, or go on with one that was killed."""
    from unisemalign.settings import build_settings
    from unisemalign.training import train_round, unfinished_round

    resume = unfinished_round(project) is not None
    settings = None if resume else build_settings(overrides=QUICK)
    train_round(project, settings, resume=resume, events=SilentEvents())


def segment(project: Project) -> None:
    """Segment the slide, or go on with what was left."""
    from unisemalign.inference import load_predictor, segment_slide
    from unisemalign.runtime import CancelToken

    predictor, found = load_predictor(project)
    segment_slide(
        project, "a", predictor, found.number, events=SilentEvents(), cancel=CancelToken()
    )


def draw_slide(path: Path, seed: int) -> None:
    """Write a small PNG slide."""
    pixels = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)


def make_project(root: Path, outside: Path) -> None:
    """Make a project with one slide."""
    outside.mkdir(parents=True, exist_ok=True)
    draw_slide(outside / "a.png", 0)
    with Project.create(root, classes=["background", "gland"]) as project:
        project.add_slide(outside / "a.png", spacing_um=0.5, split=Split.TRAIN)


def observed(root: Path) -> State:
    """Return what a project that is opened anew holds."""
    with Project.open(root) as project:
        store = project.labels("a")
        named = [
            (tuple(vars(each.rect).values()), each.state.value)
            for each in project.regions()
            if each.state in {RegionState.ACCEPTED, RegionState.UNLABELLED}
        ]
        origin = store.read_origin(WHOLE).tobytes()
        return store.read(WHOLE).tobytes(), origin, tuple(sorted(named)), len(project.slides())


class Ledger:
    """Says, outside the project, what was begun and what was acknowledged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, word: str, kind: str, number: int) -> None:
        """Add a line, in one write."""
        with self._path.open("ab", buffering=0) as file:
            file.write(f"{word} {kind} {number}\n".encode())

    def read(self) -> tuple[list[tuple[str, int]], tuple[str, int] | None]:
        """Return the acts that were acknowledged, and the one under way."""
        done, under_way = [], None
        text = self._path.read_text() if self._path.exists() else ""
        for line in text.splitlines():
            word, kind, number = line.split()
            if word == "done":
                done.append((kind, int(number)))
            under_way = None if word == "done" else (kind, int(number))
        return done, under_way


def write(root: Path, outside: Path, ledger: Ledger, kinds: tuple[str, ...], first: int) -> None:
    """Do one act after another until killed."""
    draw = random.Random(first)
    with Project.open(root) as project:
        for number in range(first, first + 10_000):
            kind = draw.choice(kinds)
            ledger.note("begin", kind, number)
            act(project, kind, number, outside)
            ledger.note("done", kind, number)


def forked(job: Callable[[], None]) -> int:
    """Run ``job`` in a child; return its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            job()
            status = 0
        except BaseException:  # noqa: BLE001  told, and the child ends
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def judge(root: Path, ledger: Ledger, report: dict[str, Any]) -> Model:
    """Compare a project with the ledger; count, and return what it holds."""
    done, under_way = ledger.read()
    model = Model()
    for kind, number in done:
        model.apply(kind, number)
    report["acknowledged"] += len(done)
    found = observed(root)
    if found == model.state():
        return model
    if under_way is not None:
        model.apply(*under_way)
        if found == model.state():
            ledger.note("done", *under_way)  # it was whole before anybody was told
            return model
    wrong = [
        name
        for name, a, b in zip(
            ("labels", "origins", "regions", "slides"), found, model.state(), strict=True
        )
        if a != b
    ]
    report["torn" if len(wrong) == 1 else "lost"] += 1
    report["examples"].append(f"after {len(done)} acts, in {under_way}: {', '.join(wrong)}")
    return model


def kills(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill a writer ``count`` times; every tenth writer trains and segments."""
    draw = random.Random(seed)
    report = _empty() | {"kills": 0, "during": {}}
    root, outside, ledger = folder / "study.unisem", folder / "outside", Ledger(folder / "ledger")
    make_project(root, outside)
    # Importing takes seconds and is done once; and there is a model to segment with.
    importlib.import_module("unisemalign.training")
    importlib.import_module("unisemalign.inference")
    _label_for_training(root, ledger, 10**9)
    os.waitpid(forked(lambda: _trained(root)), 0)
    numbers = iter(range(1, 10**9, 10_000))
    while report["kills"] < count:
        heavy = report["kills"] % 10 == 9
        kinds = ("train", "segment") if heavy else KINDS
        first = next(numbers)
        if heavy:
            _label_for_training(root, ledger, first)
        child = forked(
            lambda kinds=kinds, first=first: write(root, outside, ledger, kinds, first + 1)
        )
        time.sleep(draw.uniform(1.0, 25.0) if heavy else draw.uniform(0.05, 2.0))
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        report["kills"] += ended == -signal.SIGKILL
        report["stumbled"] += ended != -signal.SIGKILL
        _, under_way = ledger.read()
        judge(root, ledger, report)
        if under_way is not None:
            name = under_way[0]
            report["during"][name] = report["during"].get(name, 0) + 1
            _repeat(root, outside, ledger, under_way, report)
        report["acknowledged"] = len(ledger.read()[0])
    return report


def _label_for_training(root: Path, ledger: Ledger, number: int) -> None:
    ledger.note("begin", "accept", number)
    with Project.open(root) as project:
        act(project, "accept", number, root.parent / "outside")
    ledger.note("done", "accept", number)


def _trained(root: Path) -> None:
    with Project.open(root) as project:
        train(project)


def _repeat(
    root: Path, outside: Path, ledger: Ledger, under_way: tuple[str, int], report: dict[str, Any]
) -> None:
    """Do the act under way again, in a child, as a person would."""
    if ledger.read()[1] is None and under_way[0] in {"undo", "redo", "add"}:
        return  # it was done: once more would be another act
    kind, number = under_way

    def again() -> None:
        with Project.open(root) as project:
            act(project, kind, number, outside)
        ledger.note("done", kind, number)

    ended = os.waitpid(forked(again), 0)[1]
    if ended:
        report["not_repeated"] += 1
        report["examples"].append(f"{kind} could not be repeated")
        return
    judge(root, ledger, report)


def cuts(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Cut the power under a writer ``count`` times, on ext4."""
    draw = random.Random(seed)
    report = _empty() | {"cuts": 0}
    outside, ledger = folder / "outside", Ledger(folder / "ledger")
    image = folder / "disk.img"
    with ext4(image, folder / "disk") as disk:
        make_project(disk / "study.unisem", outside)
        child = forked(lambda: write(disk / "study.unisem", outside, ledger, KINDS, 1))
        copies = []
        for number in range(count):
            time.sleep(draw.uniform(0.05, 1.5))
            os.kill(child, signal.SIGSTOP)
            copies.append((folder / f"cut-{number}.img", folder / f"ledger-{number}"))
            subprocess.run(["cp", "--sparse=always", image, copies[-1][0]], check=True)
            shutil.copy(folder / "ledger", copies[-1][1])
            os.kill(child, signal.SIGCONT)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for copy, noted in copies:
        with ext4(copy, folder / "left") as disk:
            report["cuts"] += 1
            try:
                judge(disk / "study.unisem", Ledger(noted), report)
            except UnisemalignError as error:
                report["lost"] += 1
                report["examples"].append(str(error))
        copy.unlink()
    report["acknowledged"] = len(ledger.read()[0])
    return report


@contextlib.contextmanager
def ext4(image: Path, place: Path) -> Iterator[Path]:
    """Mount an ext4 image, made where there is none."""
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def full_disk(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Do ``count`` acts on a disk with little or no room."""
    draw = random.Random(seed)
    report = _empty() | {"acts": 0, "refused": 0, "done_though_refused": 0, "told_otherwise": 0}
    disk, outside = folder / "small", folder / "outside"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], check=True)
    root, filler, model = disk / "study.unisem", disk / "filler", Model()
    try:
        make_project(root, outside)
        kinds = [kind for kind in KINDS if kind != "export"]
        for number in range(1, count + 1):
            kind = draw.choice(kinds)
            free = shutil.disk_usage(disk).free
            leave = draw.choice([0, 4096, 16_384, 65_536, 262_144, 10**8])
            with filler.open("wb") as file, contextlib.suppress(OSError):
                file.write(bytes(max(0, free - leave)))
            try:
                with Project.open(root) as project:
                    act(project, kind, number, outside)
                model.apply(kind, number)
            except UnisemalignError as error:
                report["refused"] += 1
                report["told_otherwise"] += "is full" not in str(error)
                if "is full" not in str(error):
                    report["examples"].append(str(error))
            filler.unlink()
            report["acts"] += 1
            if observed(root) != model.state():
                report["done_though_refused"] += 1
                report["examples"].append(f"{kind} {number}, {leave} bytes free")
                break
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    return report


def adds(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Let two processes add slides with masks at once, ``count`` times."""
    report = _empty() | {"adds": 0}
    for number in range(count):
        here = folder / str(number)
        masks = here / "masks"
        masks.mkdir(parents=True)
        names = ["s0", "s1", "s2", "mine", "yours"]
        for name in names:
            draw_small(here / f"{name}.png", seed + number)
            Image.fromarray(np.ones((40, 50), np.uint8)).save(masks / f"{name}.png")
        root = here / "study.unisem"
        Project.create(root, classes=["background", "gland"]).close()
        shared = [here / f"{name}.png" for name in names[:3]]
        start = time.monotonic() + 0.05
        children = [
            forked(partial(_add_at, start, root, [*shared, here / f"{own}.png"], masks))
            for own in names[3:]
        ]
        ended = [os.waitpid(child, 0)[1] for child in children]
        report["stumbled"] += sum(map(bool, ended))
        with Project.open(root) as project:
            there = [record.name for record in project.slides()]
            report["lost"] += len(set(names) - set(there))
            report["torn"] += len(there) - len(set(there) & set(names))
            for name in set(names) & set(there):
                report["lost"] += not project.labels(name).read(Rect(0, 0, 40, 50)).all()
                states = [region.state for region in project.regions(slide=name)]
                report["torn"] += states != [RegionState.ACCEPTED]
        report["acknowledged"] += 2 - sum(map(bool, ended))
        report["adds"] += 1
        shutil.rmtree(here)
    return report


def _add_at(start: float, root: Path, paths: list[Path], masks: Path) -> None:
    time.sleep(max(0.0, start - time.monotonic()))
    with Project.open(root) as project:
        add_slides(project, paths, masks, Split.TRAIN, 0.5, SilentEvents())


def draw_small(path: Path, seed: int) -> None:
    """Write a PNG of 40 × 50 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def _empty() -> dict[str, Any]:
    counted = dict.fromkeys(("acknowledged", "lost", "torn", "not_repeated", "stumbled"), 0)
    return {**counted, "examples": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--cuts", type=int, default=0)
    parser.add_argument("--full-disk", type=int, default=0)
    parser.add_argument("--adds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    jobs = {"kills": kills, "cuts": cuts, "full_disk": full_disk, "adds": adds}
    for name, job in jobs.items():
        count = getattr(given, name)
        if not count:
            continue
        if name in {"cuts", "full_disk"} and (not hasattr(os, "geteuid") or os.geteuid() != 0):
            sys.stderr.write(f"--{name.replace('_', '-')} needs root, to mount a disk.\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            report = job(count, given.seed, Path(folder))
            report["seconds"] = round(time.perf_counter() - started, 1)
            sys.stdout.write(json.dumps({name: report}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
