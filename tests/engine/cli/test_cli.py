"""The verbs as a person types them; slow starts are shared by running in one process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import unisemalign
from tests.engine.conftest import QUICK, draw_textures
from unisemalign.cli.app import app
from unisemalign.project import Project

QUICK_FLAGS = [f"--set={key}={value}" for key, value in {**QUICK, "training.steps": 2}.items()]
SHARED = Path(__file__).parents[4] / "shared" / "data"


def run(*arguments, status=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def json_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def images(tmp_path):
    """Folders images/ and masks/ with two labelled slides and one without a mask."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for index, name in enumerate(["one", "two", "three"]):
        truth = draw_textures(tmp_path / "images" / f"{name}.png", index)
        if name != "three":
            Image.fromarray(truth - 1).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def test_the_whole_loop_from_a_terminal(images, tmp_path, niceness):
    project = tmp_path / "study.unisem"
    run("new", project, "--classes", "stripes,dots", "--spacing-um", 0.5)
    pixel = ["--spacing-um", 0.5]
    masks = ["--masks", images / "masks"]
    added = run("add", project, images / "images" / "one.png", *masks, *pixel, "--json")
    assert json_of(added)[-1]["slides"][0]["labelled"] is True
    run("add", project, images / "images" / "three.png", *pixel)
    run("add", project, images / "images" / "two.png", *masks, *pixel, "--split", "val")

    trained = json_of(run("train", project, "--json", *QUICK_FLAGS))
    assert niceness == [10]  # the viewer and the person come first
    assert trained[-1]["event"] == "done"
    assert trained[-1]["best_val"]["images"] == 1

    segmented = json_of(run("segment", project, "--json"))
    done = [e for e in segmented if e["event"] == "done"]
    assert [e["slide"] for e in done] == ["one", "three", "two"] or len(done) == 3
    assert all(abs(sum(e["area"].values()) - 1) < 1e-6 for e in done)
    again = run("segment", project)
    assert again.stdout.count("finished before") == 3

    regions = json_of(run("queue", project, "--json", "--size-px", 96))[-1]["regions"]
    assert regions
    assert {r["slide"] for r in regions} == {"three"}
    assert all(r["reason"] for r in regions)
    assert regions == sorted(regions, key=lambda r: -r["score"])

    scores = json_of(run("evaluate", project, "--json"))[-1]
    assert scores["round"] == 1
    assert 0 <= scores["mdice"] <= 1
    assert 0 <= scores["object_f1"] <= 1
    told = run("evaluate", project).stdout
    assert "Dice stripes" in told
    assert "object Dice" in told

    for fmt in ("png", "geojson"):
        files = json_of(run("export", project, "--format", fmt, "--out", tmp_path / fmt, "--json"))[
            -1
        ]["files"]
        assert len(files) == 3
        assert all(Path(f).exists() for f in files)
    exported = np.asarray(Image.open(tmp_path / "png" / "one.png"))
    assert (exported == np.asarray(Image.open(images / "masks" / "one.png"))).all()


