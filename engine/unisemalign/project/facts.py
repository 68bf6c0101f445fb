"""What the tables note of the project itself: the spacing and the number of classes."""

from __future__ import annotations

from unisemalign.errors import ProjectError
from unisemalign.project.database import Database
from unisemalign.project.info import ProjectInfo


def check_facts(database: Database, info: ProjectInfo) -> None:
    """See that project.toml still fits the labels on disk, and note classes that were added."""
    facts = {row["key"]: row["value"] for row in database.rows("SELECT key, value FROM facts")}
    if facts.get("spacing_um", info.spacing_um) != info.spacing_um:
        raise ProjectError(
            f"project.toml: 'spacing_um' needs {facts['spacing_um']:g}, at which the labels were "
            f"drawn, found {info.spacing_um:g}. Write {facts['spacing_um']:g} there, or make a new "
            f"project with the other spacing."
        )
    n_classes = int(facts.get("n_classes", 0))
    if len(info.classes) < n_classes:
        raise ProjectError(
            f"project.toml: 'classes' needs the {n_classes} classes that labels may use, found "
            f"{len(info.classes)}. Put the missing ones back; names and colours may change."
        )
    if len(info.classes) > n_classes and database.read_only is None:
        note_class_count(database, len(info.classes))


def note_class_count(database: Database, count: int) -> None:
    """Write down how many classes labels may use."""
    with database.transaction() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO facts (key, value) VALUES ('n_classes', ?)", (count,)
        )
