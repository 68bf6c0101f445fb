import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from tests.engine.conftest import QUICK
from tests.engine.inference.conftest import ArraySlide
from unisemalign.cli.segmenting import segment_here
from unisemalign.errors import (
    BusyError,
    CancelledError,
    ProjectError,
    SettingsError,
    WeightsError,
)
from unisemalign.geometry import Rect
from unisemalign.inference import (
    Plan,
    Predictor,
    SegmentJob,
    iter_bands,
    load_predictor,
    open_for_segmenting,
    plan,
    predict_rect,
    score_split,
    segment_slide,
)
from unisemalign.inference.blending import window_weights
from unisemalign.inference.storing import PredictionSlot
from unisemalign.model import build_network
from unisemalign.project import PredictionStore, Project, Split
from unisemalign.protocol import NotSegmented
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.settings import build_settings
from unisemalign.slides import SpacedSlide, TissueMask, open_slide
from unisemalign.slides.prefetch import Prefetch


def make_predictor(**more):
    settings = build_settings(overrides={**QUICK, **more})
    torch.manual_seed(0)
    return Predictor(build_network(["a", "b", "c"], settings.model), settings, torch.device("cpu"))


def bands_of(slide, predictor, *, tissue=None, **planned):
    wanted = Plan(slide.shape_yx, predictor.settings.inference, **planned)
    with Prefetch(slide) as source:
        return list(iter_bands(source, predictor, wanted, tissue=tissue))


@pytest.fixture(scope="module")
def noise():
    return ArraySlide(np.random.default_rng(0).integers(0, 255, (1300, 300, 3)).astype(np.uint8))


def test_bands_cover_the_slide_once_in_whole_chunks(noise):
    bands = bands_of(noise, make_predictor())
    assert [b.rect for b in bands] == [
        Rect(0, 0, 512, 300),
        Rect(512, 0, 512, 300),
        Rect(1024, 0, 276, 300),
    ]
    for band in bands:
        assert band.classes.shape == band.rect.shape
        assert band.classes.min() >= 1
        assert band.classes.max() <= 3
        assert band.confidence.min() >= 255 // 3
        assert band.disagreement.max() <= 3


@pytest.mark.parametrize("whole", [False, True])
def test_blending_is_the_weighted_mean_of_the_windows(noise, whole):
    """Against the plain computation: all windows at once, on the whole canvas."""
    predictor = make_predictor(**{"inference.whole_windows": whole})
    rect = Rect(0, 0, 300, 300)
    slide = ArraySlide(noise.pixels[:300])
    weights = predictor.weights.numpy()
    sums = np.zeros((3, 384, 384))
    weight = np.zeros((384, 384))
    corners = (0, 96, 192, 256) if whole else (0, 96, 172)
    padded = np.pad(slide.pixels, ((0, 84), (0, 84), (0, 0)), mode="symmetric")
    for y in corners:
        for x in corners:
            out = predictor(padded[None, y : y + 128, x : x + 128])[0].numpy()
            sums[:, y : y + 128, x : x + 128] += out[:3] * weights
            weight[y : y + 128, x : x + 128] += weights
    mean = sums[:, :300, :300] / weight[:300, :300]
    band = predict_rect(slide, predictor, rect)
    confidence = np.rint(mean.max(0) * 255)
    assert np.abs(band.confidence - confidence).max() <= 1
    sure = np.sort(mean, axis=0)[-1] - np.sort(mean, axis=0)[-2] > 1e-4
    assert (band.classes == mean.argmax(0) + 1)[sure].all()


@pytest.mark.parametrize(
    "rect", [Rect(100, 50, 700, 120), Rect(511, 0, 2, 300), Rect(1299, 299, 1, 1)], ids=str
)
def test_a_part_gets_the_labels_of_the_whole(noise, rect):
    predictor = make_predictor()
    whole = predict_rect(noise, predictor, Rect(0, 0, 1300, 300))
    part = predict_rect(noise, predictor, rect)
    assert part.rect == rect
    # Batches of another size may round another way in the last bit.
    assert (part.classes == whole.classes[rect.slices]).mean() > 0.999
    gap = part.confidence.astype(int) - whole.confidence[rect.slices]
    assert np.abs(gap).max() <= 1


