"""The wheel scrolls the dock, and after every click in it the canvas has the keys."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QWidget,
)

TYPED_INTO = (QAbstractSpinBox, QComboBox, QLineEdit)
"""What keeps the keys after a click: a person types or chooses there."""

LEAVING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)


class QuietDock(QObject):
    """Watches every widget of a dock, those made later too.

    A wheel over a number or a choice that has not the focus scrolls the dock. After a click on
    anything that is not typed into, and after Return or Escape in what is, the window's canvas has
    the keys; the number that was being typed is taken first.
    """

    def __init__(self, dock: QWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self._watch(dock)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Follow the events of the dock's widgets."""
        if event is None or watched is None:
            return False
        kind = event.type()
        if kind == QEvent.Type.ChildPolished:
            child = event.child()
            if isinstance(child, QWidget):
                self._watch(child)
        elif kind == QEvent.Type.Wheel and isinstance(watched, QAbstractSpinBox | QComboBox):
            if not watched.hasFocus():
                event.ignore()
                return True
        elif kind == QEvent.Type.MouseButtonPress and isinstance(watched, QAbstractButton):
            self._take_typed(watched)
        elif (kind == QEvent.Type.MouseButtonRelease and not _is_typed_into(watched)) or (
            kind == QEvent.Type.KeyPress
            and isinstance(watched, TYPED_INTO)
            and event.key() in LEAVING
        ):
            QTimer.singleShot(0, self.give_keys)
        return False

    def give_keys(self) -> None:
        """Give the canvas the keys, unless a menu or a dialog has them."""
        if QApplication.activePopupWidget() or QApplication.activeModalWidget():
            return
        canvas = canvas_of(self._dock.window()) if isalive(self._dock) else None
        if canvas is not None:
            canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    def _take_typed(self, pressed: QWidget) -> None:
        """Have a number that is being typed in the dock taken before ``pressed`` acts on it."""
        focused = QApplication.focusWidget()
        if focused is not None and focused is not pressed and self._dock.isAncestorOf(focused):
            focused.clearFocus()

    def _watch(self, widget: QWidget) -> None:
        for each in (widget, *widget.findChildren(QWidget)):
            each.removeEventFilter(self)  # it may have been watched already
            each.installEventFilter(self)
            if isinstance(each, QAbstractSpinBox | QComboBox):
                each.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


def canvas_of(window: QWidget | None) -> QWidget | None:
    """Return the widget that a viewer's window draws slides on: vispy's, by its class's name."""
    if window is None:
        return None
    found = window.findChildren(QWidget)
    return next((w for w in found if type(w).__name__.startswith("CanvasBackend")), None)


def _is_typed_into(watched: QObject) -> bool:
    widget: QObject | None = watched
    while widget is not None:
        if isinstance(widget, TYPED_INTO):
            return True
        if isinstance(widget, QAbstractItemView):
            return False
        widget = widget.parent()
    return False
