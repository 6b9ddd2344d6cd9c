"""An arbiter in a SQLite file, for two nodes on one machine.

Each call opens a connection of its own. A held one would go on with a file that was deleted or replaced under it, while
the other node already uses the new one; and SQLite must not be carried between threads or over a fork. It costs a
fraction of a millisecond, and the arbiter is never on the path of a write.

Nothing here reads the file but SQLite: closing any other descriptor of it would drop the locks of this whole process.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from ctlha_trio._errors import ArbiterError, ArbiterSilentError, ConfigError, ForeignArbiterError, NoThreadError
from ctlha_trio.arbiter._codec import decode_record, encode_record, require_resource
from ctlha_trio.arbiter._problems import CallProblems
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import SwapAnswer, Versioned, is_regular, is_there, run_in_thread, sync_folder

BUSY_TIMEOUT_S = 0.5
"""Wait for the other node's lock. A swap holds it for some milliseconds; a longer wait would outlast the pair's
patience with a lost peer, and whoever stops a node waits for the call."""
CALLS_AT_ONCE = 2
"""One read in the background and one swap. Own threads, so that a hanging disk elsewhere cannot use them up."""
APPLICATION_ID = 0x63746C68
"""Marks a SQLite file as ours: "ctlh"."""
FILE_FORMAT = 1
_KEY = "arbiter.sqlite"
_GONE = "the pair's data is not there any more"
"""What the remedy of a silent arbiter sends to."""
_SCHEMA = f"""
    PRAGMA journal_mode = DELETE;
    PRAGMA synchronous = EXTRA;
    BEGIN IMMEDIATE;
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {FILE_FORMAT};
    CREATE TABLE arbiter (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        identity TEXT NOT NULL,
        revision INTEGER NOT NULL
    );
    CREATE TABLE record (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
"""


def create_sqlite_arbiter(path: str | Path, record: Record) -> str:
    """Make an arbiter's file, mode 0600, that holds ``record`` at revision 1; durable when this returns.

    Returns the random identity of the new file. ``ConfigError`` if the path exists: nothing is ever overwritten.
    ``ArbiterError`` if it cannot be written; then there is no new file.
    """
    body = encode_record(record)
    identity = secrets.token_hex(16)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        raise ConfigError(path, _KEY, "exists; it is not overwritten") from error
    except OSError as error:
        raise ArbiterError(f"{path}: {error.strerror}") from error
    try:
        with closing(_connect(Path(path))) as connection:
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO arbiter VALUES (1, ?, 1)", (identity,))
            connection.execute("INSERT INTO record VALUES (1, ?)", (body,))
            connection.execute("COMMIT")
        sync_folder(Path(path).parent)
    except (sqlite3.Error, OSError) as error:
        os.unlink(path)
        raise ArbiterError(f"{path}: {error}") from error
    return identity


@attrs.define(eq=False, kw_only=True)
class SqliteArbiter:
    """The record in an existing SQLite file. Made by ``open``; holds nothing open between calls."""

    identity: str
    """The random id inside the file."""
    _path: Path
    _kept: Record
    """As found at the opening; only its resource counts."""
    _problems: CallProblems = attrs.field(factory=CallProblems, init=False)
    _threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(CALLS_AT_ONCE), init=False)

    @staticmethod
    async def open(path: str | Path, *, cluster: str, resource: str) -> "SqliteArbiter":
        """Look at the file and remember its identity. Writes nothing. A checkpoint.

        ``ConfigError`` if the file is not there, not ours, or of another cluster or resource. ``ArbiterError`` if it
        cannot be read now, or if what it holds is of a later version; ``NoThreadError`` is no fault of the arbiter.
        """
        identity, record = await run_in_thread(partial(_inspect, Path(path)))
        if (record.cluster, record.resource) != (cluster, resource):
            found = f"{record.cluster}/{record.resource}"
            raise ConfigError(path, _KEY, f"belongs to {found}, not to {cluster}/{resource}")
        return SqliteArbiter(identity=identity, path=Path(path), kept=record)

    async def read(self) -> Versioned:
        """The record as it is now. A checkpoint; once it runs it is not cancelled, but bounded by the busy time-out.

        ``ArbiterError`` if it cannot be had, or if another file lies in the place of the one that was opened.
        """
        try:
            return await run_in_thread(self._read, limiter=self._threads)
        except NoThreadError as error:
            self._problems.note("read", f"{self._path}: {error}")
            raise ArbiterSilentError(f"{self._path}: {error}", sent=False) from error

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        """Replace the record if its revision still is ``expected_revision``. A checkpoint.

        Cancelled before its thread runs: not applied; later it is not cancelled. ``InvalidError`` for a record of
        another resource or one that cannot be kept.
        """
        require_resource(record, self._kept.cluster, self._kept.resource)
        body = encode_record(record)
        try:
            return await run_in_thread(partial(self._swap, expected_revision, body), limiter=self._threads)
        except NoThreadError as error:
            return self._unswapped(SwapOutcome.REFUSED, error)  # it was not begun

    def _read(self) -> Versioned:
        try:
            with _reading(self._path) as connection:
                identity, revision, body = _select(connection)
            self._require_ours(identity)
            record = decode_record(body)
        except ArbiterError as error:
            self._problems.note("read", str(error))
            raise
        self._problems.note("read", "")
        return Versioned(record, revision)

    def _require_ours(self, identity: str) -> None:
        if identity != self.identity:
            raise ForeignArbiterError(f"{self._path}: another arbiter's data lies there now")

    async def probe(self) -> bool:
        """Whether a transaction could be committed that leaves all as it is. A checkpoint; cancelled as ``cas``.

        SQLite writes no page to which nothing was done: so the revision is counted up, and down again.
        """
        try:
            return await run_in_thread(self._probe, limiter=self._threads)
        except NoThreadError as error:
            self._note_swap(error)
            return False

    def _probe(self) -> bool:
        try:
            with closing(_connect(self._path)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._require_ours(_select(connection)[0])
                connection.execute("UPDATE arbiter SET revision = revision + 1")
                connection.execute("UPDATE arbiter SET revision = revision - 1")
                connection.execute("COMMIT")
        except (sqlite3.Error, ArbiterError) as error:
            self._note_swap(error)
            return False
        self._problems.note("swap", "")
        return True

    def _swap(self, expected_revision: int, body: str) -> SwapAnswer:
        try:
            connection = _connect(self._path)
        except sqlite3.Error as error:
            return self._unswapped(SwapOutcome.REFUSED, error)
        # Closing rolls back what was begun and not committed.
        with closing(connection):
            try:
                connection.execute("BEGIN IMMEDIATE")
                identity, revision, _ = _select(connection)
                self._require_ours(identity)
                if revision != expected_revision:
                    self._problems.note("swap", "")
                    return SwapAnswer(SwapOutcome.LOST)
                connection.execute("UPDATE arbiter SET revision = ?", (expected_revision + 1,))
                connection.execute("UPDATE record SET body = ?", (body,))
            except (sqlite3.Error, ArbiterError) as error:
                # Whatever reached the file before COMMIT is undone by its journal, here or by whoever opens it next.
                return self._unswapped(SwapOutcome.REFUSED, error)
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                return self._unswapped(SwapOutcome.UNKNOWN, error)
        self._problems.note("swap", "")
        return SwapAnswer(SwapOutcome.WON, expected_revision + 1)

    def _unswapped(self, outcome: SwapOutcome, error: Exception) -> SwapAnswer:
        self._note_swap(error)
        return SwapAnswer(outcome)

    def _note_swap(self, error: Exception) -> None:
        self._problems.note("swap", str(error) if isinstance(error, ArbiterError) else f"{self._path}: {error}")


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing file; without ``mode=rw`` SQLite would make a new, empty arbiter."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )
    try:
        # EXTRA: the journal's deletion, which is the commit, is made durable too. A property of the connection.
        connection.execute("PRAGMA synchronous = EXTRA")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One read transaction; what SQLite has against it becomes an ``ArbiterError``.

    ``ForeignArbiterError`` if nothing is in the file, which to SQLite is a database without tables.
    """
    try:
        with closing(_connect(path)) as connection:
            connection.execute("BEGIN")
            yield connection
            with suppress(sqlite3.Error):  # everything was read; only the lock is given back
                connection.execute("COMMIT")
    except sqlite3.Error as error:
        if _is_empty(path):
            raise ForeignArbiterError(f"{path}: has no bytes: {_GONE}") from error
        gone = f"there is no such file: {_GONE}"
        raise ArbiterError(f"{path}: {gone if _is_missing(path) else error}") from error


def _is_missing(path: Path) -> bool:
    """Whether nothing is there, as far as this user can see."""
    with suppress(OSError):
        return not is_there(path)
    return False


def _is_empty(path: Path) -> bool:
    """Whether a file of no bytes is there. Does not open it."""
    with suppress(OSError):
        return path.stat().st_size == 0
    return False


def _select(connection: sqlite3.Connection) -> tuple[str, int, str]:
    """Identity, revision and the record's text, in one consistent view. ``ArbiterError`` if any is missing."""
    row = connection.execute("SELECT identity, revision, body FROM arbiter JOIN record USING (one)").fetchone()
    if row is None:
        raise ForeignArbiterError("the arbiter holds no record")
    identity, revision, body = row
    if not (isinstance(identity, str) and isinstance(revision, int) and isinstance(body, str)):
        raise ArbiterError("the arbiter's table holds values of the wrong type")
    return identity, revision, body


def _problem_of(path: Path) -> str:
    """Why what lies there cannot be an arbiter's file; empty if it can."""
    try:
        if not is_there(path):
            return "there is no such file"
        if not is_regular(path):
            return "is not a regular file"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if not os.access(path, os.R_OK | os.W_OK):
        return "may not be read or written"
    return "has no bytes, and is not an arbiter's file: it was cut short, or never was one" if _is_empty(path) else ""


def _inspect(path: Path) -> tuple[str, Record]:
    if problem := _problem_of(path):
        raise ConfigError(path, _KEY, problem)
    try:
        with _reading(path) as connection:
            _require_ours(path, connection)
            identity, _, body = _select(connection)
    except ArbiterError as error:
        if isinstance(error.__cause__, sqlite3.Error) and error.__cause__.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ConfigError(path, _KEY, "is not an arbiter's file") from error
        raise
    return identity, decode_record(body)


def _require_ours(path: Path, connection: sqlite3.Connection) -> None:
    pragmas = ("application_id", "user_version", "journal_mode")
    application, file_format, journal = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
    if application != APPLICATION_ID:
        raise ConfigError(path, _KEY, "is not an arbiter's file")
    if file_format != FILE_FORMAT:
        raise ConfigError(path, _KEY, f"has format {file_format}; this version knows {FILE_FORMAT}")
    if journal != "delete":
        raise ConfigError(path, _KEY, f"was switched to journal mode {journal}; only delete is safe here")
