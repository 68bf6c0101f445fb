"""``project.sqlite``: one connection, whole transactions, errors as sentences."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from unisemalign.errors import BusyError, ProjectError, UnwritableError
from unisemalign.runtime.files import FULL, explaining_full_disk, write_refusal

SCHEMA_VERSION = 1
_MAYBE_UNWRITABLE = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
}
"""What SQLite says when its files beside the tables find no room, or when it is not allowed."""

_SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE slides (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    relative_path TEXT,
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    spacing_um REAL NOT NULL,
    split TEXT NOT NULL
);
CREATE TABLE rounds (
    number INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    parent INTEGER REFERENCES rounds (number),
    method TEXT NOT NULL,
    preset TEXT NOT NULL,
    scores TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE regions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    slide_id INTEGER NOT NULL REFERENCES slides (id),
    y INTEGER NOT NULL, x INTEGER NOT NULL, h INTEGER NOT NULL, w INTEGER NOT NULL,
    state TEXT NOT NULL,
    split TEXT NOT NULL,
    score REAL,
    reason TEXT NOT NULL,
    round INTEGER
);
CREATE INDEX regions_of_slide ON regions (slide_id);
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    slide_id INTEGER NOT NULL REFERENCES slides (id),
    y INTEGER NOT NULL, x INTEGER NOT NULL, h INTEGER NOT NULL, w INTEGER NOT NULL,
    action TEXT NOT NULL,
    region_id INTEGER,
    round INTEGER,
    state TEXT NOT NULL,
    region_before TEXT,
    region_after TEXT,
    before BLOB NOT NULL,
    after BLOB NOT NULL
);
CREATE INDEX journal_state ON journal (state);
"""


