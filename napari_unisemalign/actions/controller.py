"""One viewer's session, layers, jobs and acts, brought together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import QCoreApplication, QObject, Qt
from qtpy.QtWidgets import QApplication

from napari_unisemalign.actions.closing import CloseGuard
from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.actions.export import Exporter
from napari_unisemalign.actions.fetch_weights import WeightsFetcher
from napari_unisemalign.actions.guess import Guesser
from napari_unisemalign.actions.open import Opener
from napari_unisemalign.actions.review import Reviewer
from napari_unisemalign.actions.rounds import RoundChooser
from napari_unisemalign.actions.segment import Segmenter
from napari_unisemalign.actions.tissue import TissueEditor
from napari_unisemalign.actions.train import Trainer
from napari_unisemalign.canvas.cursor_note import CursorNote
from napari_unisemalign.canvas.keys import bind_keys, free_keys
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.canvas.overlays import PREDICTION, UNCERTAINTY
from napari_unisemalign.engine.process import ENGINE
from napari_unisemalign.engine.server import EngineServer
from napari_unisemalign.session.session import Session
from unisemalign.errors import UnisemalignError


class Controller(QObject):
    """What the buttons and hot-keys of one viewer do. Widgets call it; it never calls them.

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
    errors
        Where errors are reported.
    close_guard
        Asks before the viewer's window closes, where it has one.
    opener, segmenter, guesser, tissue, reviewer, trainer, rounds, exporter, weights
        The acts.
    """

    def __init__(self, viewer: ViewerModel, *, engine: Sequence[str] = ENGINE) -> None:
        super().__init__()
        self.viewer = viewer
        self._engine = tuple(engine)
        self._closed = False
        self.close_guard: CloseGuard | None = None
        self.session = session = Session()
        self.layers = layers = LayerManager(viewer, session)
        self.cursor_note = CursorNote(viewer, session, _mouse_pressed)
        self.errors = errors = ErrorReporter()
        self.opener = Opener(session, layers, errors)
        self.tissue = TissueEditor(layers, partial(errors.reporting, "segment", act=False))
        errors.began.connect(self.tissue.keep)  # whatever begins sees the newest correction
        self.guesser = Guesser(session, layers, errors)
        self.segmenter = Segmenter(session, layers, errors, self.guesser)
        self.tissue.kept.connect(self.segmenter.forget_labelled_areas)
        self.reviewer = Reviewer(session, layers, errors, self.segmenter)
        self.trainer = Trainer(session, errors, engine=engine)
        self.rounds = RoundChooser(session, errors)
        for another_model in (self.trainer.trained, self.rounds.used):
            another_model.connect(self._warm_up)
        self.exporter = Exporter(session, errors, engine=engine)
        self.weights = WeightsFetcher(engine=engine)
        session.project_changed.connect(self._on_project_changed)
        session.classes_changed.connect(self._on_classes_changed)
        session.warned.connect(partial(errors.report, "review"))
        self._bind_keys()
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.shut_down)

    @property
    def closed(self) -> bool:
        """Whether it was shut down."""
        return self._closed

    def shut_down(self) -> None:
        """Keep the strokes, end every child process and let go of the project. Once is enough."""
        if self._closed:
            return
        self._closed = True
        free_keys(self.viewer)
        self._stop_jobs()
        self.weights.stop()
        self.reviewer.shut_down()
        self.segmenter.shut_down()
        self.tissue.shut_down()
        self.cursor_note.shut_down()
        self.layers.shut_down()
        self._close_session()

    def _close_session(self) -> None:
        session = self.session
        try:
            session.close()
        except (UnisemalignError, OSError) as error:
            with self.errors.reporting("review", act=False):
                rescued = session.rescue_strokes()
                self.errors.report(
                    "review",
                    f"{error} What you painted last is kept in '{rescued}'. Move that file into "
                    f"the project's folder 'drafts', then open the project again.",
                )
            session.close(discard_strokes=True)

    def toggle(self, role: str) -> None:
        """Show or hide an overlay."""
        if self.layers.toggle(role) is None:
            show_info(f"There is no {role} to show yet: press View in Segment first.")

    def undo(self) -> None:
        """Take back the last stroke on the tissue while it is corrected, else the last act."""
        if (layer := self._tissue_on_hand()) is not None:
            layer.undo()
        else:
            self.reviewer.undo()

    def redo(self) -> None:
        """Do again what was taken back."""
        if (layer := self._tissue_on_hand()) is not None:
            layer.redo()
        else:
            self.reviewer.redo()

    def _tissue_on_hand(self) -> Labels | None:
        """Return the tissue's layer while it is the active one."""
        layer = self.tissue.layer
        return layer if layer is self.viewer.layers.selection.active else None

    def _bind_keys(self) -> None:
        acts: dict[str, Callable[[], None]] = {
            "segment_view": self.segmenter.segment_view,
            "accept": self.reviewer.accept,
            "accept_and_next": self.reviewer.accept_and_next,
            "skip": self.reviewer.skip,
            "next_region": self.reviewer.next_region,
            "previous_region": self.reviewer.previous_region,
            "mark_region": self.reviewer.mark_region,
            **{
                f"class_{number}": partial(self.layers.paint_class, number)
                for number in range(1, 10)
            },
            "toggle_prediction": partial(self.toggle, PREDICTION),
            "toggle_uncertainty": partial(self.toggle, UNCERTAINTY),
            "train": self.trainer.start,
            "undo": self.undo,
            "redo": self.redo,
        }
        bind_keys(self.viewer, acts)
        self.layers.set_up_new_layers(lambda layer: bind_keys(layer, acts))

    def _on_project_changed(self) -> None:
        if self.trainer.runs_here:
            show_info(
                "The training of the project before was stopped: one viewer trains one project. "
                "Open that project again and press Resume to go on."
            )
        self._stop_jobs()
        project = self.session.project
        self.viewer.title = "napari" if project is None else f"{project.root.stem} – napari"
        if project is None:
            return
        server = EngineServer(project.root, engine=self._engine)
        self.segmenter.server = self.guesser.server = server
        if self.session.latest_round() is not None:
            self._warm_up()
        self.trainer.follow_project()

    def _on_classes_changed(self) -> None:
        """Start the engine anew: it knows the classes that it opened the project with."""
        if self.segmenter.server is not None:
            self.segmenter.server.end()

    def _warm_up(self) -> None:
        if self.segmenter.server is not None:
            self.segmenter.server.warm_up()

    def _stop_jobs(self) -> None:
        for part in (self.trainer, self.exporter, self.guesser, self.segmenter):
            part.stop()


def _mouse_pressed() -> bool:
    return bool(QApplication.mouseButtons() != Qt.MouseButton.NoButton)
