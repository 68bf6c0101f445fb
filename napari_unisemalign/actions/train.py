"""Training rounds: start, resume, follow, stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.actions.training_memory import remember_choice, restore_choice
from napari_unisemalign.engine.timers import single_shot
from napari_unisemalign.engine.training import TrainingFollower, TrainingJob
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.curve import Curve, grown_curve
from napari_unisemalign.session.dock_state import resolve_state
from napari_unisemalign.session.next_step import accepted_since
from napari_unisemalign.session.progress import TrainingProgress
from napari_unisemalign.session.session import Session
from napari_unisemalign.session.training_choice import TrainingChoice
from unisemalign.errors import ProjectError
from unisemalign.protocol import (
    Cancelled,
    Event,
    Failed,
    Message,
    Progress,
    Start,
    Step,
    Validation,
)
from unisemalign.runtime import read_log

REGIONS_FOR_A_ROUND = 10
"""Newly accepted regions after which a round starts by itself, where a person asked for that."""

STOPPING = "Stopping at the next step"
STOP_IGNORED = "The training has not stopped yet"


class Trainer(QObject):
    """Runs ``unisemalign train`` for the open project, or follows one that runs already.

    Attributes
    ----------
    choice
        The settings of the next round.
    goes_on_without_viewer
        Whether the training goes on when the viewer closes.
    starts_by_itself
        Whether a round starts when :data:`REGIONS_FOR_A_ROUND` regions were accepted.
    """

    trained = Signal()
    """A round is done: the engine can be asked for its labels."""

    def __init__(self, session: Session, errors: ErrorReporter, *, engine: Sequence[str]) -> None:
        super().__init__()
        self._session = session
        self._errors = errors
        self._engine = tuple(engine)
        self._job: TrainingJob | TrainingFollower | None = None
        self.choice = TrainingChoice()
        self.goes_on_without_viewer = False
        self.starts_by_itself = False
        self._counted: tuple[int | None, int] = (None, 0)
        self._soon = single_shot(self, 0, self._start_by_itself)
        session.changed.connect(self._on_changed)

    @property
    def runs_here(self) -> bool:
        """Whether a training runs that this viewer started."""
        return isinstance(self._job, TrainingJob)

    def start(self) -> None:
        """Start a new round."""
        with self._errors.reporting("train"):
            self._start(self.choice.options())
            if self._session.project is not None:
                remember_choice(self.choice, self._session.project.root)

    def set_starts_by_itself(self, on: bool) -> None:
        """Start a round whenever enough regions are new, or no longer."""
        self.starts_by_itself = on
        if on:
            self._soon.start()

    def _on_changed(self, change: Change) -> None:
        if Change.PROJECT in change:
            self._counted = (None, 0)
            if self._session.project is not None:
                restore_choice(self.choice, self._session.project.root)
        elif self.starts_by_itself and change & (Change.REGIONS | Change.TRAINING):
            self._soon.start()  # not in the middle of what is being written

    def _start_by_itself(self) -> None:
        session = self._session
        if not self.starts_by_itself or session.project is None or session.training is not None:
            return
        with self._errors.reporting("train", act=False):
            newest = session.latest_round()
            number, accepted = (
                None if newest is None else newest.number,
                accepted_since(session, newest),
            )
            # A round that failed is not begun again and again.
            before = self._counted[1] if self._counted[0] == number else 0
            if accepted - before < REGIONS_FOR_A_ROUND:
                return
            if resolve_state(session).can.train.possible:
                self._counted = number, accepted
                self._start(self.choice.options())

    def resume(self) -> None:
        """Go on with the round that was stopped."""
        with self._errors.reporting("train"):
            self._start(["--resume"])

    def cancel(self) -> None:
        """Ask for a clean stop at the next step."""
        if self._job is None or self._session.training is None:
            return
        self._job.cancel()
        self._update_progress(stopping=True, what=STOPPING)

    def end(self) -> None:
        """End it at once; the round can be resumed from its last checkpoint."""
        if self._job is not None:
            self._job.end()

    def stop(self) -> None:
        """End it now: another project is opened, or none any more."""
        if isinstance(self._job, TrainingJob) and self.goes_on_without_viewer:
            self._job.hand_over()
        elif self._job is not None:
            self._job.stop()
        self._job = None

    def follow_project(self) -> None:
        """Show the newest round's curve; follow its training if another process runs it."""
        session, project = self._session, self._session.project
        rounds = session.rounds()
        if project is None or not rounds:
            return
        newest = rounds[-1]
        if newest.state == "running" and project.training_pid() is not None:
            session.set_curve(Curve(newest.number))
            progress = TrainingProgress(
                round=newest.number, in_other_process=True, what="Training in another process"
            )
            self._follow(TrainingFollower(project, newest.number), progress)
        else:
            self._load_curve(newest.number)

    def _start(self, options: list[str]) -> None:
        session = self._session
        if session.training is not None:
            return
        allowed = resolve_state(session).can.train
        if session.project is None or not allowed.possible:
            raise ProjectError(allowed.why)
        session.save_draft()
        job = TrainingJob(session.project, options, engine=self._engine)
        if "--resume" not in options:
            session.set_curve(Curve())
        self._follow(job, TrainingProgress())

    def _follow(self, job: TrainingJob | TrainingFollower, progress: TrainingProgress) -> None:
        self._job = job
        self._session.set_training(progress)
        job.event_received.connect(self._on_event)
        job.finished.connect(self._on_finished)
        job.stop_ignored.connect(self._on_stop_ignored)
        job.start()

    def _on_stop_ignored(self) -> None:
        self._update_progress(stop_ignored=True, what=STOP_IGNORED)

    def _update_progress(self, **changes: Any) -> None:
        if self._session.training is not None:
            self._session.set_training(replace(self._session.training, **changes))

    def _on_event(self, event: Event) -> None:
        progress = self._session.training
        if progress is None:
            return
        if progress.round is None:
            self._find_round(event)
        if isinstance(event, Start):
            self._update_progress(total=int(event.total or 0), what=event.what)
        elif isinstance(event, Step):
            self._update_progress(
                step=event.step,
                total=event.total or progress.total,
                loss=event.loss,
                eta_s=event.eta_s,
                what=progress.what if progress.stopping else "Training",
            )
            self._grow_curve(event)
        elif isinstance(event, Validation):
            self._grow_curve(event)
            self._session.rounds_changed()  # it may have its first model now
        elif isinstance(event, Message | Progress):
            text = event.text if isinstance(event, Message) else event.what
            if text and not progress.stopping:
                self._update_progress(what=text)

    def _find_round(self, event: Event) -> None:
        number = event.round if isinstance(event, Start) else None
        if number is None:
            running = [each for each in self._session.rounds() if each.state == "running"]
            number = running[-1].number if running else None
        if number is not None:
            self._update_progress(round=number)
            self._load_curve(number)

    def _load_curve(self, number: int) -> None:
        """Begin with what the round's log holds: a resumed round keeps its earlier curve."""
        project = self._session.project
        if project is None:
            return
        curve = Curve(number)
        for event in read_log(project.round(number).layout.log):
            curve = grown_curve(curve, event)
        self._session.set_curve(curve)

    def _grow_curve(self, event: Event) -> None:
        self._session.set_curve(grown_curve(self._session.curve, event))

    def _on_finished(self, event: Event) -> None:
        session, progress = self._session, self._session.training
        self._job = None
        session.set_training(None)
        session.rounds_changed()
        if isinstance(event, Failed):
            self._errors.report("train", event.text)
        elif isinstance(event, Cancelled):
            begun = progress is not None and progress.round is not None
            show_info(
                "The training was stopped. Press Resume to go on where it stopped."
                if begun
                else "The training was stopped before its first step."
            )
        else:
            number = None if progress is None else progress.round
            made = next((each for each in session.rounds() if each.number == number), None)
            said = f"Round {number} is trained." if number else "The round is trained."
            if made is not None and made.scores is not None and made.set_aside:
                said += f" {made.scores.verdict()} It can be chosen in the list of rounds."
            show_info(said)
            self.trained.emit()
