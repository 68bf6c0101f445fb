"""Reading ahead gives the very pixels of the slide, in bounded memory, and tells what is torn."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides import SpacedSlide, open_slide, synthetic
from unisemalign.slides.prefetch import Prefetch, choose_readers

RECTS = [Rect(0, 0, 512, 512), Rect(900, 1800, 300, 300), Rect(1100, 1900, 200, 1)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    path = synthetic.draw_slide(tmp_path_factory.mktemp("ahead") / "s.tif", size_px=1400, seed=1)
    slide = SpacedSlide(open_slide(path), 0.3)  # larger than a block
    yield slide
    slide.slide.close()


class Noise:
    """A slide in memory that counts its reads."""

    def __init__(self, shape_yx):
        self.shape_yx = shape_yx
        self.reads = 0

    def read(self, rect):
        self.reads += 1
        rows = np.arange(rect.y, rect.y1, dtype=np.int64)[:, None, None]
        columns = np.arange(rect.x, rect.x1, dtype=np.int64)[None, :, None]
        return ((rows * 7 + columns * 13 + np.arange(3)) % 251).astype(np.uint8)


@pytest.mark.parametrize("readers", [0, 1])
def test_what_is_read_ahead_is_what_is_there(drawn, readers):
    whole = Rect(0, 0, *drawn.shape_yx)
    with Prefetch(drawn, readers) as source:
        for rect in source.fetched((r, [r], whole) for r in RECTS):
            found, there = source.read(rect).astype(int), drawn.read(rect)
            # Parts of a resampled slide agree up to rounding (SpacedSlide.read).
            assert np.abs(found - there).max() <= 1
        assert source.unreadable == []


def test_a_reader_that_is_killed_is_told(drawn):
    with Prefetch(drawn, 1) as source:
        source.read(RECTS[0])
        (process,) = source._pool._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        source._held.clear()
        with pytest.raises(SlideError, match=r"start again, or with --set inference\.readers=0"):
            source.read(RECTS[0])


def test_each_block_is_read_once_and_then_forgotten():
    slide = Noise((20_000, 3000))
    whole = Rect(0, 0, *slide.shape_yx)
    rows = [Rect(y, x, 512, 512) for y in range(0, 19_000, 384) for x in (0, 1000, 2400)]
    most = 0
    with Prefetch(slide) as source:
        for rect in source.fetched((r, [r], whole) for r in rows):
            assert np.array_equal(source.read(rect), slide.read(rect))
            slide.reads -= 1
            most = max(most, len(source._held) + len(source._coming))
    assert slide.reads == 38 * 5  # of blocks 512 px high and wide
    assert most <= 60


def test_a_slide_that_went_away_is_told(drawn, monkeypatch):
    def gone(level, rect, unreadable):
        raise SlideError("The drive is gone.")

    monkeypatch.setattr(drawn.slide, "read_level", gone)
    with Prefetch(drawn) as source, pytest.raises(SlideError, match="drive is gone"):
        source.read(RECTS[0])


@pytest.mark.parametrize(("cores", "readers"), [(1, 0), (2, 0), (4, 2), (64, 8)])
def test_readers_are_for_large_slides_on_disk(drawn, monkeypatch, cores, readers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: range(cores), raising=False)
    assert choose_readers(3, drawn, 1) == 3
    assert choose_readers("auto", drawn, 1024 * 1024) == 0
    assert choose_readers("auto", drawn, 10**9) == readers
    assert choose_readers("auto", Noise((9, 9)), 10**9) == 0


def test_readers_end_with_a_parent_that_is_killed(drawn):
    code = (
        "import sys, time\n"
        "from unisemalign.geometry import Rect\n"
        "from unisemalign.slides import SpacedSlide, open_slide\n"
        "from unisemalign.slides.prefetch import Prefetch\n"
        "if __name__ == '__main__':\n"
        "    source = Prefetch(SpacedSlide(open_slide(sys.argv[1]), 0.5), 1)\n"
        "    source.read(Rect(0, 0, 10, 10))\n"
        "    print(*source._pool._processes, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(drawn.slide.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        reader = int(parent.stdout.readline())
        os.kill(reader, 0)
        parent.kill()
    ended = time.monotonic() + 10
    while _runs(reader) and time.monotonic() < ended:
        time.sleep(0.02)
    assert not _runs(reader)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # ended, but nobody has asked for its status
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
