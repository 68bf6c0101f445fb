"""A stand-in for the engine that speaks its JSON lines, without torch and in no time.

It writes real rounds and predictions into a real project: bright pixels are class 1, the rest 2.
A file ``crash`` in the project's folder makes the next request end the process.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from pathlib import Path

import numpy as np

from unisemalign import protocol
from unisemalign.errors import CancelledError
from unisemalign.exchange import area_by_class
from unisemalign.geometry import Rect
from unisemalign.project import FirstGuess, GuessNote, Project, RegionState
from unisemalign.project.first_guess import cluster_values
from unisemalign.runtime import (
    CancelToken,
    JsonLinesEvents,
    LogFileEvents,
    ManyEvents,
    cancel_on_signals,
    write_json,
)
from unisemalign.settings import build_settings, write_settings

STEP_S = float(os.environ.get("FAKE_STEP_S", "0.004"))


def serve(project: Project) -> None:
    """Answer; what is asked is kept in the file ``asked`` of the project's folder."""
    out = JsonLinesEvents()
    out.emit(protocol.Ready())
    requests: queue.Queue[protocol.Request] = queue.Queue()
    cancelled: set[int | str] = set()

    def read() -> None:
        for line in sys.stdin:
            request = protocol.read_request(line)
            with (project.root / "asked").open("a") as file:
                file.write(line)
            if isinstance(request, protocol.CancelRequest):
                cancelled.add(request.target)
            else:
                requests.put(request)
        requests.put(protocol.QuitRequest())

    threading.Thread(target=read, daemon=True).start()
    while True:
        request = requests.get()
        crash = project.root / "crash"
        if crash.exists():
            crash.unlink()
            sys.stderr.write("Segmentation fault in the convolution\n")
            sys.stderr.flush()
            os._exit(3)
        match request:
            case protocol.QuitRequest():
                return
            case protocol.SegmentRequest():
                segment(project, request, out, cancelled)
            case protocol.QueueRequest():
                rank(project, request, out)
            case protocol.GuessRequest():
                guess(project, request, out, cancelled)


def segment(
    project: Project,
    request: protocol.SegmentRequest,
    out: JsonLinesEvents,
    cancelled: set[int | str],
) -> None:
    number = request.round or project.latest_round().number
    fails = project.root / "fails"  # every slide, or the one it names
    if fails.exists() and fails.read_text() in ("", request.slide):
        out.emit(protocol.Failed(id=request.id, text="The disk is full."))
        return
    slide = project.open_slide(request.slide)
    whole = Rect(0, 0, *slide.shape_yx)
    rect = request.rect or whole
    store = project.predictions(number, request.slide, create=True)
    out.emit(protocol.Start(id=request.id, what=f"Segmenting {request.slide}"))
    tiles = [
        Rect(y, x, 256, 256).intersect(rect)
        for y in range(rect.y, rect.y1, 256)
        for x in range(rect.x, rect.x1, 256)
    ]
    for index, tile in enumerate(tiles, start=1):
        if request.id in cancelled:
            slide.slide.close()
            out.emit(protocol.Cancelled(id=request.id, text="Stopped as asked."))
            return
        brightness = slide.read(tile).mean(-1)
        store.write(
            tile,
            classes=np.where(brightness > 200, 1, 2).astype(np.uint8),
            confidence=np.clip(np.abs(brightness - 200) * 4 + 80, 0, 255).astype(np.uint8),
            disagreement=(np.abs(brightness - 200) < 10).astype(np.uint8),
        )
        about = {"slide": request.slide, "round": number, "id": request.id}
        out.emit(protocol.Written(rect=tile, final=True, **about))
        out.emit(protocol.Progress(done=index, total=len(tiles), eta_s=0.1, id=request.id))
        time.sleep(STEP_S)
    slide.slide.close()
    out.emit(
        protocol.SegmentDone(
            id=request.id,
            slide=request.slide,
            rect=rect,
            round=number,
            fresh=True,
            windows=len(tiles),
            seconds=STEP_S * len(tiles),
            area=area_by_class(project, request.slide, number),
        )
    )


