"""One controller a viewer: it lives as long as the viewer's window, whatever docks come and go."""

from __future__ import annotations

from functools import partial
from weakref import ReferenceType, WeakKeyDictionary, ref

from napari.components import ViewerModel
from qtpy.QtWidgets import QMainWindow

from napari_unisemalign.actions.closing import CloseGuard
from napari_unisemalign.actions.controller import Controller

_controllers: WeakKeyDictionary[ViewerModel, ReferenceType[Controller]] = WeakKeyDictionary()
"""The window keeps its controller alive; here, it would keep the viewer alive for ever."""


def controller_of(viewer: ViewerModel) -> Controller:
    """Return the viewer's controller, made by the first call."""
    # napari hands plugins a guarded viewer, another one each time.
    viewer = getattr(viewer, "__wrapped__", viewer)
    known = _controllers.get(viewer)
    controller = None if known is None else known()
    if controller is None or controller.closed:
        controller = Controller(viewer)
        keep_controller(controller)
    return controller


def keep_controller(controller: Controller) -> None:
    """Make ``controller`` its viewer's."""
    viewer = getattr(controller.viewer, "__wrapped__", controller.viewer)
    _controllers[viewer] = ref(controller)


def close_with(window: QMainWindow, controller: Controller) -> None:
    """Shut the controller down when the window is gone; it asks before, where there is need."""
    if controller.close_guard is None:
        controller.close_guard = CloseGuard(window, controller)
        window.destroyed.connect(partial(_shut_down, controller))


def _shut_down(controller: Controller, *_: object) -> None:
    controller.shut_down()
