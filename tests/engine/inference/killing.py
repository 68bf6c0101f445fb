"""Segments a slide again and again, killed every time at another moment, until it is done.

    python tests/engine/inference/killing.py PROJECT SLIDE --kills 20 [--seed 0] [--guess]

With `--guess` it looks for two clusters, maps them and names one instead: a first guess.
Prints the SHA-256 of the written files without interruption, and after the kills. Each attempt
is a forked child, killed (SIGKILL) by itself at a random one of the moments that could matter: with
a chunk half written, written but not in its place, in its place, likewise the note of progress, and
between windows. Every third attempt is killed by the clock instead. Importing costs seconds and is
done once; nothing has run in this process when it forks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from unisemalign.guess import guess_by_clusters, name_clusters
from unisemalign.inference import Predictor, load_predictor, plan, segment_slide
from unisemalign.project import FirstGuess, Project
from unisemalign.runtime import CancelToken, SilentEvents

STRIP_PX = 512
"""Narrow, so that a small slide has several strips."""


class Fate:
    """Counts the moments at which a kill could matter, and kills at one of them."""

    def __init__(self, dies_at: int) -> None:
        self.moments = 0
        self._dies_at = dies_at
        self._lock = threading.Lock()

    def moment(self) -> None:
        with self._lock:
            self.moments += 1
            if self.moments == self._dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Make every chunk, every note of progress and every batch a moment."""
        replace, write_bytes, call = Path.replace, Path.write_bytes, Predictor.__call__

        def watched_replace(path: Path, target: Path) -> Path:
            if path.suffix == ".part" and path.stat().st_size > 1:
                content = path.read_bytes()
                write_bytes(path, content[: len(content) // 2])
                self.moment()
                write_bytes(path, content)
            self.moment()
            done = replace(path, target)
            self.moment()
            return done

        def watched_call(predictor: Predictor, *windows: object) -> object:
            self.moment()
            return call(predictor, *windows)

        Path.replace = watched_replace  # type: ignore[method-assign, assignment]
        Predictor.__call__ = watched_call  # type: ignore[method-assign, assignment]


def segment(project: Project, slide: str) -> None:
    predictor, found = load_predictor(project)
    told = {"events": SilentEvents(), "cancel": CancelToken()}
    segment_slide(project, slide, predictor, found.number, **told)  # type: ignore[arg-type]


def guess(project: Project, slide: str) -> None:
    told = {"events": SilentEvents(), "cancel": CancelToken()}
    guess_by_clusters(project, [slide], None, 2, **told)  # type: ignore[arg-type]
    name_clusters(project, {2: project.info.class_names[0]}, **told)  # type: ignore[arg-type]


def attempt(
    job: Callable[[Project, str], None],
    root: Path,
    slide: str,
    dies_at: int = 0,
    dies_after_s: float = 0.0,
) -> int | None:
    """Do ``job`` in a forked child. Return how many moments it had; ``None``: it was killed."""
    tell, told = os.pipe()
    child = os.fork()
    if child == 0:
        fate = Fate(dies_at)
        fate.watch()
        try:
            plan.STRIP_PX = STRIP_PX
            with Project.open(root) as project:
                job(project, slide)
            os.write(told, str(fate.moments).encode())
        finally:
            os._exit(0 if fate.moments else 1)
    os.close(told)
    if dies_after_s:
        time.sleep(dies_after_s)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(tell) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return int(said) if said else None


def digest(root: Path, slide: str, number: int) -> str:
    """Return the hash of every file of a round's map and its notes, by name and content."""
    found = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root)
        of_map = place.parts[:2] == ("predictions", str(number)) and slide in str(place)
        if path.is_file() and (of_map or place.parts[:2] == ("rounds", "0")):
            found.update(str(place).encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("slide")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guess", action="store_true")
    given = parser.parse_args()
    job, number = (guess, 0) if given.guess else (segment, 1)
    started = time.perf_counter()
    moments = attempt(job, given.project, given.slide)
    seconds = time.perf_counter() - started
    report = {"moments": moments, "seconds": round(seconds, 2)}
    report["undisturbed"] = digest(given.project, given.slide, number)
    draw = random.Random(given.seed)
    kills, interrupted = 0, set()
    while kills < given.kills:
        with Project.open(given.project) as project:
            if given.guess:
                FirstGuess(project).forget()
            else:
                project.remove_prediction(1, given.slide)
        finished = False
        while not finished:
            if kills >= given.kills:
                where = {}
            elif kills % 3 == 2:
                where = {"dies_after_s": draw.uniform(0.2, 1.0) * seconds}
            else:
                where = {"dies_at": draw.randint(1, max(1, moments // 3))}
            finished = attempt(job, given.project, given.slide, **where) is not None
            kills += not finished
        interrupted.add(digest(given.project, given.slide, number))
    report["kills"] = kills
    report["interrupted"] = sorted(interrupted)
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
