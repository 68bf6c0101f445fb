"""What is asked before the viewer's window closes: about a training, and strokes without a disk."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox, QWidget

from unisemalign.errors import UnisemalignError

if TYPE_CHECKING:
    from napari_unisemalign.actions.controller import Controller


class TrainingAnswer(Enum):
    """What becomes of a training when the viewer closes."""

    STOP = "Stop the training"
    GO_ON = "Train on without the viewer"
    STAY = "Do not close"


class StrokesAnswer(Enum):
    """What becomes of strokes that cannot be written."""

    RETRY = "Try again"
    STAY = "Do not close"
    DISCARD = "Close and lose them"


Answer = TypeVar("Answer", TrainingAnswer, StrokesAnswer)


class CloseGuard(QObject):
    """Asks before a window closes over work that is not done.

    A viewer that a script closes has no layers left by then, and nobody to ask. The guard is a
    child of the window.
    """

    def __init__(self, window: QWidget, controller: Controller) -> None:
        super().__init__(window)
        self._controller = controller
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Hold the window open where the person says so."""
        if (
            event is not None
            and event.type() == QEvent.Type.Close
            and watched is self.parent()
            and len(self._controller.viewer.layers)
            and not (self._strokes_settled() and self._training_settled())
        ):
            event.ignore()
            return True
        return False

    def _strokes_settled(self) -> bool:
        while True:
            try:
                self._controller.session.save_draft()
            except (UnisemalignError, OSError) as error:
                answer = ask_about_strokes(self.parent(), str(error))
                if answer is StrokesAnswer.DISCARD:
                    self._controller.session.discard_strokes()
                    return True
                if answer is StrokesAnswer.STAY:
                    return False
            else:
                return True

    def _training_settled(self) -> bool:
        trainer = self._controller.trainer
        trainer.goes_on_without_viewer = False
        if not trainer.runs_here:
            return True
        answer = ask_about_training(self.parent())
        trainer.goes_on_without_viewer = answer is TrainingAnswer.GO_ON
        return answer is not TrainingAnswer.STAY


def ask_about_training(window: QWidget) -> TrainingAnswer:
    """Ask what becomes of the training that runs."""
    return _ask(
        window,
        "A training runs",
        "The model is still learning. Stopped, it can be resumed later where it was. Without the "
        "viewer it trains on, and is shown again when the project is opened.",
        TrainingAnswer,
    )


def ask_about_strokes(window: QWidget, why: str) -> StrokesAnswer:
    """Ask what becomes of strokes that cannot be written, and say why they cannot."""
    return _ask(
        window,
        "Strokes are not saved",
        f"What you painted last could not be saved. {why} Make room, then press Try again.",
        StrokesAnswer,
    )


def _ask(window: QWidget, title: str, text: str, answers: type[Answer]) -> Answer:
    box = QMessageBox(window)
    box.setWindowTitle(title)
    box.setText(text)
    buttons = {
        answer: box.addButton(str(answer.value), QMessageBox.ButtonRole.ActionRole)
        for answer in answers
    }
    stay = answers["STAY"]
    box.setEscapeButton(buttons[stay])
    box.exec()
    return next((each for each in answers if buttons[each] is box.clickedButton()), stay)
