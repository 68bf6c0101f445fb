"""Segmenting a slide of a project: resumable, streamed into the project's store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisemalign.errors import ProjectError, SettingsError
from unisemalign.geometry import Rect
from unisemalign.inference.bands import iter_bands
from unisemalign.inference.predictor import Predictor
from unisemalign.model import load_network
from unisemalign.project import Project, Round
from unisemalign.runtime import CancelToken, Events, Pace
from unisemalign.runtime.device import choose_device, choose_precision
from unisemalign.settings import Settings, build_settings
from unisemalign.settings.tree import validate_settings
from unisemalign.slides import tissue_mask


def load_predictor(
    project: Project, number: int | None = None, overrides: Sequence[str] = ()
) -> tuple[Predictor, Round]:
    """Return the predictor of round ``number`` (``None``: the newest with weights), and the round.

    ``overrides`` such as ``inference.flips=true``, ``device=cpu`` or ``precision=float32`` change
    how it is used, not what it learned; other places are refused.

    Raises
    ------
    ProjectError
        If there is no trained round yet: the sentence says what to do first. Or if its classes
        are not the project's.
    SettingsError
        If an override does not exist or has no place here.
    WeightsError
        If its weights cannot be read.
    """
    found = project.latest_round() if number is None else project.round(number)
    if found is None:
        raise ProjectError(
            "Segmenting wants a trained round, this project has none yet. Label at least one "
            "region with every class in it, then train."
        )
    weights = best_weights(found.folder)
    network, settings, names = load_network(weights)
    check_classes(project, found.number, names)
    settings = _used_with(settings, overrides)
    where = choose_device(settings.device)
    digest = hashlib.sha256(weights.read_bytes())
    digest.update(settings.inference.model_dump_json().encode())
    digest.update(str(choose_precision(settings.precision, where)).encode())
    predictor = Predictor(network.to(where), settings, where, digest.hexdigest())
    return predictor, found


def check_classes(project: Project, number: int, names: Sequence[str]) -> None:
    """Raise :class:`ProjectError` unless a round's classes are the project's, in its order."""
    wanted = [c.name for c in project.info.classes]
    if list(names) != wanted:
        raise ProjectError(
            f"Round {number} learned the classes {', '.join(names)}; the project has "
            f"{', '.join(wanted)}. Put them back in project.toml, or train with "
            f"--set training.start_from=scratch."
        )


def _used_with(settings: Settings, overrides: Sequence[str]) -> Settings:
    for text in overrides:
        if not text.startswith(("inference.", "device=", "precision=")):
            raise SettingsError(
                f"Only inference.…, device and precision can change after training, found '{text}'."
            )
    asked = build_settings(overrides=overrides)
    changed = {text.partition("=")[0].partition(".")[2] for text in overrides}
    inference = {name: getattr(asked.inference, name) for name in changed if name}
    tree = settings.model_dump()
    tree["inference"].update(inference)
    # The device a round was trained on may not be here.
    tree["device"] = asked.device
    if any(text.startswith("precision=") for text in overrides):
        tree["precision"] = asked.precision
    return validate_settings(tree)


def best_weights(folder: Path) -> Path:
    """Return where a round keeps the weights to use."""
    return folder / "best.safetensors"


def segment_slide(
    project: Project,
    name: str,
    predictor: Predictor,
    round_number: int,
    *,
    rect: Rect | None = None,
    events: Events,
    cancel: CancelToken,
) -> dict[str, Any]:
    """Label a slide, or ``rect`` of it, and store the result under the round.

    A whole slide that was interrupted goes on where it stopped; one that is finished is left
    alone. Emits ``start``, then ``progress`` with ``rect`` whenever rows have been stored.

    Returns
    -------
    dict
        ``slide``, ``round``, ``rect`` (``[y, x, h, w]``) and ``fresh``: whether anything was done.
    """
    slide = project.open_slide(name)
    store = project.predictions(round_number, name, create=True)
    whole = Rect(0, 0, *slide.shape_yx)
    target = whole if rect is None else rect.intersect(whole)
    if target.area == 0:
        raise ProjectError(
            f"The region {rect} wants to lie on '{name}', which is {whole.h} × {whole.w} px at "
            f"working spacing. Choose one inside."
        )
    result = {
        "slide": name,
        "round": round_number,
        "rect": [target.y, target.x, target.h, target.w],
    }
    progress = store.read_progress()
    if progress.get("model", predictor.identity) != predictor.identity:
        # The round has learned more since, or is used in another way: no map of two models.
        project.remove_prediction(round_number, name)
        store, progress = project.predictions(round_number, name, create=True), {}
    start_row = int(progress.get("rows_done", 0)) if target == whole else 0
    if target == whole and start_row >= whole.h:
        return {**result, "fresh": False}
    events.emit("start", what=f"Segmenting {name}")
    store.write_progress({"rows_done": progress.get("rows_done", 0), "model": predictor.identity})
    tissue = tissue_mask(slide) if predictor.settings.inference.skip_glass else None
    pace: Pace | None = None

    def on_window(done: int, total: int) -> None:
        nonlocal pace
        cancel.check()
        pace = pace or Pace(total)
        pace.done = done
        events.emit("progress", done=done, total=total, eta_s=pace.eta_s)

    for band in iter_bands(
        slide, predictor, target, tissue=tissue, start_row=start_row, on_window=on_window
    ):
        store.write(
            band.rect,
            classes=band.classes,
            confidence=band.confidence,
            disagreement=band.disagreement,
        )
        if target == whole:
            store.write_progress({"rows_done": band.rect.y1, "model": predictor.identity})
        r = band.rect
        events.emit("written", slide=name, round=round_number, rect=[r.y, r.x, r.h, r.w])
    return {**result, "fresh": True}
