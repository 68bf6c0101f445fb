"""Edits of the labels: journalled, undoable, and whole even when the process is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import BusyError, DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project.chunks import chunk_around, is_written, iter_chunks
from unisemalign.project.journal import (
    Act,
    Journal,
    Pixels,
    RegionChange,
    StagedEdit,
    UnreadableEditError,
)
from unisemalign.project.labels import LabelStore, check_pixels, check_rect
from unisemalign.project.locks import PATIENCE_S, ProcessLock
from unisemalign.project.records import JournalEntry, Origin, Region, SlideRecord
from unisemalign.runtime.files import explaining_full_disk

_CHUNKS_AT_A_TIME = 64


@dataclass(frozen=True)
class LabelEdit:
    """One rectangle of an act. Those of one act must not overlap.

    Attributes
    ----------
    rect
        Inside the slide.
    values
        ``(h, w)`` uint8, 0…C.
    origin
        One origin for all labelled pixels, or ``(h, w)`` uint8 of :class:`Origin` values.
    only
        ``(h, w)`` bool: pixels elsewhere keep label and origin; ``None``: all are written.
    regions
        What is accepted with it: regions, or rectangles whose region is made when there is none.
    """

    rect: Rect
    values: NDArray[np.uint8]
    origin: Origin | NDArray[np.uint8]
    only: NDArray[np.bool_] | None = None
    regions: tuple[Rect | Region, ...] = ()


class LabelEditor:
    """Writes labels, one edit at a time over all processes.

    Parameters
    ----------
    journal
        Where edits are written down first.
    store_of
        Returns the labels of a slide by name.
    lock
        Held for the length of one edit, so that the journal's order is the chunks' order.
    n_classes
        The highest label value allowed.

    Attributes
    ----------
    remarks
        Sentences about edits that could not be taken back.
    """

    def __init__(
        self,
        journal: Journal,
        store_of: Callable[[str], LabelStore],
        lock: ProcessLock,
        n_classes: int,
    ) -> None:
        self._journal = journal
        self._store_of = store_of
        self._lock = lock
        self.n_classes = n_classes
        self.remarks: list[str] = []

    def write(
        self,
        slide: SlideRecord,
        edits: Iterable[tuple[LabelEdit, RegionChange]],
        action: str,
        round_number: int | None,
    ) -> list[JournalEntry]:
        """Carry out ``edits`` as one act; see :meth:`Project.write_labels` and ``accept``."""
        with self._lock.held(PATIENCE_S):
            self._recover()
            store = self._store_of(slide.name)
            moment = self._journal.moment()

            def prepared(edit: LabelEdit) -> StagedEdit:
                given = self._checked(slide, edit)
                before = Pixels(store.read(edit.rect), store.read_origin(edit.rect))
                after = given if edit.only is None else before.under(given, edit.only)
                return StagedEdit(slide.id, edit.rect, action, round_number, moment, before, after)

            waiting = iter(edits)
            first, region_change = next(waiting)
            held = prepared(first)
            staged: list[tuple[int, RegionChange]] = []
            try:
                for edit, next_wish in waiting:
                    staged.append((self._journal.stage(held), region_change))
                    held, region_change = prepared(edit), next_wish
                if staged:
                    staged.append((self._journal.stage(held), region_change))
                    act = self._journal.start(staged)
                else:
                    act = self._journal.begin(held, region_change)
            except BaseException:
                if staged:
                    self._journal.drop_staged()
                raise
            return self._carry_out(act)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every edit of every process out while the block runs; none is half done then."""
        with self._lock.held(PATIENCE_S):
            self._recover()
            yield

    def undo(self) -> JournalEntry | None:
        """Take the newest edit back; ``None`` when there is none."""
        return self._turn("done", "undoing", newest=True)

    def redo(self) -> JournalEntry | None:
        """Make the edit that was undone last again; ``None`` when there is none."""
        return self._turn("undone", "redoing", newest=False)

    def iter_lost(self, slide: SlideRecord) -> Iterator[tuple[Rect, Pixels]]:
        """Yield the chunks whose labels the journal holds and the disk does not, as they should be.

        Chunks that are there are taken for right.
        """
        entries = self._journal.done_on(slide.id)
        missing: dict[Rect, None] = {}
        for entry in entries:
            for part in iter_chunks(entry.rect):
                missing.setdefault(chunk_around(part, slide.shape_yx))
        try:
            folder = self._store_of(slide.name).folder
        except ProjectError:
            chunks = sorted(missing)
        else:
            chunks = sorted(
                each
                for each in missing
                if not all(is_written(folder / array, each) for array in ("labels", "origin"))
            )
        for first in range(0, len(chunks), _CHUNKS_AT_A_TIME):
            some = chunks[first : first + _CHUNKS_AT_A_TIME]
            for rect, pixels in self._replayed(entries, some).items():
                if pixels.labels.any():
                    yield rect, pixels

    def restore(self, slide: SlideRecord) -> list[Rect]:
        """Write what :meth:`iter_lost` finds. Only within :meth:`alone`."""
        store = self._store_of(slide.name)
        restored = []
        for rect, pixels in self.iter_lost(slide):
            with explaining_full_disk(store.folder):
                store.put(rect, pixels.labels, pixels.origin)
            restored.append(rect)
        return restored

    def _replayed(
        self, entries: Iterable[JournalEntry], chunks: Iterable[Rect]
    ) -> dict[Rect, Pixels]:
        """Return what the edits, oldest first, made of ``chunks`` that nobody had labelled."""
        made = {each: Pixels(*np.zeros((2, *each.shape), np.uint8)) for each in chunks}
        for entry in entries:
            touched = [each for each in made if each.intersect(entry.rect).area]
            if not touched:
                continue
            try:
                after = self._journal.pixels(entry, "after")
            except UnreadableEditError as error:
                self._remark(f"An edit of slide '{entry.slide}' cannot be read: {error}")
                continue
            for each in touched:
                part = each.intersect(entry.rect)
                here, there = part.relative_to(each).slices, part.relative_to(entry.rect).slices
                made[each].labels[here] = after.labels[there]
                made[each].origin[here] = after.origin[there]
        return made

    def recover(self) -> None:
        """Take back what a killed process began. Who is writing right now is left alone.

        Raises
        ------
        ProjectError
            If the disk is full or may only be read.
        """
        if self._journal.interrupted():
            with contextlib.suppress(BusyError), self._lock.held():
                self._recover()

    def _turn(self, state: str, on_the_way: str, *, newest: bool) -> JournalEntry | None:
        with self._lock.held(PATIENCE_S):
            self._recover()
            act = self._journal.turn(state, on_the_way, newest=newest)
            return None if act is None else self._carry_out(act)[0]

    def _recover(self) -> None:
        if not self._journal.interrupted():
            return
        self._journal.drop_staged()
        for act in self._journal.unfinished():
            try:
                self._store_of(act.entries[0].slide)
            except ProjectError as error:
                # It is taken back when the labels are there again.
                self._remark(f"An edit of slide '{act.entries[0].slide}' waits: {error}")
                continue
            readable = []
            for entry in act.entries:
                try:
                    self._put(entry, back=True)
                    readable.append(entry)
                except UnreadableEditError as error:
                    self._set_aside(entry, error)
            self._journal.take_back(replace(act, entries=tuple(readable)))

    def _carry_out(self, act: Act) -> list[JournalEntry]:
        begun: list[JournalEntry] = []
        try:
            for entry in act.entries:
                begun.append(entry)
                self._put(entry)
            return self._journal.finish(act)
        except UnreadableEditError as error:
            # The rest of the act stays as it was, and the next undo takes that.
            self._set_aside(spoilt := begun.pop(), error)
            rest = tuple(entry for entry in act.entries if entry != spoilt)
            self._take_back(replace(act, entries=rest), begun, error)
            raise UnreadableEditError(self.remarks[-1]) from error
        except (OSError, ProjectError) as error:
            self._take_back(act, begun, error)
            raise

    def _take_back(
        self, act: Act, begun: Sequence[JournalEntry], error: OSError | ProjectError
    ) -> None:
        """Put back what was there. Where even that fails the next edit or opening does it."""
        for entry in reversed(begun):
            try:
                self._put(entry, back=True)
            except (OSError, ProjectError):
                raise ProjectError(
                    f"{error} The edit was not made; a part of it shows under y, x, h, w = "
                    f"{entry.rect} of '{entry.slide}' until there is room: the next edit, or "
                    f"opening the project, takes it back."
                ) from error
        with contextlib.suppress(OSError, ProjectError):
            self._journal.take_back(act)

    def _put(self, entry: JournalEntry, *, back: bool = False) -> None:
        store = self._store_of(entry.slide)
        if not entry.rect.area or not Rect(0, 0, *store.shape_yx).contains(entry.rect):
            raise UnreadableEditError(f"{entry.rect} does not lie on the slide")
        to_before = (entry.state == "undoing") != back
        pixels = self._journal.pixels(entry, "before" if to_before else "after")
        with explaining_full_disk(store.folder):
            store.put(entry.rect, pixels.labels, pixels.origin)

    def _set_aside(self, entry: JournalEntry, error: UnreadableEditError) -> None:
        self._journal.set_aside(entry)
        self._remark(
            f"An edit of slide '{entry.slide}' ({entry.action}, at {entry.rect}) was half done and "
            f"cannot be read: {error}. It was set aside; look at the labels there."
        )

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    def _checked(self, slide: SlideRecord, edit: LabelEdit) -> Pixels:
        rect, values, origin = edit.rect, edit.values, edit.origin
        check_rect(rect, slide.shape_yx, "An edit")
        check_pixels(values, rect, "An edit's labels")
        if values.max() > self.n_classes:
            raise DataError(
                f"Labels need values 0…{self.n_classes}, found {values.max()}. "
                f"Add the class to project.toml, or draw with a class that exists."
            )
        if isinstance(origin, Origin):
            origin = np.full(rect.shape, origin.value, np.uint8)
        check_pixels(origin, rect, "An edit's origins")
        if origin.max() > max(Origin):
            raise DataError(f"Origins need values 0…{max(Origin)}, found {origin.max()}.")
        return Pixels(np.array(values), np.where(values > 0, origin, 0).astype(np.uint8))
