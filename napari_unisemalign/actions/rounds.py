"""The rounds so far: show one, compare it, use it, and what each cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.session.permissions import NEED_PROJECT
from napari_unisemalign.session.session import Session
from unisemalign.errors import ProjectError

if TYPE_CHECKING:
    from unisemalign.exchange import LedgerLine


class RoundChooser(QObject):
    """Shows, compares and uses the rounds of the open project."""

    used = Signal()
    """Another round is in use: the warm engine is to know another model."""

    def __init__(self, session: Session, errors: ErrorReporter) -> None:
        super().__init__()
        self._session = session
        self._errors = errors

    def use_round(self, number: int) -> None:
        """Take a round into use; newer ones are set aside."""
        with self._errors.reporting("train"):
            self._session.use_round(number)
            self.used.emit()

    def show_round(self, number: int) -> None:
        """Show what a round says, or, when it is on show, the newest in use again."""
        with self._errors.reporting("train"):
            session = self._session
            session.show_round(None if session.round_on_show == number else number)

    def compare_round(self, number: int) -> None:
        """Show what changed since a round, or no longer."""
        with self._errors.reporting("train"):
            session = self._session
            session.compare_round(None if session.compared_round == number else number)

    def read_ledger(self) -> list[LedgerLine]:
        """Return what each round cost and brought; nothing where it cannot be read."""
        lines: list[LedgerLine] = []
        with self._errors.reporting("train"):
            if self._session.project is None:
                raise ProjectError(NEED_PROJECT)
            from unisemalign.exchange import read_ledger

            lines += read_ledger(self._session.project)
        return lines

    def save_ledger(self, path: Path, lines: Sequence[LedgerLine]) -> None:
        """Write the ledger as CSV."""
        with self._errors.reporting("train"):
            from unisemalign.exchange import write_ledger

            write_ledger(path, lines)
