"""Making the folder of a project, also over what a killed process left there."""

from __future__ import annotations

from pathlib import Path

from unisemalign.errors import ProjectError
from unisemalign.project.database import Database
from unisemalign.project.info import ProjectInfo, read_info, write_info
from unisemalign.project.locks import PATIENCE_S, ProcessLock
from unisemalign.protocol import ProjectLayout
from unisemalign.runtime.files import explaining_full_disk, make_folder


def make_project(layout: ProjectLayout, info: ProjectInfo) -> None:
    """Make an empty project; where this very one is there and empty, nothing is done.

    Raises
    ------
    ProjectError
        If the folder holds something else.
    BusyError
        If another process makes it.
    """
    root = layout.root
    if _is_made(layout, info):
        return
    _check_free(layout)
    making = ProcessLock(
        layout.lock("making"),
        f"Another process ({{holder}}) is making a project in '{root}'. Wait until it is done.",
    )
    with explaining_full_disk(root), making.held(PATIENCE_S):
        _check_free(layout)  # again: another process may have made it meanwhile
        # Of a killed process, without a slide.
        half_made = f".{layout.info.name}.*.part"
        for path in (*root.glob(f"{layout.database.name}*"), *root.glob(half_made)):
            path.unlink()
        for folder in (layout.label_folder, layout.prediction_folder, layout.round_folder):
            make_folder(folder)
        with Database.create(layout.database) as database, database.transaction() as connection:
            connection.executemany(
                "INSERT INTO facts (key, value) VALUES (?, ?)",
                [("spacing_um", info.spacing_um), ("n_classes", len(info.classes))],
            )
        # Last: only a folder with a project.toml is a project.
        write_info(layout.info, info)


def _is_made(layout: ProjectLayout, info: ProjectInfo) -> bool:
    """Tell whether this very project is there, and nobody has added a slide yet."""
    if not layout.info.is_file() or not layout.database.is_file():
        return False
    try:
        return read_info(layout.info) == info and Database.is_unused(layout.database)
    except ProjectError:
        return False


def _check_free(layout: ProjectLayout) -> None:
    """Raise :class:`ProjectError` unless a project can be made there and nothing is lost by it."""
    root = layout.root
    if not root.exists():
        return
    if root.is_dir() and all(_is_left_over(path, layout) for path in root.iterdir()):
        return
    raise ProjectError(
        f"A new project needs an empty folder or a new name, found '{root}' with "
        f"something in it. Choose another name, or open it if it is a project."
    )


def _is_left_over(path: Path, layout: ProjectLayout) -> bool:
    """Tell whether ``path`` is what a killed :meth:`Project.create` leaves, with nothing in it."""
    if path.is_symlink():
        return False
    if path == layout.lock("making").parent:
        return True
    if path in {layout.label_folder, layout.prediction_folder, layout.round_folder}:
        return path.is_dir() and not any(path.iterdir())
    if path == layout.database:
        return Database.is_unused(path)
    beside = {f"{layout.database.name}{end}" for end in ("-wal", "-shm", "-journal")}
    half_written = path.name.startswith(f".{layout.info.name}.") and path.suffix == ".part"
    return path.name in beside or half_written
