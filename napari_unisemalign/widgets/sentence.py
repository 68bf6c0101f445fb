"""A sentence in the dock."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy


class SentenceWidget(QLabel):
    """A sentence that wraps, and takes no room when it is empty."""

    def __init__(self, *, color: str | None = None, dim: bool = False) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        rules = [f"color: {color};" if color else "", "color: #9aa0a8;" if dim else ""]
        self.setStyleSheet("".join(rules))
        self.hide()

    def say(self, text: str) -> None:
        """Show ``text``, or nothing."""
        if text != self.text():
            self.setText(text)
        self.setVisible(bool(text))


def note_widget(text: str) -> SentenceWidget:
    """Return a dim sentence for a dialog's form."""
    note = SentenceWidget(dim=True)
    # Without a width to wrap at, Qt reserves room for far more lines than there are.
    note.setMinimumWidth(360)
    note.say(text)
    return note