def test_strips_focus_and_what_is_finished_change_no_bit(noise, monkeypatch):
    monkeypatch.setattr(plan, "STRIP_PX", 512)
    slide = ArraySlide(np.concatenate([noise.pixels] * 4, axis=1))
    predictor = make_predictor()
    plain = {b.rect: b for b in bands_of(slide, predictor)}
    assert {r.x for r in plain} == {0, 512, 1024}
    finished = {Rect(512, 0, 512, 512), Rect(0, 1024, 512, 176)}
    other = bands_of(slide, predictor, focus=(700, 700), finished=finished)
    assert other[0].rect == Rect(0, 512, 512, 512)
    assert {b.rect for b in other} == set(plain) - finished
    for band in other:
        assert np.array_equal(band.classes, plain[band.rect].classes)
        assert np.array_equal(band.confidence, plain[band.rect].confidence)
        assert np.array_equal(band.disagreement, plain[band.rect].disagreement)
    # Strips against one piece: batches of another size may round another way in the last bit.
    monkeypatch.setattr(plan, "STRIP_PX", 6144)
    for one in bands_of(slide, predictor):
        for rect in (r for r in plain if one.rect.contains(r)):
            part = rect.relative_to(one.rect).slices
            assert (plain[rect].classes == one.classes[part]).mean() > 0.999
            assert np.abs(plain[rect].confidence.astype(int) - one.confidence[part]).max() <= 1


class Near:
    """A predictor that looks two pixels far, and sees zeros around its window."""

    n_classes = 2
    batch_windows = 4
    network = make_predictor().network

    def __init__(self, blend):
        self.settings = make_predictor(**{"views.pad": "zero", "inference.blend": blend}).settings
        self.weights = window_weights(128, blend, torch.device("cpu"))

    def __call__(self, windows):
        gray = torch.from_numpy(windows).float().mean(-1)[:, None] / 255
        mean = torch.nn.functional.avg_pool2d(gray, 5, 1, padding=2)
        return torch.cat([mean, 1 - mean, gray > 0.5, gray > 0.7], dim=1)


@pytest.mark.parametrize("blend", ["gaussian", "uniform"])
def test_tiled_is_untiled_but_at_the_borders_of_windows(noise, blend):
    predictor = Near(blend)
    slide = ArraySlide(noise.pixels[:500])
    tiled = predict_rect(slide, predictor, Rect(0, 0, 500, 300))
    untiled = predictor(slide.pixels[None])[0]
    off = np.abs(tiled.confidence - (untiled[:2].max(0).values * 255).numpy())
    near = np.zeros((500, 300), bool)
    for y in (0, 96, 192, 288, 372):
        near[max(0, y - 2) : y + 2] |= y > 0
        near[y + 126 : y + 130] |= y + 128 < 500
    for x in (0, 96, 172):
        near[:, max(0, x - 2) : x + 2] |= x > 0
        near[:, x + 126 : x + 130] |= x + 128 < 300
    assert off[~near].max() <= 0.51  # rounding
    if blend == "gaussian":
        assert off.max() < 2
    else:
        assert off[near].max() > 20  # a seam


def test_a_sketch_comes_first_and_the_rest_replaces_it(trained):
    predictor, _ = load_predictor(trained)
    told = []

    class Seen:
        def emit(self, event):
            stored = None
            if event.event == "written":
                stored = trained.predictions(1, "b").read(Rect(0, 0, 192, 256))
            told.append((event.event, stored))

    view = Rect(10, 20, 180, 200)
    opened = open_for_segmenting(trained, "b", predictor)
    slot = PredictionSlot.of_round(trained, 1, "b")
    SegmentJob(opened, predictor, slot, rect=view, sketch=1.0, events=Seen()).run()
    opened.slide.slide.close()
    kinds = [kind for kind, _ in told]
    assert kinds.index("written") < kinds.index("progress")
    first, last = (stored for kind, stored in told if kind == "written")
    assert (first[view.slices] > 0).all()
    assert (first[:10] == 0).all()
    plain = predict_rect(trained.open_slide("b"), predictor, view)
    assert np.array_equal(last[view.slices], plain.classes)
    assert (first == last).mean() > 0.5
    assert not trained.predictions(1, "b").read_finished().finished


