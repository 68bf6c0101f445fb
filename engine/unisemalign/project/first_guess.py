"""The first guess: a map made before anybody labelled, by words or by clusters waiting for names.

``rounds/0/guess.json`` says how it was made. Cluster numbers lie in ``rounds/0/clusters``, never
among the predictions: nothing can take the number of a cluster for a class. Once they have names,
or words did it alone, classes lie in ``predictions/0`` and the project has a round 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal

from pydantic import BaseModel, ConfigDict

from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project.predictions import PredictionStore, remove_predictions
from unisemalign.project.project import Project
from unisemalign.protocol import FIRST_ROUND, read_note
from unisemalign.runtime.files import read_json, remove_file, write_json

NO_CLASS = "none"
"""The name of a cluster that is no class: its pixels are left without a prediction."""

Box = tuple[int, int, int, int]


class GuessNote(BaseModel):
    """How a first guess was made.

    Attributes
    ----------
    made_by
        Class words and a vision–language pair, or clusters of features.
    model
        The pair or the encoder.
    seed
        Of the clustering.
    centre, scale
        ``(D,)``: mean and spread of the features that were clustered.
    directions
        ``(K, D)`` unit vectors, one a cluster; cluster k is the k-th, counted from 1.
    shares
        ``(K,)``: the part of the guessed tissue each cluster takes.
    names
        ``(K,)`` label values; 0: the cluster is no class. Empty: not named yet.
    rects
        What was guessed of each slide, ``(y, x, h, w)`` at working spacing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    made_by: Literal["words", "clusters"]
    model: str
    seed: int = 0
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    directions: tuple[tuple[float, ...], ...] = ()
    shares: tuple[float, ...] = ()
    names: tuple[int, ...] = ()
    rects: dict[str, tuple[Box, ...]] = {}

    @property
    def waiting(self) -> bool:
        """Whether clusters wait for names."""
        return self.made_by == "clusters" and not self.names

    def same_clusters(self, other: GuessNote | None) -> bool:
        """Tell whether the maps of ``other`` show these very clusters."""
        about = {"model", "seed", "centre", "scale", "directions"}
        return (
            other is not None
            and self.made_by == other.made_by == "clusters"
            and self.model_dump(include=about) == other.model_dump(include=about)
        )

    def with_rect(self, slide: str, rect: Rect) -> GuessNote:
        """Return the note with ``rect`` of ``slide`` among what was guessed."""
        kept = [box for box in self.rects.get(slide, ()) if not rect.contains(Rect(*box))]
        boxes = (*kept, (rect.y, rect.x, rect.h, rect.w))
        return self.model_copy(update={"rects": {**self.rects, slide: boxes}})


class FirstGuess:
    """The first guess of a project, on disk."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._path = project.layout.round(FIRST_ROUND).guess

    def note(self) -> GuessNote | None:
        """Return how the guess was made; ``None`` when there is none.

        Raises
        ------
        ProjectError
            If the note is damaged.
        """
        found = read_json(self._path)
        if found is None:
            return None
        remedy = "Delete that file, then make the first guess again."
        return read_note(GuessNote, found, self._path, remedy)

    def write_note(self, note: GuessNote) -> None:
        """Keep ``note``, atomically."""
        write_json(self._path, note.model_dump(mode="json"))

    def clusters(self, slide: str, *, create: bool = False) -> PredictionStore:
        """Return the map of cluster numbers (its ``class``) of ``slide``.

        Raises
        ------
        ProjectError
            If there is none and ``create`` is not set.
        """
        record = self._project.slide(slide)
        folder = self._project.layout.clusters(record.name)
        if self.has_clusters(slide):
            return PredictionStore(folder)
        if not create:
            raise ProjectError(
                f"The clusters of slide '{slide}' were not looked for yet. Run 'unisemalign guess "
                f"{self._project.root.name} {slide}'."
            )
        return PredictionStore.create(folder, record.shape_yx, self._project.info.spacing_um)

    def has_clusters(self, slide: str) -> bool:
        """Tell whether the clusters of ``slide`` were mapped, even if only in part."""
        return self._project.layout.clusters(self._project.slide(slide).name).is_dir()

    def remove_clusters(self, slide: str) -> None:
        """Forget the clusters of ``slide``, and what of their map was noted as finished."""
        remove_predictions(self._project.layout.clusters(self._project.slide(slide).name))

    def lock_clusters(self, slide: str) -> AbstractContextManager[None]:
        """Keep other writers of the map of ``slide`` out while the block runs."""
        return self._project.lock_prediction(None, slide)

    def forget_classes(self) -> None:
        """Forget the classes of round 0; what a person accepted of them stays."""
        if any(each.number == FIRST_ROUND for each in self._project.rounds()):
            for slide in self._project.slides():
                with self._project.lock_prediction(FIRST_ROUND, slide.name):
                    self._project.remove_prediction(FIRST_ROUND, slide.name)

    def forget(self) -> None:
        """Forget the guess, so that another can be made."""
        self.forget_classes()
        for slide in self._project.slides():
            with self.lock_clusters(slide.name):
                self.remove_clusters(slide.name)
        remove_file(self._path)


def cluster_values(
    names: Mapping[int, str], n_clusters: int, class_names: tuple[str, ...]
) -> tuple[int, ...]:
    """Return the label value of each cluster 1…K; clusters that are not named are no class.

    Raises
    ------
    DataError
        If a cluster or a class does not exist, or no cluster becomes a class.
    """
    values = {name.casefold(): value for value, name in enumerate(class_names, start=1)}
    values[NO_CLASS] = values.get(NO_CLASS, 0)
    for number, name in names.items():
        if not 1 <= number <= n_clusters:
            raise DataError(
                f"The first guess has the clusters 1 to {n_clusters}, found the name '{name}' for "
                f"cluster {number}. Name those alone."
            )
        if name.casefold() not in values:
            raise DataError(
                f"Cluster {number} needs one of the classes {', '.join(class_names)}, or "
                f"'{NO_CLASS}', found '{name}'. Use one of these."
            )
    result = tuple(values[names.get(k, NO_CLASS).casefold()] for k in range(1, n_clusters + 1))
    if not any(result):
        raise DataError(
            f"A first guess needs at least one cluster that is a class, found none among "
            f"{n_clusters}. Example: --names 1={class_names[0]}."
        )
    return result
