"""The person's acts on one viewer: session, layers and jobs brought together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.utils.notifications import show_info
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QObject, Signal

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.actions.guess import Guesser
from napari_unisemalign.actions.segment import Segmenter
from napari_unisemalign.actions.tissue import TissueEditor
from napari_unisemalign.canvas.keys import KEYS, bind_keys, free_keys
from napari_unisemalign.canvas.layer_manager import PREDICTION, UNCERTAINTY, LayerManager
from napari_unisemalign.canvas.reader import METADATA_KEY
from napari_unisemalign.engine.process import (
    ENGINE,
    CommandJob,
    EngineServer,
    Event,
    TrainingFollower,
    TrainingJob,
)
from napari_unisemalign.engine.timers import single_shot
from napari_unisemalign.session.dock_state import (
    NEED_PROJECT,
    NOTHING_TO_REVIEW,
    RANKING_WAITS,
    resolve_state,
)
from napari_unisemalign.session.progress import Curve, TrainingProgress
from napari_unisemalign.session.session import Session
from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import RegionState
from unisemalign.runtime import read_log

AUTOSAVE_MS = 2_000
QUEUE_COUNT = 10


class Controller(QObject):
    """What the buttons and hot-keys do. Widgets call it; it never calls them.

    Parameters
    ----------
    viewer
        Where the layers are shown.
    engine
        The command that starts the engine; tests put another one in its place.

    Attributes
    ----------
    session, layers
        What is open, and how it is shown.
    guesser, segmenter
        The acts of Segment.
    failed, began
        Signals of the :class:`ErrorReporter`.
    """

    curve_changed = Signal()
    exported = Signal(list)
    fetch_changed = Signal(dict)
    """An event of the weights being fetched, ``{}`` when the fetching begins."""

    def __init__(self, viewer: ViewerModel, *, engine: Sequence[str] = ENGINE) -> None:
        super().__init__()
        self.viewer = viewer
        self.session = Session()
        self.layers = LayerManager(viewer, self.session)
        self._engine = tuple(engine)
        self._errors = ErrorReporter()
        self.failed, self.began = self._errors.failed, self._errors.began
        self.reporting, self.report = self._errors.reporting, self._errors.report
        self.tissue = TissueEditor(self.layers, lambda: self.reporting("segment", act=False))
        self.began.connect(self.tissue.keep)  # whatever begins sees the newest correction
        self.guesser = Guesser(self.session, self.layers, self._errors, engine=engine)
        self.segmenter = Segmenter(self.session, self.layers, self._errors, self.guesser)
        self.tissue.kept.connect(self.segmenter.forget_labelled_areas)
        self._training: TrainingJob | TrainingFollower | None = None
        self._export: CommandJob | None = None
        self._fetch: CommandJob | None = None
        self.fetching: str | None = None
        self._train_options: Callable[[], Sequence[str]] = tuple
        self._closed = False
        self._autosave = single_shot(self, AUTOSAVE_MS, self._on_autosave)
        self.session.project_changed.connect(self._on_project_changed)
        self.session.dirtied.connect(self._on_dirtied)
        acts = {name: getattr(self, name) for name in KEYS.values() if hasattr(self, name)}
        acts["segment_view"] = self.segmenter.segment_view
        bind_keys(viewer, acts)
        viewer.layers.events.inserted.connect(self._on_layers_changed)
        viewer.layers.events.removed.connect(self._on_layers_changed)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        self.layers.set_up_new_layers(lambda layer: bind_keys(layer, acts))
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.shut_down)

    def shut_down(self) -> None:
        """Keep the strokes, end every child process and let go of the project. Once is enough."""
        if self._closed:
            return
        self._closed = True
        if isalive(self._autosave):
            self._autosave.stop()
        free_keys(self.viewer)
        self.viewer.layers.events.inserted.disconnect(self._on_layers_changed)
        self.viewer.layers.events.removed.disconnect(self._on_layers_changed)
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._stop_jobs()
        self.segmenter.shut_down()
        if self._fetch is not None:
            self._fetch.stop()
        self.tissue.shut_down()
        with self.reporting("open", act=False):
            self.session.close()

    # -- open ---------------------------------------------------------------------------------

    def open_project(self, root: Path) -> None:
        """Open a project and show its first slide."""
        with self.reporting("open"):
            self.session.open(root)

    def create_project(self, root: Path, **choices: Any) -> bool:
        """Make a project; slides opened before are its first. Tells whether it was made."""
        before = self.session.project
        with self.reporting("open"):
            self.session.create(root, **choices)
        return self.session.project is not before

    def loose_slides(self) -> list[Path]:
        """Slides shown by the reader that belong to no project yet."""
        facts = [layer.metadata.get(METADATA_KEY, {}) for layer in self.viewer.layers]
        return [Path(each["path"]) for each in facts if "path" in each and "role" not in each]

    def _on_layers_changed(self) -> None:
        loose = tuple(self.loose_slides())
        if loose != self.session.pending_slides:
            self.session.pending_slides = loose
            self.session.changed.emit()

    def _on_layer_removed(self) -> None:
        """Close a region whose layer was deleted by hand: what is not seen is not accepted."""
        if self.session.edit is not None and self.layers.editing() is None:
            with self.reporting("review", act=False):
                self.session.close_region()
        # The buttons that show and hide layers follow.
        self.session.changed.emit()

    def show_slide(self, name: str) -> None:
        """Show a slide of the project; layers of the one on show that were deleted come back."""
        with self.reporting("open"):
            if name == self.session.slide:
                self.layers.recreate_layers()
            self.session.show_slide(name)

    # -- review -------------------------------------------------------------------------------

    def mark_region(self, side_px: int) -> None:
        """Make a square region in the middle of the view."""
        with self.reporting("review"):
            view = self.layers.visible_rect()
            y, x = view.y + view.h // 2, view.x + view.w // 2
            name = self.session.slide
            rect = Rect(y - side_px // 2, x - side_px // 2, side_px, side_px)
            if name is not None:
                rect = _pushed_inside(rect, self.session.spaced_slide(name).shape_yx)
            self.session.mark_region(rect)

    def open_region(self, region_id: int) -> None:
        """Open a region from the list."""
        with self.reporting("review"):
            self.session.open_region(region_id)

    def next_region(self) -> None:
        """Open the region most worth a look; ask the engine when none is waiting."""
        session = self.session
        if session.queueing:
            return
        with self.reporting("review"):
            if session.project is None:
                raise ProjectError(NEED_PROJECT)
            current = None if session.edit is None else session.edit.region.id
            waiting = [region for region in session.queue() if region.id != current]
            fresh = [region for region in waiting if region.state is RegionState.PREDICTED]
            doubting = session.round_to_review()
            if fresh or (waiting and doubting is None):
                session.open_region((fresh or waiting)[0].id)
            elif doubting is None or (server := self.segmenter.server) is None:
                self.report("review", NOTHING_TO_REVIEW)
            elif session.segmenting is not None and not session.segmenting.follows_view:
                # The engine does one thing at a time: the person would wait without knowing why.
                self.report("review", RANKING_WAITS)
            else:
                session.queueing = True
                self.segmenter.give_way()
                server.request("queue", self._on_queue_event, count=QUEUE_COUNT)
                session.changed.emit()

    def _on_queue_event(self, event: Event) -> None:
        session = self.session
        if event["event"] not in {"done", "failed", "cancelled"}:
            return
        session.queueing = False
        session.changed.emit()
        if event["event"] == "failed":
            self.report("review", str(event.get("text", "The engine could not rank regions.")))
            return
        with self.reporting("review"):
            ranked = [each for each in session.queue() if each.state is RegionState.PREDICTED]
            if ranked:
                session.open_region(ranked[0].id)
            else:
                show_info("The model doubts nothing that is segmented. Segment more, or Export.")

    def accept(self) -> None:
        """Stand behind the region under the brush."""
        with self.reporting("review"):
            self.session.accept()

    def skip(self) -> None:
        """Leave the region unlabelled."""
        with self.reporting("review"):
            self.session.skip()

    def hold_out(self, held: bool) -> None:
        """Keep the region for measuring."""
        with self.reporting("review"):
            self.session.hold_out(held)

    def undo(self) -> None:
        """Take back the last stroke, or what was accepted last when no region is open."""
        editing = self.layers.editing()
        with self.reporting("review"):
            if editing is not None:
                editing.undo()
            else:
                self.session.undo()

    def redo(self) -> None:
        """Make again what was taken back."""
        editing = self.layers.editing()
        with self.reporting("review"):
            if editing is not None:
                editing.redo()
            else:
                self.session.redo()

    def toggle_prediction(self) -> None:
        """Show or hide the prediction."""
        self._toggle(PREDICTION)

    def toggle_uncertainty(self) -> None:
        """Show or hide where the model is unsure."""
        self._toggle(UNCERTAINTY)

    def _toggle(self, role: str) -> None:
        if self.layers.toggle(role) is None:
            show_info(f"There is no {role} to show yet: press View in Segment first.")
        self.session.changed.emit()

    def _on_dirtied(self) -> None:
        self._autosave.start()

    def _on_autosave(self) -> None:
        with self.reporting("review", act=False):
            self.session.save_draft()
        self.session.changed.emit()

    # -- train --------------------------------------------------------------------------------

    def use_train_options(self, options: Callable[[], Sequence[str]]) -> None:
        """Ask ``options`` for the command-line options whenever a training starts."""
        self._train_options = options

    def train(self) -> None:
        """Start a new round."""
        with self.reporting("train"):
            self._start_training(list(self._train_options()))

    def resume(self) -> None:
        """Go on with the round that was stopped."""
        with self.reporting("train"):
            self._start_training(["--resume"])

    def cancel_training(self) -> None:
        """Ask for a clean stop at the next step."""
        view = self.session.training
        if self._training is None or view is None:
            return
        self._training.cancel()
        self._update_progress(stopping=True, what="Stopping at the next step")

    def _start_training(self, options: list[str]) -> None:
        session = self.session
        if session.training is not None:
            return
        act = resolve_state(session).train
        if session.project is None or not act.possible:
            raise ProjectError(act.why)
        session.save_draft()
        job = TrainingJob(session.project, options, engine=self._engine)
        if "--resume" not in options:
            session.curve = Curve()
        self._follow(job, TrainingProgress())

    def _follow(self, job: TrainingJob | TrainingFollower, view: TrainingProgress) -> None:
        self._training = job
        self.session.training = view
        job.event_received.connect(self._on_training_event)
        job.finished.connect(self._on_training_finished)
        job.start()
        self.curve_changed.emit()
        self.session.changed.emit()

    def _update_progress(self, **changes: Any) -> None:
        view = self.session.training
        if view is not None:
            self.session.training = TrainingProgress(**{**view.__dict__, **changes})
            self.session.changed.emit()

    def _on_training_event(self, event: Event) -> None:
        session, kind = self.session, event["event"]
        if session.training is None:
            return
        if session.training.round is None:
            self._find_round(event)
        if kind == "start":
            self._update_progress(
                total=int(event.get("total") or 0), what=str(event.get("what") or "Training")
            )
        elif kind == "step":
            step = int(event["step"])
            self._update_progress(
                step=step,
                total=int(event.get("total") or session.training.total),
                loss=event.get("loss"),
                eta_s=event.get("eta_s"),
                what="Stopping at the next step" if session.training.stopping else "Training",
            )
            self._grow_curve(event)
        elif kind == "validation":
            self._grow_curve(event)
        elif kind in {"message", "progress"}:
            text = event.get("text") or event.get("what")
            if text and not session.training.stopping:
                self._update_progress(what=str(text))

    def _find_round(self, event: Event) -> None:
        number = event.get("round")
        if not isinstance(number, int):
            running = [each for each in self.session.rounds() if each.state == "running"]
            number = running[-1].number if running else None
        if number is not None:
            self._update_progress(round=number)
            self._load_curve(number)

    def _load_curve(self, number: int) -> None:
        """Begin with what the round's log holds: a resumed round keeps its earlier curve."""
        project = self.session.project
        if project is None:
            return
        self.session.curve = Curve(number)
        for event in read_log(project.round(number).layout.log):
            self._grow_curve(event.fields(), quiet=True)
        self.curve_changed.emit()

    def _grow_curve(self, event: Event, *, quiet: bool = False) -> None:
        self.session.curve = grown_curve(self.session.curve, event)
        if not quiet:
            self.curve_changed.emit()

    def _on_training_finished(self, event: Event) -> None:
        session, self._training = self.session, None
        view, session.training = session.training, None
        kind = event["event"]
        if kind == "failed":
            self.report("train", str(event.get("text", "The training failed.")))
        elif kind == "cancelled":
            begun = view is not None and view.round is not None
            show_info(
                "The training was stopped. Press Resume to go on where it stopped."
                if begun
                else "The training was stopped before its first step."
            )
        else:
            number = None if view is None else view.round
            show_info(f"Round {number} is trained." if number else "The round is trained.")
            if self.segmenter.server is not None:
                self.segmenter.server.warm_up()
        session.changed.emit()

    # -- export -------------------------------------------------------------------------------

    def export(self, out: Path, kind: str, source: str) -> None:
        """Write results into ``out``, in a process of its own."""
        session = self.session
        if session.project is None or self._export is not None:
            return
        self.began.emit("export")
        arguments = ["export", str(session.project.root), "--format", kind]
        arguments += ["--source", source, "--out", str(out), "--json"]
        self._export = CommandJob("The export", arguments, engine=self._engine)
        self._export.finished.connect(self._on_export_finished)
        self._export.start()
        session.changed.emit()

    @property
    def exporting(self) -> bool:
        """Whether an export runs."""
        return self._export is not None

    def _on_export_finished(self, event: Event) -> None:
        self._export = None
        if event["event"] == "done":
            self.exported.emit([str(path) for path in event.get("files") or ()])
        else:
            self.report("export", str(event.get("text", "The export was stopped.")))
        self.session.changed.emit()

    # -- weights ------------------------------------------------------------------------------

    def fetch_weights(self, name: str) -> None:
        """Fetch published weights, in a process of its own: it alone goes online."""
        if self._fetch is not None:
            return
        self.fetching = name
        job = CommandJob("The download", ["weights", "get", name, "--json"], engine=self._engine)
        job.event_received.connect(self.fetch_changed)
        job.finished.connect(self._on_fetch_finished)
        self._fetch = job
        job.start()
        self.fetch_changed.emit({})

    def cancel_fetch(self) -> None:
        """Stop fetching; what arrived is kept, and gone on with the next time."""
        if self._fetch is not None:
            self._fetch.cancel()

    def _on_fetch_finished(self, event: Event) -> None:
        self._fetch = self.fetching = None
        self.fetch_changed.emit(event)

    # -- in step with the project -------------------------------------------------------------

    def _on_project_changed(self) -> None:
        if isinstance(self._training, TrainingJob):
            show_info(
                "The training of the project before was stopped: one viewer trains one project. "
                "Open that project again and press Resume to go on."
            )
        self._stop_jobs()
        project = self.session.project
        if project is None:
            return
        self.segmenter.server = EngineServer(project.root, engine=self._engine)
        if project.latest_round() is not None:
            self.segmenter.server.warm_up()
        running = [each for each in project.rounds() if each.state == "running"]
        if running and project.training_pid() is not None:
            number = running[-1].number
            self.session.curve = Curve(number)
            view = TrainingProgress(
                round=number, in_other_process=True, what="Training in another process"
            )
            self._follow(TrainingFollower(project, number), view)
        elif project.rounds():
            self._load_curve(project.rounds()[-1].number)

    def _stop_jobs(self) -> None:
        for job in (self._training, self._export, self.guesser, self.segmenter):
            if job is not None:
                job.stop()
        self._training = self._export = None


def grown_curve(curve: Curve, event: Event) -> Curve:
    """Return ``curve`` with the point of a ``step`` or ``validation`` event."""
    step, loss, dice = event.get("step"), event.get("loss"), event.get("mdice")
    if not isinstance(step, int):
        return curve
    if event["event"] == "step" and isinstance(loss, int | float):
        kept = (
            curve.loss
            if not curve.loss or curve.loss[-1][0] < step
            else tuple(point for point in curve.loss if point[0] < step)
        )
        return Curve(curve.round, (*kept, (step, float(loss))), curve.dice)
    if event["event"] == "validation" and isinstance(dice, int | float):
        kept = tuple(point for point in curve.dice if point[0] < step)
        return Curve(curve.round, curve.loss, (*kept, (step, float(dice))))
    return curve


def _pushed_inside(rect: Rect, shape_yx: tuple[int, int]) -> Rect:
    """Return ``rect`` moved and cut so that it lies inside ``shape_yx``."""
    h, w = min(rect.h, shape_yx[0]), min(rect.w, shape_yx[1])
    y = min(max(0, rect.y), shape_yx[0] - h)
    x = min(max(0, rect.x), shape_yx[1] - w)
    return Rect(y, x, h, w)