def test_one_region_of_one_slide(study):
    with study:
        said = run("train", study.root, *QUICK_FLAGS)
        assert "Round 1 is trained" in said.stdout
        assert "s of it waiting for crops" in said.stdout
        assert "% waiting for crops" in said.stderr
        done = json_of(run("segment", study.root, "b", "--region", "10,20,64,80", "--json"))[-1]
        assert done["rect"] == [10, 20, 64, 80]
        run("segment", study.root, "--region", "10,20,64,80", status=1)
        run("segment", study.root, "--focus", "10,20", status=1)
        done = json_of(run("segment", study.root, "b", "--focus", "10,20", "--json"))[-1]
        assert done["rect"] == [0, 0, 192, 256]
        assert done["wait_s"] + done["store_s"] < done["seconds"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--set", "training.stepz=3"], "Unknown setting 'training.stepz'"),
        (["train", "--resume"], "Train without --resume"),
        (["train", "--resume", "--preset", "paper"], "Leave them out"),
        (["train", "--set", "preset=paper"], "--preset paper"),
        (["train", "--method", "magic"], "Choose one of: unisemalign, supervised"),
        (["segment"], "Label at least one region"),
        (["queue"], "Label a region, train, then segment"),
        (["segment", "nothing"], "nothing"),
        (["evaluate"], "trained round"),
        (["export", "--out", "x"], "nothing|prediction|label"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_a_mistake_is_status_1_and_a_sentence(study, arguments, words, tmp_path, monkeypatch):
    import re

    monkeypatch.chdir(tmp_path)
    verb, *rest = arguments
    with study:
        if verb == "export":
            study = Project.create(tmp_path / "empty.unisem", classes=["a", "b"])
        result = run(verb, study.root, *rest, status=1)
        assert re.search(words, result.stderr), result.stderr
        assert "Traceback" not in result.output
        as_json = json_of(run(verb, study.root, *rest, "--json", status=1))
        assert as_json[-1]["event"] == "failed"


@pytest.mark.parametrize("words", [["train"], ["new", "x"], ["fly"]], ids=" ".join)
def test_wrong_use_is_status_2(words):
    assert "Usage" in run(*words, status=2).output


@pytest.mark.parametrize("name", ["broken.svs", "unopenable.tiff"])
def test_slides_that_cannot_be_read_are_refused_and_nothing_is_added(study, name):
    if not SHARED.exists():
        pytest.skip(f"the shared slides are not at {SHARED.name}")
    good = study.root.parent / "d.png"
    draw_textures(good, 5)
    before = len(study.slides())
    result = run("add", study.root, good, SHARED / "slides" / name, "--spacing-um", 0.5, status=1)
    assert name in result.stderr
    assert len(study.slides()) == before


def test_a_slide_without_pixel_size_wants_spacing_um(study, tmp_path):
    draw_textures(tmp_path / "d.png", 5)
    result = run("add", study.root, tmp_path / "d.png", status=1)
    assert "--spacing-um 0.5" in result.stderr


def test_bad_masks_are_refused(study, tmp_path):
    draw_textures(tmp_path / "d.png", 5)
    folder = tmp_path / "masks"
    arguments = ["add", study.root, tmp_path / "d.png", "--spacing-um", 0.5, "--masks", folder]
    assert "folder" in run(*arguments, status=1).stderr
    folder.mkdir()
    assert "same file name" in run(*arguments, status=1).stderr
    for array, words in (
        (np.zeros((7, 9), np.uint8), "7 × 9"),
        (np.full((192, 256), 77, np.uint8), "77"),
        (np.zeros((192, 256, 3), np.uint8), ""),
    ):
        Image.fromarray(array).save(folder / "d.png")
        result = run(*arguments, status=1)
        assert words in result.stderr
        assert "Traceback" not in result.output
        assert not [s for s in study.slides() if s.name == "d"], "a refused mask adds no slide"


def test_a_mended_mask_can_be_added_with_the_same_line(images, study):
    Image.fromarray(np.full((192, 256), 77, np.uint8)).save(images / "masks" / "two.png")
    line = ["add", study.root, images / "images", "--masks", images / "masks", "--spacing-um", 0.5]
    run(*line, status=1)
    Image.fromarray(np.zeros((192, 256), np.uint8)).save(images / "masks" / "two.png")
    run(*line)
    assert {"one", "two", "three"} <= {s.name for s in study.slides()}
    assert study.labels("two").labelled_rects()
    assert "already: left as it is" in run(*line).stderr


def test_the_queue_wants_a_segmented_slide_and_keeps_what_it_has(trained):
    assert "Segment one first" in run("queue", trained.root, status=1).stderr
    run("segment", trained.root, "b", "--json")
    run("queue", trained.root, "--size-px", 96, "--json")
    before = trained.regions(state="predicted")
    assert before
    run("train", trained.root, "--json", *QUICK_FLAGS)
    # The new round has said nothing yet: of each slide the newest map counts.
    run("queue", trained.root, "--size-px", 96, "--json")
    again = trained.regions(state="predicted")
    assert [(r.rect, r.round) for r in again] == [(r.rect, r.round) for r in before]


def test_an_error_is_told_once(study):
    events = json_of(
        run(
            "train",
            study.root,
            "--json",
            "--set",
            "model.zoom=8",
            "--set",
            "training.batch_labelled=1",
            status=1,
        )
    )
    assert [e["event"] for e in events] == ["failed"]
    (study.root.parent / "b.png").unlink()
    events = json_of(run("train", study.root, "--json", status=1))
    assert [e["event"] for e in events].count("failed") == 1


def test_an_empty_folder_is_told(study, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "found none" in run("add", study.root, tmp_path / "empty", status=1).stderr


def test_a_moved_slide_is_told_and_found_again(study, tmp_path):
    (tmp_path / "b.png").rename(tmp_path / "elsewhere.png")
    study.close()
    result = run("train", study.root, *QUICK_FLAGS, status=1)
    assert "relocate" in result.stderr
    run("relocate", study.root, "b", tmp_path / "elsewhere.png")
    run("train", study.root, "--json", *QUICK_FLAGS)


def test_info_lists_settings_and_versions():
    info = json_of(run("info", "--json"))[0]
    assert info["versions"]["torch"]
    assert "embedded" in info["encoders"]
    assert "training.steps" in run("info", "--settings").stdout
    assert json_of(run("weights", "list", "--json"))[0]["weights"][0]["name"] == "embedded"


def test_weights_that_are_not_here_say_what_to_do():
    result = run("weights", "check", "uni", status=1)
    assert "unisemalign weights get uni" in result.stderr
    run("weights", "check", "embedded")


def test_check_tells_each_name_apart():
    result = run("weights", "check", "free", "uni", "embedded", "--json", status=1)
    rows = json_of(result)[0]["weights"]
    assert [row["ok"] for row in rows] == [True, False, True]
    assert "weights get uni" in rows[1]["text"]
    assert rows[2]["outputs"][0][1] > 0
    assert rows[2]["parameters"] > 1000


def test_a_pixel_size_foreign_to_the_encoder_is_told(tmp_path):
    made = run("new", tmp_path / "a.unisem", "--classes", "a,b", "--encoder", "uni")
    assert "trained at 0.5 µm/px and sees 1 µm/px here" in made.stdout
    project = json_of(run("info", tmp_path / "a.unisem", "--json"))[0]["project"]
    assert project["encoder"] == "uni"
    assert "--set model.zoom=1," in project["advice"]
    events = json_of(run("train", tmp_path / "a.unisem", "--json", status=1))
    assert "sees 1 µm/px here" in events[0]["text"]
    fits = json_of(run("train", tmp_path / "a.unisem", "--json", "--set=model.zoom=1", status=1))
    assert "µm/px" not in fits[0]["text"]
    made = run("new", tmp_path / "b.unisem", "--classes", "a,b")
    assert "trained at" not in made.stdout


def test_the_face_names_exist_and_load_late():
    for name in unisemalign.__all__:
        assert getattr(unisemalign, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        unisemalign.nonsense  # noqa: B018
    code = (
        "import sys, unisemalign; from unisemalign import Project, build_settings; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Viewer:
    """A viewer's end of ``serve``."""

    def __init__(self, root):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "unisemalign", "serve", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.next()["event"] == "ready"

    def send(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def next(self):
        line = self.process.stdout.readline()
        assert line, f"the engine ended with {self.process.wait()}"
        return json.loads(line)

    def until(self, *kinds):
        events = []
        while not events or events[-1]["event"] not in kinds:
            events.append(self.next())
        return events

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def test_serve_answers_by_id_and_ends_with_its_input(study):
    viewer = Viewer(study.root)
    viewer.send(id=1, verb="segment", slide="b")
    assert "Label at least one region" in viewer.until("failed")[-1]["text"]
    run("train", study.root, "--json", *QUICK_FLAGS)

    viewer.send(id=2, verb="segment", slide="b", rect=[0, 0, 96, 96])
    events = viewer.until("done")
    assert {e["id"] for e in events} == {2}
    assert events[-1]["rect"] == [0, 0, 96, 96]
    assert any(e["event"] == "written" for e in events)

    draw_textures(study.root.parent / "e.png", 4, (500, 500))
    study.add_slide(study.root.parent / "e.png", spacing_um=0.5)
    viewer.send(id=7, verb="segment", slide="e", rect=[0, 0, 500, 500], downsample=3.7)
    finals = [e["final"] for e in viewer.until("done") if e["event"] == "written"]
    assert (finals[0], finals[-1]) == (False, True)

    viewer.send(id=3, verb="segment", slide="b", focus=[100, 100])
    viewer.until("done")
    viewer.send(id=4, verb="queue", count=2, size_px=96)
    assert len(viewer.until("done")[-1]["regions"]) == 2

    viewer.send(id=5, verb="dance")
    assert "dance" in viewer.until("failed")[-1]["text"]
    viewer.process.stdin.write("not json\n[]\n5\n")
    viewer.send(id=6, verb="segment", slide="b", rect=[900, 900, 10, 10])
    texts = [viewer.until("failed")[-1]["text"] for _ in range(4)]
    assert sum("JSON" in t for t in texts) == 3
    viewer.close()
    assert viewer.process.returncode == 0


def test_add_tells_what_is_odd_about_slides(tmp_path):
    from PIL import ImageCms

    project = tmp_path / "study.unisem"
    run("new", project, "--classes", "a,b", "--spacing-um", 0.5)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for name in ("eins", "zwei"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{name}.png", icc_profile=profile)
    paths = [tmp_path / "eins.png", tmp_path / "zwei.png"]
    events = json_of(run("add", project, *paths, "--spacing-um", 0.5, "--json"))
    told = [event["text"] for event in events if event["event"] == "message"]
    assert len(told) == 2
    assert told[0].startswith("'eins.png', 'zwei.png': Its colour profile (")
    assert "is not applied" in told[0]
    assert told[1] == (
        "'eins.png', 'zwei.png': It does not state its pixel size: 0.5 µm is used, as given."
    )
