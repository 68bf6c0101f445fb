"""A stand-in for the engine that speaks its JSON lines, without torch and in no time.

It writes real rounds and predictions into a real project: bright pixels are class 1, the rest 2.
A file ``crash`` in the project's folder makes the next request end the process.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from unisemalign.errors import CancelledError
from unisemalign.geometry import Rect
from unisemalign.project import FirstGuess, GuessNote, Project, RegionState
from unisemalign.project.first_guess import cluster_values
from unisemalign.runtime import (
    CancelToken,
    JsonLinesEvents,
    LogFileEvents,
    ManyEvents,
    cancel_on_signals,
)

STEP_S = float(os.environ.get("FAKE_STEP_S", "0.004"))


def serve(project: Project) -> None:
    """Answer; what is asked is kept in the file ``asked`` of the project's folder."""
    out = JsonLinesEvents()
    out.emit("ready")
    requests: queue.Queue[dict] = queue.Queue()
    cancelled: set[int] = set()

    def read() -> None:
        for line in sys.stdin:
            request = json.loads(line)
            with (project.root / "asked").open("a") as file:
                file.write(line)
            if request["verb"] == "cancel":
                cancelled.add(request["target"])
            else:
                requests.put(request)
        requests.put({"verb": "quit"})

    threading.Thread(target=read, daemon=True).start()
    while True:
        request = requests.get()
        crash = project.root / "crash"
        if crash.exists():
            crash.unlink()
            sys.stderr.write("Segmentation fault in the convolution\n")
            sys.stderr.flush()
            os._exit(3)
        if request["verb"] == "quit":
            return
        if request["verb"] == "segment":
            segment(project, request, out, cancelled)
        elif request["verb"] == "queue":
            rank(project, request, out)


def segment(project: Project, request: dict, out: JsonLinesEvents, cancelled: set[int]) -> None:
    number = request["round"] or project.latest_round().number
    if (project.root / "fails").exists():
        out.emit("failed", id=request["id"], text="The disk is full.")
        return
    slide = project.open_slide(request["slide"])
    whole = Rect(0, 0, *slide.shape_yx)
    rect = Rect(*request["rect"]) if request["rect"] else whole
    store = project.predictions(number, request["slide"], create=True)
    tiles = [
        Rect(y, x, 256, 256).intersect(rect)
        for y in range(rect.y, rect.y1, 256)
        for x in range(rect.x, rect.x1, 256)
    ]
    for index, tile in enumerate(tiles, start=1):
        if request["id"] in cancelled:
            slide.slide.close()
            out.emit("cancelled", id=request["id"], text="Stopped as asked.")
            return
        brightness = slide.read(tile).mean(-1)
        store.write(
            tile,
            classes=np.where(brightness > 200, 1, 2).astype(np.uint8),
            confidence=np.clip(np.abs(brightness - 200) * 4 + 80, 0, 255).astype(np.uint8),
            disagreement=(np.abs(brightness - 200) < 10).astype(np.uint8),
        )
        about = {"slide": request["slide"], "round": number, "id": request["id"]}
        out.emit("written", rect=[tile.y, tile.x, tile.h, tile.w], final=True, **about)
        out.emit("progress", done=index, total=len(tiles), eta_s=0.1, id=request["id"])
        time.sleep(STEP_S)
    slide.slide.close()
    out.emit("done", id=request["id"], slide=request["slide"], rect=request["rect"], round=number)