@pytest.mark.parametrize("how", ["by the project", "by a person"])
def test_a_removed_map_is_made_again_though_killed_at_once(trained, monkeypatch, how):
    """Killed between the empty store and the note that nothing of it is finished."""
    predictor, _ = load_predictor(trained)
    quiet = {"events": SilentEvents(), "cancel": CancelToken()}
    segment_slide(trained, "b", predictor, 1, **quiet)
    whole = Rect(0, 0, *trained.predictions(1, "b").shape_yx)
    before = trained.predictions(1, "b").read(whole)
    if how == "by the project":
        trained.remove_prediction(1, "b")
    else:
        shutil.rmtree(trained.root / "predictions" / "1" / "b.zarr")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PredictionStore, "write_finished", killed)
        with pytest.raises(KeyboardInterrupt):
            segment_slide(trained, "b", predictor, 1, **quiet)
    assert trained.has_prediction(1, "b")
    assert segment_slide(trained, "b", predictor, 1, **quiet).fresh
    assert np.array_equal(trained.predictions(1, "b").read(whole), before)


def test_what_cannot_be_decoded_is_left_unlabelled(noise, tmp_path):
    path = tmp_path / "torn.tif"
    tifffile.imwrite(path, noise.pixels, tile=(256, 256), photometric="rgb", compression="deflate")
    with tifffile.TiffFile(path) as file:
        index = 2 * 2  # third row of tiles, first column
        start, count = (
            file.pages.first.dataoffsets[index],
            file.pages.first.databytecounts[index],
        )
    content = bytearray(path.read_bytes())
    content[start : start + count] = b"\xaa" * count
    path.write_bytes(content)

    slide = SpacedSlide(open_slide(path, spacing_um=0.5), 0.5)
    band = predict_rect(slide, make_predictor(), Rect(0, 0, 1300, 300))
    slide.slide.close()
    torn = np.zeros((1300, 300), bool)
    torn[512:768, :256] = True
    assert np.array_equal(band.classes == 0, torn)
    assert (band.confidence[torn] == 0).all()
    far = predict_rect(noise, make_predictor(), Rect(0, 0, 1300, 300))
    assert np.array_equal(band.classes[:300], far.classes[:300])


class Tight:
    """A device whose memory holds few windows at once."""

    def __init__(self, network, most, error):
        self.features = network.features
        self.most, self.error = most, error
        self.seen = []

    def __call__(self, images):
        self.seen.append(len(images))
        if len(images) > self.most:
            raise self.error
        return self.features(images)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_batches_are_halved_when_memory_runs_out(noise, error):
    predictor = make_predictor(**{"inference.batch_windows": 4})
    slide = ArraySlide(noise.pixels[:500])
    expected = predict_rect(slide, predictor, Rect(0, 0, 500, 300))
    tight = Tight(predictor.network, 1, error)
    predictor.network.features = tight
    got = predict_rect(slide, predictor, Rect(0, 0, 500, 300))
    assert predictor.batch_windows == 1
    assert tight.seen[:3] == [3, 2, 1]
    assert set(tight.seen[3:]) == {1}  # remembered
    assert (got.classes == expected.classes).mean() > 0.999


