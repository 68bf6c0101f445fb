"""Reports errors to the person: one sentence, beside the section it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_info
from psygnal import EmitLoopError
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from unisemalign.errors import UnisemalignError


class ErrorReporter(QObject):
    """Reports errors."""

    failed = Signal(str, str)
    """Section and sentence of something that could not be done."""
    began = Signal(str)
    """Section in which something is tried. Clears the section's previous error."""

    @contextmanager
    def reporting(self, section: str, *, act: bool = True) -> Iterator[None]:
        """Show what goes wrong in the block beside ``section`` and in napari's notifications.

        With ``act``, the block is something the person does: it clears the section's last error.
        """
        if act:
            self.began.emit(section)
        try:
            yield
        except (UnisemalignError, OSError) as error:
            self.report(section, _in_words(error))
        except EmitLoopError as error:
            # Raised by a listener, such as a layer whose slide cannot be read.
            if not isinstance(error.__cause__, UnisemalignError | OSError):
                raise
            self.report(section, _in_words(error.__cause__))

    def report(self, section: str, sentence: str) -> None:
        """Show an error: it stays in the dock until something is done, and fades on the canvas.

        napari's own errors stay over the picture and its scale bar until each is closed by hand.
        """
        # When Python ends without a goodbye, Qt's half may be gone while drafts are still kept.
        if isalive(self):
            self.failed.emit(section, sentence)
        show_info(sentence)


def _in_words(error: BaseException | None) -> str:
    """Return the sentence of an error; what the system says is put into one."""
    if not isinstance(error, OSError):
        return str(error)
    where = f"Cannot read or write '{error.filename}'" if error.filename else "Cannot read or write"
    return (
        f"{where}: {(error.strerror or str(error)).lower()}. "
        f"Check that the folder is there and that you may write in it, then repeat the step."
    )
