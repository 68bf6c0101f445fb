"""The dock on a real viewer, with the stand-in engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QMessageBox
from standins import FAKE_ENGINE, PATIENCE_MS, SHARED_SLIDES

from napari_unisemalign.canvas.overlays import CLUSTERS, PREDICTION, UNCERTAINTY
from napari_unisemalign.canvas.reader import read_slides
from napari_unisemalign.engine.process import ENGINE
from napari_unisemalign.session.curve import Curve, grown_curve
from napari_unisemalign.session.progress import SegmentProgress, TrainingProgress
from napari_unisemalign.widgets import open_section, weights_dialog
from napari_unisemalign.widgets.dock import DockWidget
from napari_unisemalign.widgets.new_project_dialog import NewProjectDialog
from napari_unisemalign.widgets.spacing_dialog import SpacingDialog
from napari_unisemalign.widgets.weights_dialog import WeightsDialog
from unisemalign import protocol
from unisemalign.geometry import Rect
from unisemalign.project import Project, RegionState, Split, TissueChange, TissueStore
from unisemalign.slides.synthetic import draw_slide
from unisemalign.weights import PUBLISHED

LEFT = Qt.MouseButton.LeftButton


def _press(qtbot, dock: DockWidget, button) -> None:
    dock.render_now()
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, LEFT)
    dock.render_now()


def _label(dock: DockWidget, value_rows: int = 5) -> None:
    controller = dock.controller
    controller.reviewer.mark_region(256)
    layer = controller.layers.editing()
    for value in range(1, len(controller.session.project.info.classes) + 1):
        layer.data[value * value_rows : (value + 1) * value_rows] = value
    layer.events.set_data()
    controller.reviewer.accept()
    dock.render_now()


def test_the_dock_opens_through_the_manifest(make_napari_viewer, qtbot, root) -> None:
    PluginManager.instance().discover()
    viewer = make_napari_viewer()
    _window, dock = viewer.window.add_plugin_dock_widget("napari-unisemalign", "Segment slides")
    assert isinstance(dock, DockWidget)
    assert dock.next_step.text().startswith("Press New project…")
    assert [each.header.text() for each in dock.sections.values()] == [
        "Open",
        "Segment",
        "Review",
        "Train",
        "Export",
    ]
    # napari hands plugins a guarded viewer: the acts must do with its public side.
    dock.controller.opener.open_project(root)
    dock.controller.reviewer.mark_region(128)
    dock.controller.layers.editing().paint((64, 64), 2)
    dock.controller.reviewer.accept()
    dock.controller.toggle(PREDICTION)
    dock.render_now()
    assert dock.controller.session.labelled_values() == {2}
    assert not dock.review.error.text()
    dock.controller.shut_down()
    assert not len(viewer.layers)


def test_a_new_project_from_a_slide_already_open(make_dock, qtbot, drawn_path, tmp_path) -> None:
    dock = make_dock()
    dock.open.add_slides([drawn_path])
    dock.render_now()
    assert "the slide you opened becomes its first" in dock.next_step.text()
    dialog = NewProjectDialog(dock, classes=("glass", "tissue"))
    dialog.folder.setText(str(tmp_path / "new.unisem"))
    dialog.add_class("vessel")
    dialog._on_accept()
    assert dialog.result() == 1
    dock.open.create_project(dialog)
    session = dock.controller.session
    assert [each.name for each in session.project.info.classes] == ["glass", "tissue", "vessel"]
    assert len({each.color for each in session.project.info.classes}) == 3
    assert session.slide == "a"
    assert [layer.name for layer in dock.controller.viewer.layers] == ["a", "accepted", "origin"]
    dialog.deleteLater()


def test_tissue_is_shown_corrected_and_kept_before_anything_begins(dock, qtbot) -> None:
    controller, part = dock.controller, dock.segment.tissue
    store = TissueStore(controller.session.project.root)
    assert not part.show_tissue.isChecked()
    _press(qtbot, dock, part.show_tissue)
    dock.render_now()
    assert part.show_tissue.text() == "Looking for tissue…"
    assert not part.show_tissue.isEnabled()
    qtbot.waitUntil(lambda: controller.tissue.layer is not None, timeout=PATIENCE_MS)
    dock.render_now()
    assert part.show_tissue.isChecked()
    assert part.note.text().endswith("% of the slide is tissue.")
    assert not part.painting.isVisibleTo(dock)
    _press(qtbot, dock, part.correct)
    dock.render_now()
    assert part.painting.isVisibleTo(dock)
    assert part.brushes[TissueChange.NOT_TISSUE].isChecked()
    _press(qtbot, dock, part.brushes[TissueChange.TISSUE])
    assert controller.tissue.layer.selected_label == TissueChange.TISSUE
    controller.tissue.layer.paint((10, 10), TissueChange.NOT_TISSUE)
    assert store.stamp("a") is None
    _press(qtbot, dock, dock.segment.view)
    assert store.stamp("a") is not None
    qtbot.waitUntil(lambda: controller.session.segmenting is None, timeout=PATIENCE_MS)
    _press(qtbot, dock, part.as_found)
    assert store.stamp("a") is None
    controller.session.mark_region(Rect(100, 100, 64, 64))
    dock.render_now()
    assert not part.correct.isEnabled()
    assert "Accept or Skip" in part.correct.toolTip()
    assert not part.painting.isVisibleTo(dock)


def test_a_slide_dropped_in_can_be_added(dock, qtbot, tmp_path) -> None:
    path = draw_slide(tmp_path / "dropped.tif", size_px=512, seed=3)
    for data, keywords, _kind in read_slides(str(path)):
        dock.controller.viewer.add_image(data, **keywords)
    dock.render_now()
    assert dock.open.add_shown.isVisibleTo(dock)
    _press(qtbot, dock, dock.open.add_shown)
    assert dock.controller.session.slide == "dropped"
    assert not dock.open.add_shown.isVisibleTo(dock)


def test_the_new_project_dialog_offers_the_published_names_with_their_licence(qtbot):
    dialog = NewProjectDialog()
    qtbot.addWidget(dialog)
    assert dialog.encoder.currentText() == "embedded"
    assert dialog.text.currentText() == "free"
    assert "needs no download" in dialog.encoder_note.text()
    dialog.encoder.setCurrentText("uni")
    said = dialog.encoder_note.text()
    assert "CC-BY-NC-ND-4.0; its terms: https://huggingface.co/MahmoodLab/uni" in said
    assert "accept the terms on its page" in said
    assert "unisemalign weights get uni" in said
    dialog.text.setCurrentText("quiltnet-b-16")
    assert "MIT" in dialog.text_note.text()
    dialog.encoder.setCurrentText("resnet18")
    assert "looked up in timm" in dialog.encoder_note.text()
    dialog.encoder.setCurrentText("embedded")
    assert "needs no download" in dialog.encoder_note.text()


def test_the_dialog_says_what_is_missing(qtbot, tmp_path) -> None:
    dialog = NewProjectDialog(classes=("one",))
    qtbot.addWidget(dialog)
    dialog._on_accept()
    assert "two classes" in dialog.problem.text()
    dialog.add_class("one")
    dialog._on_accept()
    assert "same name" in dialog.problem.text()
    dialog.rows[-1].name.setText("two")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    dialog.folder.setText(str(tmp_path / "full"))
    dialog._on_accept()
    assert "holds something already" in dialog.problem.text()
    dialog.rows[-1].remove.click()
    assert len(dialog.rows) == 1


def test_the_pixel_size_is_asked_for(dock, tmp_path, monkeypatch) -> None:
    from PIL import Image

    path = tmp_path / "plain.png"
    Image.fromarray(np.full((300, 400, 3), 180, np.uint8)).save(path)

    def answer(dialog: SpacingDialog) -> int:
        dialog.spacing.setValue(1.0)
        return 1

    monkeypatch.setattr(open_section.SpacingDialog, "exec", answer)
    dock.open.add_slides([path])
    assert dock.controller.session.project.slide("plain").spacing_um == 1.0


def test_the_pixel_size_is_asked_once_for_all_and_suggested_the_next_time(
    dock, tmp_path, monkeypatch
) -> None:
    from PIL import Image

    paths = [tmp_path / f"{name}.png" for name in ("x", "y", "z")]
    for path in paths:
        Image.fromarray(np.full((300, 400, 3), 180, np.uint8)).save(path)
    asked: list[float] = []

    def answer(dialog: SpacingDialog) -> int:
        asked.append(dialog.spacing.value())
        dialog.spacing.setValue(0.8)
        return 1

    monkeypatch.setattr(open_section.SpacingDialog, "exec", answer)
    dock.open.add_slides(paths[:2])
    dock.open.add_slides(paths[2:])
    project = dock.controller.session.project
    assert [project.slide(path.stem).spacing_um for path in paths] == [0.8] * 3
    assert asked == [0.5, 0.8]


@pytest.mark.skipif(not SHARED_SLIDES.exists(), reason="the shared slides are not here")
def test_bad_slides_are_told_beside_open(dock) -> None:
    for name in ("broken.svs", "unopenable.tiff"):
        dock.open.error.say("")
        dock.open.add_slides([SHARED_SLIDES / name])
        assert dock.open.error.text()
        assert not dock.open.error.isHidden()
    assert len(dock.controller.session.project.slides()) == 1


def test_a_second_viewer_is_told_who_has_the_project(make_dock, root) -> None:
    code = (
        "import sys; from pathlib import Path; from unisemalign.project import Project\n"
        "project = Project.open(Path(sys.argv[1]))\n"
        "with project.lock_editing():\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        dock = make_dock()
        dock.controller.opener.open_project(root)
        assert "open for editing in another viewer" in dock.open.error.text()
        assert dock.controller.session.project is None
    finally:
        holder.communicate()
    dock.controller.opener.open_project(root)
    dock.render_now()
    assert dock.open.error.text() == ""
    assert dock.controller.session.project is not None


def test_what_is_to_be_known_of_a_project_is_told_when_it_opens(make_dock, root) -> None:
    with Project.open(root) as project, project._database.transaction() as connection:
        connection.execute(
            "INSERT INTO regions (slide_id, y, x, h, w, state, split, reason) "
            "VALUES (1, 0, 0, 9, 9, 'lost', 'train', '')"
        )
    dock = make_dock()
    dock.controller.opener.open_project(root)
    assert "the region's 'state'" in dock.open.error.text()
    assert dock.controller.session.slide == "a"


def test_before_a_model_exists_segment_makes_a_first_guess(dock, qtbot) -> None:
    controller, session, guess = dock.controller, dock.controller.session, dock.segment.guess
    assert "for a first guess" in dock.next_step.text()
    assert not guess.isVisibleTo(dock)
    _press(qtbot, dock, dock.segment.slide)
    assert not dock.segment.slide.isEnabled()
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    dock.render_now()
    assert session.prediction() is None
    assert guess.table.rowCount() == 3
    assert guess.table.item(0, 1).text() == "33 %"
    layer = controller.layers.layer(CLUSTERS)
    assert layer.visible
    assert set(np.unique(layer.data[0][:, :])) <= {1, 2, 3}
    assert "Say in Segment what the clusters are" in dock.next_step.text()
    _press(qtbot, dock, guess.use)
    assert "at least one cluster that is a class" in dock.segment.error.text()

    guess.combos[3].setCurrentText("glass")
    guess.combos[2].setCurrentText("stroma")
    _press(qtbot, dock, guess.use)
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    dock.render_now()
    assert not dock.segment.error.text()
    assert session.prediction_round() == 0
    assert not controller.layers.layer(CLUSTERS).visible
    names = session.project.info.class_names
    shown = set(np.unique(controller.layers.layer(PREDICTION).data[0][:, :])) - {0}
    assert shown <= {names.index("glass") + 1, names.index("stroma") + 1}
    assert "Round 0: a first guess from clusters" in dock.segment.note.text()
    assert dock.train.table.item(0, 2).text() == "first guess"
    qtbot.mouseClick(guess.show_clusters, LEFT)
    assert controller.layers.layer(CLUSTERS).visible

    _press(qtbot, dock, dock.review.next)
    qtbot.waitUntil(lambda: session.edit is not None, timeout=PATIENCE_MS)
    assert session.edit.predicted.any()
    controller.reviewer.accept()
    assert session.project.journal()[0].round == 0


def test_a_first_guess_with_other_clusters_and_one_that_fails(dock, qtbot) -> None:
    controller, session, guess = dock.controller, dock.controller.session, dock.segment.guess
    controller.segmenter.segment_slide()
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    dock.render_now()
    guess.count.setValue(5)
    _press(qtbot, dock, guess.again)
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    dock.render_now()
    assert guess.table.rowCount() == 5
    (session.project.root / "fails").touch()
    _press(qtbot, dock, dock.segment.slide)
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    dock.render_now()
    assert "found none on a" in dock.segment.error.text()
    assert guess.table.rowCount() == 5


def test_a_first_guess_can_be_stopped(dock, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "30")
    _press(qtbot, dock, dock.segment.slide)
    session = dock.controller.session
    qtbot.waitUntil(lambda: session.segmenting.what == "Guessing", timeout=PATIENCE_MS)
    _press(qtbot, dock, dock.segment.cancel)
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    assert not dock.segment.error.text()


def test_strokes_on_the_canvas_and_autosave(dock, qtbot) -> None:
    _press(qtbot, dock, dock.review.mark)
    controller = dock.controller
    controller.viewer.window._qt_window.show()
    qtbot.wait(50)
    qtbot.mouseClick(dock.review.classes.buttons[3], LEFT)
    layer = controller.layers.editing()
    assert layer.selected_label == 3
    canvas = controller.viewer.window._qt_viewer.canvas.native
    middle = QPoint(canvas.width() // 2, canvas.height() // 2)
    qtbot.mousePress(canvas, LEFT, pos=middle)
    for dx in (5, 15, 25):
        qtbot.mouseMove(canvas, middle + QPoint(dx, 0))
        qtbot.wait(10)
    qtbot.mouseRelease(canvas, LEFT, pos=middle + QPoint(25, 0))
    values = controller.session.edit.values
    assert values[128, 128] == 3
    qtbot.waitUntil(lambda: bool(controller.session.drafts.region_ids()), timeout=PATIENCE_MS)
    qtbot.mouseClick(dock.review.undo, LEFT)
    assert not controller.session.edit.values.any()


def test_class_and_mode_buttons_follow_the_layer(dock, qtbot) -> None:
    _press(qtbot, dock, dock.review.mark)
    layer = dock.controller.layers.editing()
    layer.selected_label = 2
    assert dock.review.classes.buttons[2].isChecked()
    layer.mode = "fill"
    assert dock.review.modes["fill"].isChecked()
    qtbot.mouseClick(dock.review.modes["erase"], LEFT)
    assert layer.mode == "erase"


def test_hot_keys_beat_the_layers_own(dock, qtbot) -> None:
    _label(dock)
    viewer = dock.controller.viewer
    _press(qtbot, dock, dock.review.mark)
    layer = dock.controller.layers.editing()
    layer.data[:] = 1
    layer.events.set_data()
    viewer.layers.selection.active = layer
    handler = viewer.window._qt_viewer._key_map_handler
    from app_model.types import KeyBinding

    handler.press_key(KeyBinding.from_str("C"))
    assert dock.controller.session.edit is None
    heard = []
    dock.controller.errors.failed.connect(lambda section, _text: heard.append(section))
    viewer.layers.selection.active = dock.controller.layers.layer("slide")
    handler.press_key(KeyBinding.from_str("S"))
    handler.press_key(KeyBinding.from_str("N"))
    assert heard == ["review"]
    assert dock.controller.session.segmenting is not None
    qtbot.waitUntil(lambda: dock.controller.session.segmenting is None, timeout=PATIENCE_MS)
    viewer.layers.selection.active = None
    handler.press_key(KeyBinding.from_str("Ctrl+T"))
    assert dock.controller.session.training is not None
    qtbot.waitUntil(lambda: dock.controller.session.training is None, timeout=PATIENCE_MS)


def test_a_round_from_the_dock(dock, qtbot) -> None:
    controller, session = dock.controller, dock.controller.session
    _label(dock)
    dock.train.form.fields["training.steps"].value = 400
    _press(qtbot, dock, dock.train.start)
    qtbot.waitUntil(lambda: session.training.step > 3, timeout=PATIENCE_MS)
    dock.render_now()
    assert not dock.train.curve.isHidden()
    assert "step" in dock.train.progress.format()
    _press(qtbot, dock, dock.train.cancel)
    assert not dock.train.cancel.isEnabled()
    qtbot.waitUntil(lambda: session.training is None, timeout=PATIENCE_MS)
    (session.rounds()[-1].folder / "steps").write_text("60")
    dock.render_now()
    assert dock.train.table.item(0, 1).text() == "cancelled"
    before = len(session.curve.loss)
    _press(qtbot, dock, dock.train.resume)
    qtbot.waitUntil(lambda: session.training is None, timeout=PATIENCE_MS)
    dock.render_now()
    assert len(session.curve.loss) > before
    assert session.curve.loss[0][0] == 1
    assert dock.train.table.item(0, 3).text() == "83.0"
    assert controller.layers.layer(PREDICTION) is None
    _press(qtbot, dock, dock.segment.slide)
    qtbot.waitUntil(lambda: session.segmenting is None, timeout=PATIENCE_MS)
    dock.render_now()
    assert np.asarray(controller.layers.layer(PREDICTION).data[0][500:510, 500:510]).all()
    assert dock.segment.legend.isVisibleTo(dock)
    controller.toggle(UNCERTAINTY)
    assert controller.layers.layer(UNCERTAINTY).visible
    _press(qtbot, dock, dock.review.next)
    qtbot.waitUntil(lambda: session.edit is not None, timeout=PATIENCE_MS)
    dock.render_now()
    assert "Dots or stripes? model unsure on 34\u00a0%" in dock.review.title.text()
    dock.review.hold.click()
    held = session.edit.region.id
    assert session.project.region(held).split is Split.VAL
    _press(qtbot, dock, dock.review.accept)
    assert session.project.region(held).state is RegionState.ACCEPTED
    dock.export.folder.setText(str(session.project.root / "out"))
    _press(qtbot, dock, dock.export.export)
    qtbot.waitUntil(lambda: dock.export.plan.count() > 0, timeout=PATIENCE_MS)
    _press(qtbot, dock, dock.export.write)
    qtbot.waitUntil(lambda: not controller.exporter.running, timeout=PATIENCE_MS)
    assert "Wrote 1 file" in dock.export.status.text()


def test_a_failed_training_is_told_and_not_called_finished(dock, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_DIE_AT", "3")
    _label(dock)
    _press(qtbot, dock, dock.train.start)
    qtbot.waitUntil(lambda: dock.controller.session.training is None, timeout=PATIENCE_MS)
    assert "CUDA out of memory" in dock.train.error.text()
    dock.render_now()
    assert dock.train.table.item(0, 1).text() == "stopped"
    assert "press Resume" in dock.next_step.text()


def test_closing_the_viewer_ends_its_processes(make_dock, root, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.02")
    dock = make_dock()
    dock.controller.opener.open_project(root)
    _label(dock)
    dock.train.form.fields["training.steps"].value = 5000
    _press(qtbot, dock, dock.train.start)
    controller = dock.controller
    qtbot.waitUntil(lambda: controller.session.training.step > 1, timeout=PATIENCE_MS)
    controller.viewer.close()
    qtbot.waitUntil(lambda: controller._closed, timeout=PATIENCE_MS)
    with Project.open(root) as project:
        assert project.training_pid() is None
        assert project.rounds()[-1].state == "cancelled"


def test_a_training_found_running_is_shown(make_dock, root, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.02")
    command = [*FAKE_ENGINE, "train", str(root), "--json", "--set", "training.steps=3000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        json.loads(process.stdout.readline())
        dock = make_dock()
        dock.controller.opener.open_project(root)
        session = dock.controller.session
        assert session.training.in_other_process
        qtbot.waitUntil(lambda: session.training.step > 1, timeout=PATIENCE_MS)
        _press(qtbot, dock, dock.train.cancel)
        qtbot.waitUntil(lambda: session.training is None, timeout=PATIENCE_MS)
        assert session.rounds()[-1].state == "cancelled"
    finally:
        process.kill()
        process.communicate()


def test_an_engine_crash_while_segmenting_is_told(dock, qtbot, with_model) -> None:
    with_model(dock.controller.session.project)
    (dock.controller.session.project.root / "crash").touch()
    _press(qtbot, dock, dock.segment.slide)
    qtbot.waitUntil(lambda: dock.controller.session.segmenting is None, timeout=PATIENCE_MS)
    assert "Segmentation fault in the convolution" in dock.segment.error.text()


def test_errors_are_never_boxes(dock, monkeypatch) -> None:
    monkeypatch.setattr(QMessageBox, "exec", lambda *_: pytest.fail("a box blocks the person"))
    dock.controller.opener.open_project(Path("/no/such/folder"))
    assert "There is no project folder" in dock.open.error.text()


def test_the_real_engine_is_the_default() -> None:
    assert (sys.executable, "-u", "-m", "unisemalign") == ENGINE


def test_a_resumed_curve_does_not_run_backwards() -> None:
    curve = Curve(1)
    for step in (1, 2, 3, 2, 3, 4):
        curve = grown_curve(
            curve, protocol.Step(step=step, total=4, loss=step, eta_s=None, wait_share=0)
        )
    assert [step for step, _loss in curve.loss] == [1, 2, 3, 4]


def test_a_deleted_editing_layer_closes_its_region(dock, qtbot) -> None:
    _label(dock)
    _press(qtbot, dock, dock.review.mark)
    controller, session = dock.controller, dock.controller.session
    layer = controller.layers.editing()
    layer.data[:] = 2
    layer.events.set_data()
    region = session.edit.region.id
    controller.viewer.layers.remove(layer)
    dock.render_now()
    assert session.edit is None
    assert not dock.review.accept.isVisibleTo(dock)
    controller.reviewer.open_region(region)
    assert (controller.layers.editing().data == 2).all()


def test_pressing_the_slide_brings_its_layers_back(dock, qtbot) -> None:
    viewer = dock.controller.viewer
    viewer.layers.clear()
    dock.controller.opener.show_slide("a")
    assert [layer.name for layer in viewer.layers] == ["a", "accepted", "origin"]


def test_strokes_are_kept_when_qt_goes_first(dock, monkeypatch) -> None:
    from napari_unisemalign.actions import error_reporter, review, segment

    controller = dock.controller
    controller.reviewer.mark_region(128)
    layer = controller.layers.editing()
    layer.data[:] = 2
    layer.events.set_data()
    drafts = controller.session.drafts
    controller.reviewer._keep_soon.stop()  # Qt would have taken the timer along
    for module in (review, segment, error_reporter):
        monkeypatch.setattr(module, "isalive", lambda _thing: False)
    monkeypatch.setattr(error_reporter.ErrorReporter, "began", None)
    monkeypatch.setattr(error_reporter.ErrorReporter, "failed", None)
    controller.shut_down()
    assert drafts.region_ids()


def test_what_the_system_says_is_put_into_words(dock, qtbot, tmp_path) -> None:
    (tmp_path / "file").touch()
    dialog = NewProjectDialog(dock)
    dialog.folder.setText(str(tmp_path / "file"))
    dialog._on_accept()
    assert "is a file" in dialog.problem.text()
    dialog.folder.setText(str(tmp_path / "file" / "below"))
    assert not dock.open.create_project(dialog)
    assert "Check that the folder is there" in dock.open.error.text()
    dialog.add_class("Gland")
    dialog._on_accept()
    assert "same name" in dialog.problem.text()
    dialog.deleteLater()


def test_the_new_project_dialog_stays_until_it_is_made(make_dock, monkeypatch, tmp_path) -> None:
    (tmp_path / "file").touch()
    shown = []

    def fill_in(dialog) -> int:
        shown.append(dialog.problem.text())
        dialog.folder.setText(str(tmp_path / ("file/below" if len(shown) == 1 else "made")))
        return 1

    monkeypatch.setattr(NewProjectDialog, "exec", fill_in)
    dock = make_dock()
    dock.open._on_new_project()
    assert len(shown) == 2
    assert "Cannot read or write" in shown[1]
    assert dock.controller.session.project.root.name == "made"
    assert not dock.open.error.text()


def test_keys_say_what_is_missing(make_dock) -> None:
    dock = make_dock()
    dock.controller.trainer.start()
    dock.controller.reviewer.next_region()
    assert "project first" in dock.train.error.text()
    assert "project first" in dock.review.error.text()


def test_doubts_are_not_asked_for_while_segmenting(dock, qtbot, with_model) -> None:
    with_model(dock.controller.session.project)
    dock.controller.segmenter.segment_slide()
    dock.render_now()
    assert not dock.review.next.isEnabled()
    dock.controller.reviewer.next_region()
    assert "A segmentation runs" in dock.review.error.text()
    qtbot.waitUntil(lambda: dock.controller.session.segmenting is None, timeout=PATIENCE_MS)


def test_leaving_a_project_that_trains_is_told(dock, qtbot, monkeypatch, tmp_path) -> None:
    from napari_unisemalign.actions import controller

    status = []
    monkeypatch.setattr(controller, "show_info", status.append)
    monkeypatch.setenv("FAKE_STEP_S", "0.02")
    _label(dock)
    dock.train.form.fields["training.steps"].value = 3000
    _press(qtbot, dock, dock.train.start)
    qtbot.waitUntil(lambda: dock.controller.session.training.step > 1, timeout=PATIENCE_MS)
    root = dock.controller.session.project.root
    assert dock.controller.opener.create_project(tmp_path / "other", classes=["one", "two"])
    assert "press Resume" in status[0]
    assert dock.controller.session.training is None
    dock.controller.opener.open_project(root)
    assert dock.controller.session.rounds()[-1].state == "cancelled"


def test_long_class_names_do_not_widen_the_dock(make_dock, qtbot, tmp_path, drawn_path) -> None:
    dock = make_dock()
    dock.controller.opener.create_project(
        tmp_path / "long", classes=["x" * 120, "y" * 120, "z" * 120]
    )
    dock.open.add_slides([drawn_path])
    dock.controller.reviewer.mark_region(128)
    dock.render_now()
    assert dock.review.minimumSizeHint().width() < 400
    dock.controller.viewer.window._qt_window.show()
    qtbot.wait(50)
    widths = [button.width() for button in dock.review.classes.buttons.values()]
    assert min(widths) > 100
    assert max(widths) - min(widths) < 10


@pytest.fixture
def weights(dock, qtbot):
    dialog = WeightsDialog(dock.controller, dock)
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def test_weights_are_listed_with_their_terms_and_fetched_once_these_are_accepted(
    weights, qtbot, monkeypatch
):
    assert len(weights.items) == len(PUBLISHED) >= 18
    assert weights.items["embedded"].text(5) == "here"
    assert weights.chosen().name == "embedded"
    assert not weights.fetch.isVisible()
    weights.choose("uni")
    assert "CC-BY-NC-ND-4.0" in weights.about.text()
    assert "https://huggingface.co/MahmoodLab/uni" in weights.about.text()
    assert weights.items["uni"].text(3) == "1213"
    assert "licence to accept" in weights.items["uni"].text(5)
    weights.choose("kaiko-s16")
    assert weights.items["kaiko-s16"].text(4) == "fast"
    assert weights.fetch.isVisible()
    assert not weights.fetch.isEnabled()
    weights.accepted_terms.setChecked(True)
    qtbot.mouseClick(weights.fetch, LEFT)
    assert not weights.fetch.isVisible()
    assert weights.cancel.isVisible()
    monkeypatch.setattr(weights_dialog, "is_here", lambda entry: entry.name != "uni")
    qtbot.waitUntil(lambda: weights.controller.weights.fetching is None, timeout=PATIENCE_MS)
    assert "'kaiko-s16' is here now" in weights.status.text()
    assert weights.items["kaiko-s16"].text(5) == "here"
    assert not weights.progress.isVisible()
    weights.choose("uni")
    assert not weights.accepted_terms.isChecked(), "each licence is accepted by itself"


def test_gated_weights_are_refused_in_three_steps(weights, qtbot, monkeypatch):
    monkeypatch.setenv("FAKE_GET", "refused")
    weights.choose("uni")
    weights.accepted_terms.setChecked(True)
    qtbot.mouseClick(weights.fetch, LEFT)
    qtbot.waitUntil(lambda: weights.controller.weights.fetching is None, timeout=PATIENCE_MS)
    lines = weights.problem.text().splitlines()
    assert [line[:2] for line in lines[1:4]] == ["1.", "2.", "3."]
    assert weights.fetch.isVisible()
    assert weights.fetch.isEnabled()


def test_fetching_shows_how_far_it_is_and_can_be_stopped(weights, qtbot, monkeypatch):
    monkeypatch.setenv("FAKE_GET", "slow")
    weights.choose("phikon")
    weights.accepted_terms.setChecked(True)
    qtbot.mouseClick(weights.fetch, LEFT)
    qtbot.waitUntil(lambda: "of 87 MB" in weights.progress.format(), timeout=PATIENCE_MS)
    qtbot.mouseClick(weights.cancel, LEFT)
    qtbot.waitUntil(lambda: weights.controller.weights.fetching is None, timeout=PATIENCE_MS)
    assert "What arrived is kept" in weights.status.text()
    assert not weights.problem.text()


def test_a_class_that_fell_is_on_the_curve_and_named_until_it_recovers() -> None:
    fallen = protocol.FallenClass(name="normal", best=0.577, now=0.391, noise=0.04, step=100)

    def validation(step: int, dice: float, *falls: protocol.FallenClass) -> protocol.Validation:
        each = (dice, dice)
        return protocol.Validation(
            step=step,
            candidate="teacher",
            images=1,
            mdice=dice,
            mjaccard=dice,
            foreground_dice=dice,
            per_image_mdice=dice,
            object_dice=dice,
            object_f1=dice,
            dice_per_class=each,
            jaccard_per_class=each,
            fallen=falls,
        )

    curve = grown_curve(Curve(1), validation(100, 0.7))
    curve = grown_curve(curve, validation(200, 0.72, fallen))
    assert [(step, fall.now) for step, fall in curve.falls] == [(200, 0.391)]
    assert "'normal' fell to 39.1, from 57.7 at step 100" in curve.warning
    curve = grown_curve(curve, validation(300, 0.8))
    assert curve.warning == ""
    assert len(curve.falls) == 1


def test_what_does_not_stop_can_be_ended(dock, qtbot, monkeypatch) -> None:
    session, ended = dock.controller.session, []
    monkeypatch.setattr(dock.controller.trainer, "_job", None)
    session.set_training(TrainingProgress(round=1, step=2, total=9, stopping=True))
    session.set_segmenting(SegmentProgress("a", None))
    dock.render_now()
    assert not dock.train.end.isVisibleTo(dock)
    assert not dock.segment.end.isVisibleTo(dock)

    class Job:
        stop = end = lambda _self: ended.append(True)

    dock.controller.trainer._job = Job()
    dock.controller.trainer._on_stop_ignored()
    session.set_segmenting(SegmentProgress("a", None, stop_ignored=True))
    dock.render_now()
    assert "has not stopped yet" in dock.train.progress.format()
    assert dock.segment.end.isVisibleTo(dock)
    _press(qtbot, dock, dock.train.end)
    assert ended
    session.set_training(None)
    session.set_segmenting(None)
