"""What waits on disk until Kafka has confirmed it: an outbox in SQLite, first in, first out, within bounds."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import RLock
from typing import TypeVar

from footfall_events.errors import ConfigError, FootfallError

from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.reserve import Reserve

FILE = "spool.sqlite"

_FORMAT = 1
_TABLES = """
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, also after the newest row is gone
    topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    spooled_ms INTEGER NOT NULL            -- newest event time that the spool had seen by then
);
CREATE TABLE clock (sensor_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL);
"""
_PRAGMAS = {
    # Before the first access: no other process gets in, and no file of shared memory is needed.
    "locking_mode": "EXCLUSIVE",
    "journal_mode": "WAL",
    "synchronous": "FULL",
    # A megabyte of changes at most waits for its place in the file: the reserve below must hold it.
    "wal_autocheckpoint": 256,
    # What is confirmed or over its age is gone from the disk, not only from the table.
    "secure_delete": "ON",
}
_HEAD = "SELECT id, spooled_ms FROM message ORDER BY id LIMIT 1"
_ATTEMPTS = 5
_ROOM_MESSAGES = 60  # dropped at a time if the disk is full: five minutes of heartbeats
_ANY_SIZE = 2**31  # pages

T = TypeVar("T")


class SpoolBroken(FootfallError):
    """The disk under the spool takes nothing any more: what is heard from now on could not be kept."""


class Trouble(Enum):
    """What an error of SQLite asks for."""

    IN_USE = "another process holds the file"
    NO_ROOM = "the disk is full, or a write to it failed"
    DAMAGED = "the file is no sound database"
    OTHER = "nothing that we could cure"


_TROUBLES = {
    sqlite3.SQLITE_BUSY: Trouble.IN_USE,
    sqlite3.SQLITE_LOCKED: Trouble.IN_USE,
    sqlite3.SQLITE_FULL: Trouble.NO_ROOM,
    sqlite3.SQLITE_IOERR: Trouble.NO_ROOM,
    sqlite3.SQLITE_CORRUPT: Trouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: Trouble.DAMAGED,
}


def trouble(error: sqlite3.Error) -> Trouble:
    """Class of an error, by the primary part of its code."""
    return _TROUBLES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, Trouble.OTHER)


@dataclass(frozen=True)
class Bounds:
    """How much may wait, in bytes of the file, and for how long, in event time."""

    most_bytes: int
    most_age_ms: int

    def broken(self, held_bytes: int, oldest_age_ms: int) -> str:
        """The bound that asks for the oldest message to go; empty if none does. Exactly at a bound nothing goes."""
        if oldest_age_ms > self.most_age_ms:
            return "age"
        return "bytes" if held_bytes > self.most_bytes else ""


@dataclass(frozen=True)
class Spooled:
    """One message as it lies in the spool. A later one has a larger id."""

    id: int
    topic: str
    key: bytes
    value: bytes


class Spool:
    """The messages of one collector that Kafka has not confirmed, and the newest clock it has sent.

    `append` has returned means that a SIGKILL or a power cut loses the message no more. One process at a time.
    May be used from several threads.
    """

    def __init__(self, directory: Path, bounds: Bounds, metrics: CollectorMetrics, say: Callable[[str], None]) -> None:
        """Open or begin `directory`'s spool; raises ConfigError if that cannot work, or another process has it."""
        self._path, self._bounds, self._metrics, self._say = directory / FILE, bounds, metrics, say
        self._lock, self._reserve = RLock(), Reserve(directory / "spool.reserve")
        self._messages = self._last_id = self._newest_ms = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = self._open_sound()
            self._measure()
        except OSError as error:
            raise ConfigError([f"spool {directory}: {error.strerror}: give a directory that can be written"]) from error
        except sqlite3.Error as error:
            in_use = trouble(error) is Trouble.IN_USE
            what = "another collector uses it: give each its own" if in_use else str(error)
            raise ConfigError([f"spool {directory}: {what}"]) from error

    def append(self, topic: str, key: bytes, value: bytes, at_ms: int, sensor_id: str | None = None) -> None:
        """Keep one message; `at_ms` is the sensor's clock, remembered for `sensor_id`.

        What is over a bound then goes, oldest first, counted. Raises SpoolBroken if nothing can be written.
        """

        def change() -> Counter[str]:
            newest_ms = max(self._newest_ms, at_ms)
            insert = "INSERT INTO message (topic, key, value, spooled_ms) VALUES (?, ?, ?, ?)"
            self._last_id = self._connection.execute(insert, (topic, key, value, newest_ms)).lastrowid or 0
            if sensor_id is not None:
                self._connection.execute("INSERT OR REPLACE INTO clock VALUES (?, ?)", (sensor_id, at_ms))
            return self._keep_bounds(newest_ms)

        with self._lock:
            dropped = self._surely(lambda: self._in_transaction(change))
            self._newest_ms = max(self._newest_ms, at_ms)
            self._messages += 1
            for reason, count in dropped.items():
                self._count_dropped(reason, count)
            self._measure()

    def after(self, last_id: int, count: int) -> list[Spooled]:
        """The oldest messages behind an id, at most `count`."""
        query = "SELECT id, topic, key, value FROM message WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock:
            rows = self._surely(lambda: self._connection.execute(query, (last_id, count)).fetchall())
        return [Spooled(*row) for row in rows]

    def first_id(self) -> int | None:
        """Id of the oldest message."""
        with self._lock:
            head = self._surely(lambda: self._connection.execute(_HEAD).fetchone())
        return None if head is None else int(head[0])

    def remove(self, ids: Iterable[int]) -> None:
        """Forget messages: Kafka has confirmed them, or refused them for ever."""
        rows = [(one,) for one in ids]

        def change() -> int:
            return self._connection.executemany("DELETE FROM message WHERE id = ?", rows).rowcount

        if rows:
            with self._lock:
                self._messages -= self._surely(lambda: self._in_transaction(change))
                self._measure()

    @property
    def messages(self) -> int:
        return self._messages

    def clock_ms(self, sensor_id: str) -> int:
        """The last clock of a sensor that was spooled here; 0 if it never was."""
        query = "SELECT at_ms FROM clock WHERE sensor_id = ?"
        with self._lock:
            found = self._surely(lambda: self._connection.execute(query, (sensor_id,)).fetchone())
        return 0 if found is None else int(found[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # -- inside ----------------------------------------------------------------------------------------

    def _keep_bounds(self, newest_ms: int) -> Counter[str]:
        """Drop the oldest while a bound is broken; how many, by reason."""
        dropped: Counter[str] = Counter()
        while head := self._connection.execute(_HEAD).fetchone():
            reason = self._bounds.broken(self._held_bytes(), newest_ms - head[1])
            if not reason:
                break
            self._connection.execute("DELETE FROM message WHERE id = ?", (head[0],))
            dropped[reason] += 1
        return dropped

    def _held_bytes(self) -> int:
        """Pages in use: a file that has grown keeps its size and fills its free pages first."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _count_dropped(self, reason: str, count: int) -> None:
        self._messages -= count
        self._metrics.spool_dropped.labels(reason).inc(count)

    def _measure(self) -> None:
        head = self._connection.execute(_HEAD).fetchone()
        self._metrics.spool_messages.set(self._messages)
        self._metrics.spool_bytes.set(self._held_bytes())
        self._metrics.spool_oldest.set((self._newest_ms - head[1]) / 1000 if head else 0)

    def _in_transaction(self, change: Callable[[], T]) -> T:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = change()
            self._connection.execute("COMMIT")
            return result
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _surely(self, action: Callable[[], T]) -> T:
        """Do it, again after making room on a full disk, or in a new file if the old one turns out to be damaged."""
        last: sqlite3.Error | OSError | None = None
        for attempt in range(_ATTEMPTS):
            try:
                if isinstance(last, sqlite3.Error):
                    self._cure(last, attempt)
                return action()
            except (sqlite3.Error, OSError) as error:
                last = error
                if isinstance(error, OSError) or trouble(error) not in (Trouble.NO_ROOM, Trouble.DAMAGED):
                    break
        raise SpoolBroken(f"spool {self._path}: {last}: what is heard cannot be kept any more") from last

    def _cure(self, error: sqlite3.Error, attempt: int) -> None:
        if trouble(error) is Trouble.DAMAGED:
            self._connection.close()
            self._set_aside(error)
            self._connection = self._open_sound()
            return
        if self._reserve.held:
            self._reserve.give_up()
        elif not self._reserve.hold():
            drop = "DELETE FROM message WHERE id IN (SELECT id FROM message ORDER BY id LIMIT ?)"
            self._count_dropped(
                "disk_full", self._in_transaction(lambda: self._connection.execute(drop, (_ROOM_MESSAGES,)).rowcount)
            )
        # What waits in the log of changes gets its place in the file; then the log is written over.
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        self._limit_growth(self._connection)

    def _limit_growth(self, connection: sqlite3.Connection) -> None:
        """Without a reserve the file must not grow: its log could not be emptied any more, and nothing be dropped."""
        pages = _ANY_SIZE if self._reserve.held else connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    def _open_sound(self) -> sqlite3.Connection:
        """A database that passes its check: the one that is there, or a new one once that is set aside."""
        # A predecessor that is just being killed gets its seconds.
        connection = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
            self._reserve.hold()
            self._limit_growth(connection)
            self._messages = connection.execute("SELECT count(*) FROM message").fetchone()[0]
            self._last_id = max(self._last_id, connection.execute("SELECT seq FROM sqlite_sequence").fetchone()[0])
            for query in ("SELECT max(at_ms) FROM clock", "SELECT max(spooled_ms) FROM message"):
                self._newest_ms = max(self._newest_ms, connection.execute(query).fetchone()[0] or 0)
        except sqlite3.Error as error:
            connection.close()
            if trouble(error) is not Trouble.DAMAGED:
                raise
            self._set_aside(error)
            return self._open_sound()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Take the file for this process alone, make its tables if it is new, and check it whole."""
        for name, value in _PRAGMAS.items():
            connection.execute(f"PRAGMA {name} = {value}").fetchone()
        connection.execute("BEGIN EXCLUSIVE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in _TABLES.strip().split(";\n"):
                connection.execute(statement)
            # A file that replaces a damaged one goes on counting: a message in the air keeps an id of its own.
            connection.execute("INSERT INTO sqlite_sequence VALUES ('message', ?)", (self._last_id,))
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.execute("COMMIT")
        if version > _FORMAT:
            raise ConfigError([f"spool {self._path}: of format {version}, this release knows {_FORMAT}: upgrade"])
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            error = sqlite3.DatabaseError(verdict)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Rename the files, so that whoever wants to can still look for messages in them."""
        number = 1
        while any(self._path.parent.glob(f"{FILE}.damaged-{number}*")):
            number += 1
        aside = self._path.with_name(f"{FILE}.damaged-{number}")
        # The log first: without its database a log would be deleted by the next start.
        log = Path(f"{self._path}-wal")
        if log.exists():
            log.rename(f"{aside}-wal")
        self._path.rename(aside)
        self._metrics.spool_damaged.inc()
        self._say(f"the spool is damaged ({error}): set aside as {aside}, and a new one is begun")
