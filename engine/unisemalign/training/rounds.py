"""Rounds of training: started, taken up again, finished."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from unisemalign.errors import (
    CancelledError,
    ProjectError,
    SettingsError,
    UnisemalignError,
)
from unisemalign.methods import build_method
from unisemalign.model import Network, load_network
from unisemalign.project import Project, Round
from unisemalign.protocol import Cancelled, Failed, Message, RoundLayout, TrainDone
from unisemalign.runtime import (
    CancelToken,
    Events,
    LogFileEvents,
    ManyEvents,
    SilentEvents,
    cancel_on_signals,
    write_json,
)
from unisemalign.settings import ModelSettings, Settings, read_settings, write_settings
from unisemalign.training.checkpoint import load_checkpoint
from unisemalign.training.loop import Loop
from unisemalign.training.optimiser import build_optimiser
from unisemalign.training.process_group import ALONE, ProcessGroup, check_shares


def train_round(
    project: Project,
    settings: Settings | None,
    *,
    resume: bool = False,
    events: Events | None = None,
    cancel: CancelToken | None = None,
    processes: ProcessGroup = ALONE,
) -> Round:
    """Train one round of a project and return it.

    Parameters
    ----------
    project
        Holds tissue and labels.
    settings
        Every number; the encoder and text tower are the project's. ``None`` with ``resume``:
        those the round was started with.
    resume
        Go on with the newest round that did not finish, from its last checkpoint.
    events
        Told of each step (``None``: nobody is); the round's ``log.jsonl`` is told too.
    cancel
        Stops the round at its next step, with a checkpoint.
    processes
        The processes that share the work; all of them call this function alike.

    Raises
    ------
    BusyError
        If another training runs in this project.
    DataError
        If nothing is labelled yet.
    CancelledError
        If it was stopped; ``resume`` goes on from there.
    """
    if processes.rank > 0:
        return _assist(project, processes)
    with project.lock_training():
        try:
            found, settings = _opened(project, settings, resume, processes)
        except BaseException:
            processes.broadcast(None)
            raise
        found.layout.cancel.unlink(missing_ok=True)
        token = cancel or CancelToken(found.layout.cancel)
        listener = SilentEvents() if events is None else events
        events = ManyEvents([listener, LogFileEvents(found.layout.log)])
        loop = Loop(project, settings, found, events, token, processes)
        return _finish(loop, resume=resume)


def _finish(loop: Loop, *, resume: bool) -> Round:
    """Train the round to its end, and write in every case how it ended."""
    project, number, events = loop.project, loop.round.number, loop.events
    # Signals stay with the token until the round's end is on disk: one that comes while the
    # round closes would otherwise end the process with a round that seems to be running.
    with cancel_on_signals(loop.cancel):
        project.set_round(number, state="running")
        try:
            loop.processes.broadcast((number, resume))
            scores = loop.run(resume=resume)
        except CancelledError as error:
            project.set_round(number, state="cancelled")
            stopped = CancelledError(f"{error} Round {number} can be resumed.")
            events.emit(Cancelled(text=str(stopped)))
            stopped.reported = True
            raise stopped from None
        except BaseException as error:
            with suppress(UnisemalignError):  # a full disk may take no last words either
                project.set_round(number, state="failed")
            with suppress(UnisemalignError):
                events.emit(Failed(text=_sentence(error)))
            if isinstance(error, UnisemalignError):
                error.reported = True
            raise
        # In this order: a round that is done has its scores, whatever happens between.
        write_json(loop.round.layout.scores, scores.model_dump(mode="json"))
        if scores.has_fallen:  # it is offered, not taken: the person can use it all the same
            aside = [each.number for each in project.rounds() if each.set_aside]
            project.set_rounds_aside({*aside, number})
        if verdict := scores.verdict():
            events.emit(Message(text=verdict))
        project.set_round(number, state="done", scores=scores)
        events.emit(TrainDone(round=number, **scores.model_dump()))
    return project.round(number)


def _opened(
    project: Project, settings: Settings | None, resume: bool, processes: ProcessGroup
) -> tuple[Round, Settings]:
    """Return the round to train, new or taken up again, and its settings."""
    for stale in project.rounds():
        if stale.state == "running":  # killed: whoever runs holds the lock, and that is us
            project.set_round(stale.number, state="cancelled")
    if resume:
        found = unfinished_round(project)
        if found is None:
            raise ProjectError(
                "Resuming needs a round that was stopped or killed, found none. Train without "
                "--resume."
            )
        settings = read_settings(found.layout.settings)
        check_shares(settings.training, processes)
        return found, settings
    if settings is None:
        raise ProjectError("A new round needs settings, found none. Pass build_settings().")
    check_shares(settings.training, processes)
    settings = _with_towers(project, settings)
    return _start(project, settings), settings


def _assist(project: Project, processes: ProcessGroup) -> Round:
    """Train beside the leader, who alone validates, writes and tells."""
    given: tuple[int, bool] | None = processes.broadcast(None)
    if given is None:
        stopped = CancelledError("The first process of this training could not begin.")
        stopped.reported = True
        raise stopped
    number, resume = given
    found, token = project.round(number), CancelToken()
    settings = read_settings(found.layout.settings)
    with cancel_on_signals(token):
        Loop(project, settings, found, SilentEvents(), token, processes).run(resume=resume)
    return found


def _sentence(error: BaseException) -> str:
    if isinstance(error, UnisemalignError):
        return str(error)
    return f"The round stopped on {type(error).__name__}: {error}"


def unfinished_round(project: Project) -> Round | None:
    """Return the newest round after the last finished one that has something to go on with."""
    found: Round | None = None
    for each in project.rounds():
        if each.state == "done":
            found = None
        elif each.layout.settings.exists() and (
            each.state != "failed" or each.layout.checkpoint.exists()
        ):
            found = each
    return found


def _with_towers(project: Project, settings: Settings) -> Settings:
    """Return the settings with the project's encoder and text tower.

    Raises
    ------
    SettingsError
        If the settings ask for others: labels and rounds of a project share one pair.
    """
    mine = {"encoder": project.info.encoder, "text": project.info.text}
    for name, value in mine.items():
        asked = getattr(settings.model, name)
        if asked not in {value, ModelSettings.model_fields[name].default}:
            raise SettingsError(
                f"The project's {name} is '{value}', the settings ask for '{asked}'. Change "
                f"'{name}' in project.toml, or make a project with --{name} {asked}."
            )
    return settings.model_copy(update={"model": settings.model.model_copy(update=mine)})


def _start(project: Project, settings: Settings) -> Round:
    parent = project.latest_round() if settings.training.start_from == "previous" else None
    found = project.new_round(
        method=settings.method.name,
        preset=settings.preset,
        parent=parent.number if parent else None,
    )
    write_settings(settings, found.layout.settings)
    return found


def last_network(folder: Path) -> tuple[Network, Settings, int]:
    """Return the network a round keeps as it was at the last step, its settings and that step.

    Where a method has several networks, it is the one whose best weights the round keeps. It is
    rebuilt from the checkpoint, which every round keeps; only the best weights have a file of
    their own. ``folder`` is the round's.

    Raises
    ------
    WeightsError
        If the best weights, which say how to build it, or the checkpoint cannot be read.
    """
    network, settings, _ = load_network(RoundLayout(folder).weights)
    method = build_method(network, settings)
    optimiser = build_optimiser(method.groups(), settings.training)
    step, validation = load_checkpoint(RoundLayout(folder).checkpoint, method, optimiser)
    candidates = method.candidates()
    kept = (validation["best"] or {}).get("candidate", next(iter(candidates)))
    return candidates[kept].eval(), settings, step