def test_a_window_no_memory_holds_is_told_and_other_errors_are_not_hidden(noise):
    predictor = make_predictor()
    predictor.network.features = Tight(predictor.network, 0, MemoryError())
    with pytest.raises(SettingsError, match="A window of 128 px needs more memory"):
        predict_rect(noise, predictor, Rect(0, 0, 300, 300))
    predictor.network.features = Tight(predictor.network, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        predict_rect(noise, predictor, Rect(0, 0, 300, 300))


def test_windows_without_tissue_are_left_out(noise):
    rows = np.arange(1300)[:, None] + np.zeros(300, int)
    bands = bands_of(noise, make_predictor(), tissue=TissueMask(rows < 200, 0.5, 0.5))
    classes = np.concatenate([b.classes for b in bands])
    assert (classes[:200] > 0).all()
    assert (classes[200:] == 0).all()
    assert (np.concatenate([b.confidence for b in bands])[200:] == 0).all()

    predictor = make_predictor()
    whole = np.concatenate([b.classes for b in bands_of(noise, predictor)])
    bottom = TissueMask(rows >= 896, 0.5, 0.5)
    classes = np.concatenate([b.classes for b in bands_of(noise, predictor, tissue=bottom)])
    assert (classes[:896] == 0).all()
    assert (classes[1000:] == whole[1000:]).all()


def test_what_a_person_skips_is_unlabelled_pixel_by_pixel(noise):
    predictor = make_predictor()
    plain = bands_of(noise, predictor)
    skipped = np.zeros((25, 20), bool)
    skipped[9:11, 5:8] = True  # across the border of two bands
    tissue = TissueMask(~skipped[:, :19], 26.0, 0.5, skipped[:, :19])
    there = np.zeros((1300, 300), bool)
    there[9 * 52 : 11 * 52, 5 * 52 : 8 * 52] = True
    bands = bands_of(noise, predictor, tissue=tissue)
    for what in ("classes", "confidence", "disagreement"):
        got = np.concatenate([getattr(band, what) for band in bands])
        expected = np.concatenate([getattr(band, what) for band in plain])
        assert np.array_equal(got, np.where(there, 0, expected))


@pytest.mark.parametrize("shape", [(1, 40), (37, 1), (128, 128)])
def test_slides_smaller_than_a_window(shape):
    slide = ArraySlide(np.full((*shape, 3), 100, np.uint8))
    band = predict_rect(slide, make_predictor(), Rect(0, 0, *shape))
    assert band.classes.shape == shape
    assert (band.classes > 0).all()


@pytest.mark.parametrize("pad", ["reflect", "zero"])
@pytest.mark.parametrize("answer", ["fused", "decoder"])
def test_flipping_the_slide_flips_the_answer_when_flips_are_averaged(pad, answer):
    pixels = np.random.default_rng(1).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    predictor = make_predictor(
        **{"inference.flips": True, "views.pad": pad, "inference.answer": answer}
    )
    one = predictor(pixels[None])[0].numpy()
    two = predictor(np.ascontiguousarray(pixels[None, ::-1, ::-1]))[0].numpy()[:, ::-1, ::-1]
    assert np.allclose(one[:3], two[:3], atol=1e-4)
    assert np.allclose(one[:3].sum(0), 1, atol=1e-4)


def test_predicting_gives_the_network_its_mode_back():
    predictor = make_predictor()
    predictor.network.train()
    predictor(np.zeros((1, 64, 64, 3), np.uint8))
    assert predictor.network.training


def test_a_slide_is_segmented_once_and_then_left_alone(trained):
    predictor, found = load_predictor(trained)
    told = {"events": SilentEvents(), "cancel": CancelToken()}
    result = segment_slide(trained, "b", predictor, found.number, **told)
    assert (result.slide, result.round, result.rect) == ("b", 1, Rect(0, 0, 192, 256))
    assert result.fresh
    assert result.windows == 6
    assert result.unreadable == ()
    spent = result.wait_s + result.store_s + result.device_s
    assert spent == pytest.approx(result.seconds, abs=0.01)
    store = trained.predictions(1, "b")
    assert (store.read(Rect(0, 0, 192, 256)) > 0).all()
    assert not segment_slide(trained, "b", predictor, found.number, **told).fresh


def test_a_map_is_never_of_two_models(trained):
    """The same round, used another way: what was stored before is forgotten."""
    told = {"events": SilentEvents(), "cancel": CancelToken()}
    plain, _ = load_predictor(trained)
    segment_slide(trained, "b", plain, 1, **told)
    flipped, _ = load_predictor(trained, None, ["inference.flips=true", "device=cpu"])
    assert flipped.settings.inference.flips
    assert flipped.identity != plain.identity
    part = Rect(0, 0, 32, 32)
    segment_slide(trained, "b", flipped, 1, rect=part, **told)
    store = trained.predictions(1, "b")
    assert (store.read(part) > 0).all()
    assert (store.read(Rect(64, 64, 64, 64)) == 0).all()
    assert segment_slide(trained, "b", flipped, 1, **told).fresh


def test_only_the_use_of_a_model_can_change_after_training(trained):
    with pytest.raises(SettingsError, match="found 'model.zoom=1'"):
        load_predictor(trained, None, ["model.zoom=1"])


def test_classes_in_another_order_are_told(trained):
    path = trained.root / "project.toml"
    text = path.read_text()
    swapped = (
        text.replace('"stripes"', '"x"').replace('"dots"', '"stripes"').replace('"x"', '"dots"')
    )
    path.write_text(swapped)
    trained.close()
    with (
        Project.open(trained.root) as again,
        pytest.raises(ProjectError, match="learned the classes"),
    ):
        load_predictor(again)


def test_an_interrupted_slide_goes_on_and_ends_the_same(trained, tmp_path):
    pixels = np.random.default_rng(3).integers(60, 200, (1400, 160, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "long.png")
    trained.add_slide(tmp_path / "long.png", spacing_um=0.5)
    predictor, _ = load_predictor(trained)
    whole = Rect(0, 0, 1400, 160)
    expected = predict_rect(trained.open_slide("long"), predictor, whole)

    class StopAfterOneBand:
        def __init__(self):
            self.token = CancelToken()

        def emit(self, event):
            if event.event == "written":
                self.token.request()

    stopper = StopAfterOneBand()
    with pytest.raises(CancelledError):
        segment_slide(trained, "long", predictor, 1, events=stopper, cancel=stopper.token)
    store = trained.predictions(1, "long")
    # What was labelled when the stop came is kept too.
    assert store.read_finished().finished[0] == Rect(0, 0, 512, 160)
    assert (store.read(Rect(1024, 0, 376, 160)) == 0).all()
    segment_slide(trained, "long", predictor, 1, events=SilentEvents(), cancel=CancelToken())
    assert (store.read(whole) == expected.classes).all()
    assert (store.read(whole, "confidence") == expected.confidence).all()


def test_a_killed_job_goes_on_and_ends_the_same_bytes(trained, tmp_path):
    """At random moments, half-written chunks among them. For more: killing.py --kills 20."""
    pixels = np.random.default_rng(3).integers(60, 200, (1100, 600, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    trained.add_slide(tmp_path / "large.png", spacing_um=0.5)
    trained.close()
    runner = Path(__file__).with_name("killing.py")
    command = [sys.executable, str(runner), str(trained.root), "large", "--kills", "4"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert told["kills"] == 4
    assert told["moments"] > 50
    assert told["interrupted"] == [told["undisturbed"]]


def test_a_region_outside_the_slide_is_told(trained):
    predictor, _ = load_predictor(trained)
    with pytest.raises(ProjectError, match="192 × 256 px"):
        segment_slide(trained, "b", predictor, 1, rect=Rect(5000, 0, 10, 10))


def test_before_any_model_exists_the_first_step_is_told(study):
    with pytest.raises(ProjectError, match="Label at least one region"):
        load_predictor(study)


def test_damaged_weights_are_told(trained):
    (trained.rounds()[0].folder / "best.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightsError, match="Choose another round"):
        load_predictor(trained)


def test_scores_come_from_held_out_regions_only(trained):
    predictor, _ = load_predictor(trained)
    scores = score_split(trained, predictor, Split.VAL)
    assert scores.overlap.images == 1
    band = predict_rect(trained.open_slide("c"), predictor, Rect(0, 0, 192, 256))
    truth = trained.labels("c").read(Rect(0, 0, 192, 256))
    inter = [((band.classes == k) & (truth == k)).sum() for k in (1, 2)]
    sizes = [(band.classes == k).sum() + (truth == k).sum() for k in (1, 2)]
    assert scores.overlap.dice == pytest.approx(
        [2 * i / s for i, s in zip(inter, sizes, strict=True)]
    )


def test_a_slide_that_another_process_segments_is_left_out_and_told(trained):
    predictor, found = load_predictor(trained)
    told = {"events": SilentEvents(), "cancel": CancelToken()}
    with Project.open(trained.root) as other, other.lock_prediction(found.number, "b"):
        with pytest.raises(BusyError, match="Slide 'b' is being segmented for round 1"):
            segment_slide(trained, "b", predictor, found.number, **told)
        results = segment_here(trained, ["b", "c"], None, [], None, None, *told.values())
        assert [isinstance(each, NotSegmented) for each in results] == [True, False]
    assert segment_slide(trained, "b", predictor, found.number, **told).fresh