def guess(project: Project, options: list[str]) -> int:
    """Clusters are equal steps of brightness; the first is the darkest."""
    out = JsonLinesEvents()
    kept = FirstGuess(project)
    given = dict(pairwise(options))
    if os.environ.get("FAKE_GUESS_FAILS"):
        out.emit("failed", text="Clusters want tissue, found none on a.")
        return 1
    if "--names" in given:
        note = kept.note()
        pairs = [part.split("=") for part in given["--names"].split(",")]
        names = {int(number): name for number, name in pairs}
        count = len(note.directions)
        values = cluster_values(names, count, project.info.class_names)
        note = note.model_copy(update={"names": values})
        kept.forget_classes()
    else:
        note = kept.note()
        if "--clusters" in given or note is None:
            kept.forget()
            count = int(given.get("--clusters", 3))
            shares = (1 / count,) * count
            note = GuessNote(
                made_by="clusters",
                model="embedded",
                directions=((0.0, 1.0),) * count,
                shares=shares,
            )
        name = options[0]
        whole = Rect(0, 0, *project.slide(name).shape_yx)
        asked = given.get("--region")
        rect = whole if asked is None else Rect(*(int(each) for each in asked.split(",")))
        note = note.with_rect(name, rect)
    kept.write_note(note)
    out.emit("start", what="Guessing", total=1)
    for name, boxes in note.rects.items():
        slide = project.open_slide(name)
        for box in boxes:
            rect = Rect(*box)
            steps = 256 / len(note.directions)
            numbers = (slide.read(rect).mean(-1) // steps).astype(np.uint8) + np.uint8(1)
            write(kept.clusters(name, create=True), rect, numbers)
            out.emit("written", slide=name, rect=list(box))
            time.sleep(STEP_S)
            if note.names:
                project.first_round(made_by="clusters")
                classes = np.array([0, *note.names], np.uint8)[numbers]
                write(project.predictions(0, name, create=True), rect, classes)
        slide.slide.close()
    out.emit("progress", done=1, total=1)
    out.emit("done", waiting=note.waiting)
    return 0


def write(store, rect: Rect, values: np.ndarray) -> None:
    sure = np.full(rect.shape, 180, np.uint8)
    store.write(rect, classes=values, confidence=sure, disagreement=np.zeros_like(sure))


def rank(project: Project, request: dict, out: JsonLinesEvents) -> None:
    number = project.doubting_round().number
    taken = [each.rect for each in project.regions() if each.state is not RegionState.PREDICTED]
    for record in project.slides():
        for y in range(0, record.shape_yx[0] - 127, 128):
            for x in range(0, record.shape_yx[1] - 127, 128):
                rect = Rect(y, x, 128, 128)
                if any(rect.intersect(other).area for other in taken):
                    continue
                if len(project.regions(state=RegionState.PREDICTED)) < request["count"]:
                    project.add_region(
                        record.name,
                        rect,
                        state=RegionState.PREDICTED,
                        score=1.0 / (1 + y + x),
                        reason="decoder unsure on 34 %; prototypes disagree on 12 %",
                        round=number,
                    )
    out.emit("done", id=request["id"], round=number)


def train(project: Project, options: list[str]) -> int:
    steps = 40
    for option in options:
        if option.startswith("training.steps="):
            steps = int(option.split("=")[1])
    out = JsonLinesEvents()
    with project.lock_training():
        resume = "--resume" in options
        if resume:
            found = [each for each in project.rounds() if each.state != "done"][-1]
            steps = int((found.folder / "steps").read_text())
        else:
            found = project.new_round(method="unisemalign", preset="recommended")
            (found.folder / "steps").write_text(str(steps))
        (found.folder / "cancel").unlink(missing_ok=True)
        project.set_round(found.number, state="running")
        token = CancelToken(found.folder / "cancel")
        told = ManyEvents([out, LogFileEvents(found.folder / "log.jsonl")])
        last = found.folder / "last"
        first = int(last.read_text()) if resume and last.exists() else 0
        told.emit("start", what="Training", total=steps, round=found.number)
        with cancel_on_signals(token):
            try:
                for step in range(first + 1, steps + 1):
                    token.check()
                    if os.environ.get("FAKE_DIE_AT") == str(step):
                        sys.stderr.write("CUDA out of memory\n")
                        sys.stderr.flush()
                        os._exit(9)
                    time.sleep(STEP_S)
                    last.write_text(str(step))
                    told.emit("step", step=step, total=steps, loss=2.0 / step + 0.3, eta_s=1.0)
                    if step % 10 == 0:
                        told.emit("validation", step=step, mdice=1 - 1 / step)
            except CancelledError as error:
                project.set_round(found.number, state="cancelled")
                told.emit("cancelled", text=str(error))
                return 130
            (found.folder / "best.safetensors").write_bytes(b"weights")
            project.set_round(found.number, state="done", scores={"mdice": 0.83})
            told.emit("done", round=found.number, mdice=0.83)
    return 0


def export(options: list[str]) -> int:
    out = Path(options[options.index("--out") + 1])
    out.mkdir(parents=True, exist_ok=True)
    path = out / "a.png"
    path.write_bytes(b"mask")
    JsonLinesEvents().emit("done", files=[str(path)])
    return 0


def fetch(name: str) -> int:
    """Fetch nothing, as the environment says; ``FAKE_GET`` is ok, refused or slow."""
    out = JsonLinesEvents()
    how = os.environ.get("FAKE_GET", "ok")
    if how == "refused":
        steps = ["open its page", "run 'hf auth login' once", "fetch it again"]
        out.emit("failed", text=f"The hub refused '{name}'.", steps=steps)
        return 1
    out.emit("message", text=f"{name}: its licence")
    out.emit("start", what=f"{name}: model.safetensors", total=87.0)
    for done in range(10):
        out.emit("progress", done=8.7 * done, total=87.0)
        time.sleep(3 if how == "slow" else STEP_S)
    out.emit("done", name=name, here=True, files=[])
    return 0


def main() -> int:
    if sys.argv[1] == "weights":
        return fetch(sys.argv[3])
    verb, root, *options = sys.argv[1:]
    with Project.open(Path(root)) as project:
        if verb == "serve":
            serve(project)
            return 0
        if verb == "guess":
            return guess(project, options)
        return train(project, options) if verb == "train" else export(options)


if __name__ == "__main__":
    sys.exit(main())
