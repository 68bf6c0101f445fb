"""Results: never over a file of somebody else's, and always with a note that fits."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from unisemalign.errors import BusyError, DataError
from unisemalign.runtime import results as room
from unisemalign.runtime.results import check_results, content_sha256, note_path, writing_results


def write(folder: Path, text: str, name: str = "a.png", meanwhile=None, **options) -> Path:
    with (
        writing_results(folder, [name], **options) as results,
        results.replaced(name, {"text": text}) as part,
    ):
        if options.get("folders"):
            (part / "0").mkdir(parents=True)
            (part / "0" / "c").write_text(text)
        else:
            part.write_text(text)
        if meanwhile is not None:
            meanwhile()
    return folder / name


def read(result: Path) -> str:
    return ((result / "0" / "c") if result.is_dir() else result).read_text()


def fitting_note(result: Path) -> dict:
    """Return the note of what lies there, as a reader finds it after a kill."""
    told = json.loads(note_path(result).read_text())
    fits = [n for n in (told, told.get("before", {})) if n.get("sha256") == content_sha256(result)]
    assert fits, "no note fits the result"
    assert fits[0]["result"] == result.name
    return fits[0]


@pytest.mark.parametrize("folders", [False, True])
def test_an_earlier_result_is_replaced_with_its_note(tmp_path, folders):
    for text in ("one", "two", "two"):
        result = write(tmp_path / "out", text, folders=folders)
        assert (read(result), fitting_note(result)["text"]) == (text, text)
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "a.png.run.json"]
        assert "before" not in json.loads(note_path(result).read_text())


def test_a_result_that_was_copied_with_its_note_is_still_one(tmp_path):
    write(tmp_path / "out", "one")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    os.utime(tmp_path / "copy" / "a.png", (0, 0))
    assert read(write(tmp_path / "copy", "two")) == "two"


def _plain_file(out: Path) -> None:
    (out / "a.png").write_text("mine")


def _link(out: Path) -> None:
    (out.parent / "mine.png").write_text("mine")
    (out / "a.png").symlink_to(out.parent / "mine.png")


def _dangling_link(out: Path) -> None:
    (out / "a.png").symlink_to(out / "nothing")


def _pipe(out: Path) -> None:
    os.mkfifo(out / "a.png")


def _folder(out: Path) -> None:
    (out / "a.png").mkdir()


def _note_of_another(out: Path) -> None:
    (out / "a.png").write_text("mine")
    note_path(out / "a.png").write_text(json.dumps({"result": "b.png"}))


def _own_json(out: Path) -> None:
    note_path(out / "a.png").write_text("[" * 100_000)


def _changed_since(out: Path) -> None:
    write(out, "one").write_text("mine")


def _note_without_a_hash(out: Path) -> None:
    (out / "a.png").write_text("mine")
    note_path(out / "a.png").write_text(json.dumps({"result": "a.png"}))


def _link_as_note(out: Path) -> None:
    write(out, "one")
    note_path(out / "a.png").rename(out / "elsewhere")
    note_path(out / "a.png").symlink_to(out / "elsewhere")


@pytest.mark.parametrize(
    ("arrange", "found"),
    [
        (_plain_file, "a file this program did not make"),
        (_link, "a link"),
        (_dangling_link, "a link"),
        (_pipe, "a pipe"),
        (_folder, "a folder"),
        (_note_of_another, "no note of this result"),
        (_own_json, "no note of this result"),
        (_changed_since, "changed since"),
        (_note_without_a_hash, "changed since"),
        (_link_as_note, "a link"),
    ],
)
def test_what_is_no_result_of_ours_stays(tmp_path, arrange, found):
    out = tmp_path / "out"
    out.mkdir()
    arrange(out)
    before = {path: path.lstat() for path in sorted(tmp_path.rglob("*"))}
    with pytest.raises(DataError, match=found):
        write(out, "new")
    with pytest.raises(DataError, match=found):
        check_results(out, ["a.png"])
    # And nothing beside it is written either.
    with pytest.raises(DataError, match=found), writing_results(out, ["0.png", "a.png"]):
        raise AssertionError
    after = {path: path.lstat() for path in sorted(tmp_path.rglob("*"))}
    assert [p for p in after if p != out] == [p for p in before if p != out]
    assert all(after[p].st_mtime_ns == before[p].st_mtime_ns for p in after if p.is_file())


def test_a_folder_with_something_of_a_persons_in_it_stays(tmp_path):
    result = write(tmp_path / "out", "one", folders=True)
    (result / "notes").mkdir()
    with pytest.raises(DataError, match="changed since"):
        write(tmp_path / "out", "two", folders=True)


def test_a_device_is_refused():
    with pytest.raises(DataError, match="found a device"):
        check_results(Path(os.devnull).parent, [Path(os.devnull).name])


@pytest.mark.parametrize("how", ["itself", "link", "hard link", "other case", "gone", "inside"])
def test_what_is_kept_is_never_written_over_whatever_a_note_says(tmp_path, how):
    slide = write(tmp_path / "out", "slide")  # with a perfect note
    name, kept = "a.png", slide
    if how == "link":
        kept = tmp_path / "link.png"
        kept.symlink_to(slide)
    elif how == "hard link":
        kept = tmp_path / "hard.png"
        kept.hardlink_to(slide)
    elif how == "other case":
        name = "A.PNG"
    elif how == "gone":
        slide.unlink()
    elif how == "inside":
        kept = tmp_path
    with pytest.raises(DataError, match="slide 'a'"):
        write(tmp_path / "out", "new", name, kept={kept: "slide 'a'"})
    assert how == "gone" or read(slide) == "slide"


def test_the_folder_is_made_and_its_parent_is_not(tmp_path):
    assert write(tmp_path / "out", "one").exists()
    with pytest.raises(DataError, match=r"found no folder '.*absent'"):
        write(tmp_path / "absent" / "out", "one")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="found a file"):
        write(tmp_path / "file", "one")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="found a link"):
        write(tmp_path / "loop", "one")
    assert not (tmp_path / "absent").exists()


def test_a_file_that_comes_meanwhile_stays(tmp_path):
    with pytest.raises(DataError, match="did not make"):
        write(tmp_path, "new", meanwhile=lambda: (tmp_path / "a.png").write_text("mine"))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.png", "mine")]


def test_a_writer_that_fails_leaves_the_earlier_result(tmp_path):
    result = write(tmp_path / "out", "one")
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "out", "two", meanwhile=lambda: 1 / 0)
    assert (read(result), fitting_note(result)["text"]) == ("one", "one")
    assert len(list(result.parent.iterdir())) == 2


def test_one_writer_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_S", 0.05)
    with pytest.raises(BusyError, match="Another process writes results"):
        write(tmp_path, "one", meanwhile=lambda: write(tmp_path, "two", "b.png"))
    assert read(write(tmp_path, "one", "b.png")) == "one"


def test_what_earlier_releases_left_is_removed(tmp_path):
    for name in ("a.png", "a.png.run.json"):
        (tmp_path / f".{name}.{'0f' * 16}.part").write_text("half")
    (tmp_path / ".a.png.mine.part").write_text("mine")
    write(tmp_path, "one")
    assert sorted(p.name for p in tmp_path.glob(".*")) == [".a.png.mine.part"]


def killed_at(moment: int, act) -> bool:
    """Do ``act`` in a child that dies at a moment around any change; tell whether it did."""
    child = os.fork()
    if child == 0:
        left = moment

        def passing(original):
            def call(*arguments):
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(9)
                done = original(*arguments)
                left -= 1
                if left == 0:
                    os._exit(9)
                return done

            return call

        for owner, name in ((Path, "replace"), (Path, "rename"), (room, "flush_folder")):
            setattr(owner, name, passing(getattr(owner, name)))
        room._exchange = passing(room._exchange)
        try:
            act()
        finally:
            os._exit(0 if left > 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("swaps", [True, False])
def test_a_kill_at_any_moment_leaves_a_note_that_fits_and_a_repeat(
    tmp_path, monkeypatch, folders, swaps
):
    if not swaps:

        def cannot(*_):
            raise OSError("no such call here")

        monkeypatch.setattr(room, "_exchange", cannot)
    moment, died = 0, True
    while died:
        moment += 1
        out = tmp_path / str(moment)
        result = write(out, "one", folders=folders)
        died = killed_at(moment, lambda out=out: write(out, "two", folders=folders))
        if result.exists() or swaps:
            assert read(result) == fitting_note(result)["text"]
        # Another result first: what was taken out of the way for this one comes back.
        write(out, "other", "b.png", folders=folders)
        assert read(result) == fitting_note(result)["text"]
        write(out, "three", folders=folders)
        assert read(result) == fitting_note(result)["text"] == "three"
        assert len(list(out.iterdir())) == 4
    assert moment > 6