def guess(
    project: Project,
    request: protocol.GuessRequest,
    out: JsonLinesEvents,
    cancelled: set[int | str],
) -> None:
    """Clusters are equal steps of brightness; the first is the darkest."""
    kept = FirstGuess(project)
    if (project.root / "fails").exists():
        out.emit(protocol.Failed(id=request.id, text="Clusters need tissue, found none on a."))
        return
    if request.names is not None:
        note = kept.note()
        values = cluster_values(request.names, len(note.directions), project.info.class_names)
        note = note.model_copy(update={"names": values})
        kept.forget_classes()
    else:
        note = kept.note()
        if request.clusters is not None or note is None:
            kept.forget()
            count = request.clusters or 3
            shares = (1 / count,) * count
            note = GuessNote(
                made_by="clusters",
                model="embedded",
                directions=((0.0, 1.0),) * count,
                shares=shares,
            )
        name = request.slides[0]
        note = note.with_rect(name, request.rect or Rect(0, 0, *project.slide(name).shape_yx))
    kept.write_note(note)
    out.emit(protocol.Start(id=request.id, what="Guessing"))
    for name, boxes in note.rects.items():
        slide = project.open_slide(name)
        for box in boxes:
            rect = Rect(*box)
            steps = 256 / len(note.directions)
            numbers = (slide.read(rect).mean(-1) // steps).astype(np.uint8) + np.uint8(1)
            write(kept.clusters(name, create=True), rect, numbers)
            out.emit(protocol.Written(id=request.id, slide=name, round=0, rect=rect, final=True))
            until = time.monotonic() + STEP_S
            while time.monotonic() < until:
                if request.id in cancelled:
                    slide.slide.close()
                    out.emit(protocol.Cancelled(id=request.id, text="Stopped as asked."))
                    return
                time.sleep(min(STEP_S, 0.02))
            if note.names:
                project.create_first_round(made_by="clusters")
                classes = np.array([0, *note.names], np.uint8)[numbers]
                write(project.predictions(0, name, create=True), rect, classes)
        slide.slide.close()
    out.emit(protocol.Progress(id=request.id, done=1, total=1))
    names = ("none", *project.info.class_names)
    out.emit(
        protocol.GuessDone(
            id=request.id,
            round=None if note.waiting else 0,
            made_by=note.made_by,
            model=note.model,
            waiting=note.waiting,
            slides=tuple(note.rects),
            clusters=tuple(
                protocol.Cluster(
                    number=number,
                    share=share,
                    name=names[note.names[number - 1]] if note.names else None,
                )
                for number, share in enumerate(note.shares, start=1)
            ),
        )
    )


def write(store, rect: Rect, values: np.ndarray) -> None:
    sure = np.full(rect.shape, 180, np.uint8)
    store.write(rect, classes=values, confidence=sure, disagreement=np.zeros_like(sure))


def rank(project: Project, request: protocol.QueueRequest, out: JsonLinesEvents) -> None:
    number = max(each.number for each in project.rounds())
    taken = [each.rect for each in project.regions() if each.state is not RegionState.PREDICTED]
    for record in project.slides():
        for y in range(0, record.shape_yx[0] - 127, 128):
            for x in range(0, record.shape_yx[1] - 127, 128):
                rect = Rect(y, x, 128, 128)
                if any(rect.intersect(other).area for other in taken):
                    continue
                if len(project.regions(state=RegionState.PREDICTED)) < request.count:
                    project.add_region(
                        record.name,
                        rect,
                        state=RegionState.PREDICTED,
                        score=1.0 / (1 + y + x),
                        reason="dots or stripes? model unsure on 34 %; prototypes disagree on 12 %",
                        round=number,
                    )
    ranked = [r for r in project.regions(state=RegionState.PREDICTED) if r.round == number]
    regions = tuple(
        protocol.QueuedRegion(
            id=r.id, slide=r.slide, rect=r.rect, score=r.score, reason=r.reason, round=r.round
        )
        for r in ranked
    )
    out.emit(protocol.QueueDone(id=request.id, round=number, regions=regions))


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
            write_settings(
                build_settings(overrides={"training.steps": steps}), found.layout.settings
            )
        found.layout.cancel.unlink(missing_ok=True)
        project.set_round(found.number, state="running")
        token = CancelToken(found.layout.cancel)
        events = ManyEvents([out, LogFileEvents(found.layout.log)])
        last = found.layout.checkpoint
        first = int(last.read_text()) if resume and last.exists() else 0
        events.emit(protocol.Start(what="Training", total=steps, round=found.number, step=first))
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
                    loss = 2.0 / step + 0.3
                    events.emit(
                        protocol.Step(step=step, total=steps, loss=loss, eta_s=1.0, wait_share=0.0)
                    )
                    if step % 10 == 0:
                        at = scores(project, step, dice=1 - 1 / step)
                        events.emit(protocol.Validation(**at.model_dump()))
            except CancelledError as error:
                project.set_round(found.number, state="cancelled")
                events.emit(protocol.Cancelled(text=str(error)))
                return 130
            found.layout.weights.write_bytes(b"weights")
            at = scores(project, steps, dice=0.83)
            reached = protocol.RoundScores(
                best_val=at,
                last_val=at,
                seconds=STEP_S * steps,
                seconds_per_step=STEP_S,
                learned_parameters=1000,
                peak_memory_mb=100.0,
                needs=("unlabelled tissue",),
                wait_per_step=0.0,
                wait_share=0.0,
            )
            project.set_round(found.number, state="done", scores=reached)
            write_json(found.layout.scores, reached.model_dump(mode="json"))
            events.emit(protocol.TrainDone(round=found.number, **reached.model_dump()))
    return 0


def scores(project: Project, step: int, *, dice: float) -> protocol.StepScores:
    """Scores of one held-out region where every class has the same Dice."""
    each = (dice,) * len(project.info.classes)
    return protocol.StepScores(
        step=step,
        candidate="teacher",
        images=1,
        mdice=dice,
        mjaccard=dice / (2 - dice),
        foreground_dice=dice,
        per_image_mdice=dice,
        object_dice=dice,
        object_f1=dice,
        dice_per_class=each,
        jaccard_per_class=each,
    )


def export(project: Project, options: list[str]) -> int:
    names = options[options.index("--") + 1 :] if "--" in options else []
    slides = [each.name for each in project.slides() if not names or each.name in names]
    planned = tuple(
        protocol.PlannedSlide(
            slide=name, result=f"{name}.png", round=None, labelled=0.1, covered=0.5, of="tissue"
        )
        for name in slides
    )
    files = []
    if "--plan" not in options:
        out = Path(options[options.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        for name in slides:
            (out / f"{name}.png").write_bytes(b"mask")
            files.append(str(out / f"{name}.png"))
    JsonLinesEvents().emit(protocol.ExportDone(files=tuple(files), slides=planned))
    return 0


def fetch(name: str) -> int:
    """Fetch nothing, as the environment says; ``FAKE_GET`` is ok, refused or slow."""
    out = JsonLinesEvents()
    how = os.environ.get("FAKE_GET", "ok")
    if how == "refused":
        steps = ["open its page", "run 'hf auth login' once", "fetch it again"]
        out.emit(protocol.Failed(text=f"The hub refused '{name}'.", steps=steps))
        return 1
    out.emit(protocol.Message(text=f"{name}: its licence"))
    out.emit(protocol.Start(what=f"{name}: model.safetensors", total=87.0))
    for done in range(10):
        out.emit(protocol.Progress(done=8.7 * done, total=87.0))
        time.sleep(3 if how == "slow" else STEP_S)
    out.emit(protocol.WeightsGetDone(name=name, here=True, files=()))
    return 0


def main() -> int:
    if sys.argv[1] == "weights":
        return fetch(sys.argv[3])
    verb, root, *options = sys.argv[1:]
    with Project.open(Path(root)) as project:
        if verb == "serve":
            serve(project)
            return 0
        return train(project, options) if verb == "train" else export(project, options)


if __name__ == "__main__":
    sys.exit(main())