class Database:
    """The project's tables. May be used from any thread; writes of other processes are waited for.

    Raises
    ------
    ProjectError
        From every method: the file is damaged, read-only, or the disk is full.
    BusyError
        If another process keeps the tables locked for longer than ten seconds.

    Attributes
    ----------
    read_only
        Why nothing can be written, as a sentence; ``None`` where it can.
    """

    def __init__(self, path: Path, *, read_only: str | None = None) -> None:
        self.read_only = read_only
        self._path = path
        self._lock = threading.RLock()
        self._copy = contextlib.ExitStack()
        with self._errors_told():
            place = str(path) if read_only is None else self._place_to_read()
            self._connection = sqlite3.connect(
                place,
                timeout=10,
                isolation_level=None,
                check_same_thread=False,
                uri=read_only is not None,
            )
            self._connection.row_factory = sqlite3.Row

    @classmethod
    def create(cls, path: Path) -> Database:
        """Make the tables in a new file."""
        database = cls(path)
        with database._errors_told():
            database._connection.execute("PRAGMA journal_mode = WAL")
            database._set_up()
        with database.transaction() as connection:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
        return database

    @classmethod
    def is_unused(cls, path: Path) -> bool:
        """Tell whether a file holds tables without a slide, or none yet: a killed ``new``'s."""
        with closing(sqlite3.connect(path)) as connection:
            try:
                rows = connection.execute("SELECT name FROM sqlite_master WHERE name = 'slides'")
                if rows.fetchone() is None:
                    rows = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
                else:
                    rows = connection.execute("SELECT 1 FROM slides LIMIT 1")
                return rows.fetchone() is None
            except sqlite3.Error:
                return False

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open the tables of an existing file and see that they are sound."""
        if not path.is_file():
            raise ProjectError(
                f"Cannot open the project: '{path}' is missing. It holds slides, regions and "
                f"rounds: take it from a backup."
            )
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            return cls._checked(cls(path, read_only=_read_only_sentence(path)))
        try:
            return cls._checked(cls(path))
        except UnwritableError as error:
            # SQLite writes beside the tables even to read them. A person can look, and export.
            return cls._checked(cls(path, read_only=str(error)))

    @classmethod
    def _checked(cls, database: Database) -> Database:
        path = database._path
        try:
            with database._errors_told():
                database._set_up()
                version = database._connection.execute("PRAGMA user_version").fetchone()[0]
                verdict = database._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise _damaged(path, str(verdict))
            if version > SCHEMA_VERSION:
                raise ProjectError(
                    f"'{path.name}': this release reads tables of version {SCHEMA_VERSION}, found "
                    f"version {version}. A newer release made them: install the newest "
                    f"napari-unisemalign."
                )
            if version < SCHEMA_VERSION:
                raise _damaged(path, "the tables are missing")
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close the connection. A second call does nothing."""
        with self._lock:
            self._connection.close()
            self._copy.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Return every row of a query."""
        with self._lock, self._errors_told():
            return self._connection.execute(sql, values).fetchall()

    def version(self) -> tuple[int, int]:
        """Return two numbers; the first changes when others have written, the second when this has.

        Between two calls with the same result the tables stayed as they were.
        """
        with self._lock, self._errors_told():
            others = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return int(others), self._connection.total_changes

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose changes are kept whole, or not at all if the block raises."""
        if self.read_only is not None:
            raise UnwritableError(self.read_only)
        with self._lock, self._errors_told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _set_up(self) -> None:
        # FULL: a power cut must not take back an edit that the person saw saved.
        self._connection.execute("PRAGMA synchronous = FULL")
        # On macOS alone fsync leaves the drive's own cache full; elsewhere these change nothing.
        self._connection.execute("PRAGMA fullfsync = ON")
        self._connection.execute("PRAGMA checkpoint_fullfsync = ON")
        self._connection.execute("PRAGMA foreign_keys = ON")

    def _place_to_read(self) -> str:
        """Return where SQLite reads the tables without writing anything beside them."""
        log = self._path.with_name(f"{self._path.name}-wal")
        if not log.exists() or log.stat().st_size == 0:
            return f"{self._path.as_uri()}?mode=ro&immutable=1"
        # The newest changes are in the log still, and only a writer can bring both together.
        folder = self._copy.enter_context(tempfile.TemporaryDirectory(prefix="unisemalign-"))
        for each in (self._path, log):
            shutil.copy(each, folder)
        return (Path(folder) / self._path.name).as_uri()

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        with explaining_full_disk(self._path):
            try:
                yield
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code == sqlite3.SQLITE_FULL:
                    raise OSError(errno.ENOSPC, str(error)) from error
                if code in _MAYBE_UNWRITABLE and (refusal := write_refusal(self._path.parent)):
                    if refusal.errno in FULL:
                        raise refusal from error
                    raise UnwritableError(_read_only_sentence(self._path)) from error
                raise _told(self._path, code, error) from error


def _read_only_sentence(path: Path) -> str:
    return (
        f"The project '{path.parent}' can be read and exported, not changed: its folder or "
        f"'{path.name}' may only be read. Give yourself the right to write there, or copy the "
        f"project to where you have it."
    )


def _told(path: Path, code: int, error: sqlite3.Error) -> ProjectError:
    if code == sqlite3.SQLITE_IOERR:
        return ProjectError(
            f"The disk or the network failed while '{path}' was in use: {error}. Nothing says that "
            f"the project is damaged. See that the disk is there and sound, then open it again."
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return BusyError(
            f"Another process keeps '{path.name}' locked for longer than ten seconds. "
            f"Wait until it is done, then try again."
        )
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return UnwritableError(
            f"Cannot write '{path}': {error}. Give yourself the right to write in that folder."
        )
    if isinstance(error, sqlite3.IntegrityError):
        return ProjectError(
            f"'{path.parent.name}' was changed by another process meanwhile ({error}): nothing of "
            f"this step was kept. Look at the project again, then repeat the step."
        )
    if isinstance(error, sqlite3.ProgrammingError):
        return ProjectError(f"The project '{path.parent}' has been closed. Open it again.")
    return _damaged(path, str(error))


def _damaged(path: Path, why: str) -> ProjectError:
    return ProjectError(
        f"'{path}' is damaged: {why}. Labels and models lie in other files and are untouched; "
        f"take project.sqlite from a backup."
    )
