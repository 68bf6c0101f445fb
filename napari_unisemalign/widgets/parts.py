"""Small parts the sections are made of."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.session.dock_state import ClassItem, Permission

ACCENT = "#2f7de1"
ERROR = "#e5605a"


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


class SectionWidget(QWidget):
    """A titled part of the dock that folds, with a place for its own errors."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self.header = QToolButton()
        self.header.setText(title)
        self.header.setCheckable(True)
        self.header.setChecked(True)
        self.header.setToolTip(f"Fold or unfold {title}")
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.header.toggled.connect(self._on_toggled)
        self.body = QWidget()
        self.error = SentenceWidget(color=ERROR)
        self.rows = QVBoxLayout(self.body)
        self.rows.setContentsMargins(6, 2, 2, 4)
        self.rows.setSpacing(4)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.header)
        outer.addWidget(self.error)
        outer.addWidget(self.body)
        self._current = False
        self._dress()

    def mark_current(self, current: bool) -> None:
        """Show that the next thing to do is here."""
        if current != self._current:
            self._current = current
            self._dress()
            if current:
                self.header.setChecked(True)

    def add_row(self, *widgets: QWidget) -> QHBoxLayout:
        """Add widgets side by side."""
        row = button_row(*widgets)
        self.rows.addLayout(row)
        return row

    def _on_toggled(self, open_: bool) -> None:
        self.body.setVisible(open_)
        self._dress()

    def _dress(self) -> None:
        arrow = Qt.ArrowType.DownArrow if self.header.isChecked() else Qt.ArrowType.RightArrow
        self.header.setArrowType(arrow)
        edge = ACCENT if self._current else "transparent"
        self.header.setStyleSheet(
            f"QToolButton {{ font-weight: bold; border: none; border-left: 4px solid {edge};"
            " padding: 4px 4px; text-align: left; background: rgba(127, 127, 127, 40); }"
        )


class ActionButton(QPushButton):
    """A button that is possible or says why not."""

    def __init__(self, text: str, on_press: Callable[[], None]) -> None:
        super().__init__(text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.clicked.connect(lambda _checked=False: on_press())

    def follow(self, act: Permission) -> None:
        """Enable or disable the button and explain it."""
        self.setEnabled(act.possible)
        self.setToolTip(act.why)


class ClassButtonsWidget(QWidget):
    """One button a class, in its colour; the pressed one is painted with."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(2)
        self._shown: tuple[tuple[int, str, str], ...] = ()
        self.buttons: dict[int, QPushButton] = {}

    def follow(self, classes: tuple[ClassItem, ...]) -> None:
        """Show these classes."""
        wanted = tuple((each.value, each.name, each.color) for each in classes)
        if wanted == self._shown:
            return
        self._shown = wanted
        for button in self.buttons.values():
            button.deleteLater()
        while self._rows.count():
            self._rows.takeAt(0)
        self.buttons = {}
        row = QHBoxLayout()
        for index, (value, name, color) in enumerate(wanted):
            if index % 2 == 0:
                row = QHBoxLayout()
                row.setSpacing(2)
                self._rows.addLayout(row)
            button = QPushButton(name)
            button.setIcon(color_icon(color))
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            # A long name is cut, never the dock beside it; the tooltip holds it whole.
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setToolTip(f"Paint {name} (label {value}; - and = step through the labels)")
            button.setStyleSheet(
                "QPushButton { text-align: left; padding: 3px 6px; }"
                f"QPushButton:checked {{ border: 2px solid {color}; }}"
            )
            button.clicked.connect(self._on_clicked)
            button.setProperty("value", value)
            self.buttons[value] = button
            row.addWidget(button, 1)
        if len(wanted) % 2:
            row.addStretch(1)

    def show_chosen(self, value: int) -> None:
        """Press the button of ``value``."""
        for each, button in self.buttons.items():
            button.setChecked(each == value)

    def _on_clicked(self) -> None:
        value = int(self.sender().property("value"))
        self.show_chosen(value)
        self.chosen.emit(value)


class AreaBarWidget(QWidget):
    """Share of the area per class: a bar in their colours."""

    def __init__(self) -> None:
        super().__init__()
        self._classes: tuple[ClassItem, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802  Qt's name
        """Return a slim bar."""
        return QSize(120, 12)

    def follow(self, classes: tuple[ClassItem, ...]) -> None:
        """Show the shares of these classes."""
        self._classes = tuple(each for each in classes if each.share)
        self.setVisible(bool(self._classes))
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802  Qt's name
        """Draw the bar."""
        painter = QPainter(self)
        left = 0.0
        for each in self._classes:
            width = (each.share or 0.0) * self.width()
            painter.fillRect(
                round(left), 0, max(1, round(width)), self.height(), QColor(each.color)
            )
            left += width
        painter.end()


class WheelGuard(QObject):
    """Keeps a wheel that scrolls the dock from changing a number it passes over."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Swallow wheel events of widgets without focus."""
        if (
            event is not None
            and event.type() == QEvent.Type.Wheel
            and isinstance(watched, QWidget)
            and not watched.hasFocus()
        ):
            event.ignore()
            return True
        return False


def button_row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets side by side."""
    row = QHBoxLayout()
    row.setSpacing(4)
    for widget in widgets:
        row.addWidget(widget)
    return row


def color_icon(color: str) -> QIcon:
    """Return a square of ``color``."""
    pixmap = QPixmap(14, 14)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)


def duration(seconds: float | None) -> str:
    """Return ``95`` as ``1 min 35 s``, and nothing for nothing."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 90:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
