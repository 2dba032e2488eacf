"""Opening the catalog: SQLite in WAL mode by default, PostgreSQL by URL; migrated to the newest schema on opening."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Connection, Dialect, any_, create_engine, event, inspect, literal, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.pool import PoolProxiedConnection

import whyray
from whyray.base.child_process import end_with_parent
from whyray.base.disk_space import DiskSpace, disk_space
from whyray.base.errors import CatalogNewer
from whyray.base.failures import is_conflict_of_transactions
from whyray.base.sealing import SealingKeys
from whyray.base.sources import Clock, IdSource, random_id, system_clock
from whyray.catalog.audit import SEALING, WAITING, append_waiting
from whyray.catalog.columns import Base
from whyray.catalog.partial_indexes import tell_postgresql
from whyray.catalog.postgresql import PostgresqlSessions, open_engine, take_your_time
from whyray.catalog.prepared import Prepared

_MIGRATION_LOCK = 0x77687972  # any fixed number: PostgreSQL's advisory lock for two processes that start together

_MIGRATIONS = Path(__file__).parent / "migrations"

_SWITCH_WITHIN = 60.0
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
"""SQLite's primary result codes while another connection is in the way."""

_ATTEMPTS = 5
"""At a transaction that others are in the way of."""
_LET_PASS = 0.05
"""Seconds before the next: at once, it would take the lock back from whom it was ended for."""

_NEW_ID = "whyray_new_id"

Work = TypeVar("Work")


@dataclass(frozen=True)
class BareTransaction:
    """A transaction on the driver's own cursor."""

    cursor: Any
    dialect: Dialect

    def execute(self, statement: Prepared, **values: Any) -> None:
        """Execute a statement that gives no answer."""
        statement.execute(self.cursor, self.dialect, **values)

    def execute_each(self, statement: Prepared, rows: Iterable[Mapping[str, Any]]) -> int:
        """Execute a statement with each of many sets of values; says how many rows that changed."""
        return statement.execute_each(self.cursor, self.dialect, rows)

    def row(self, statement: Prepared, **values: Any) -> Sequence[Any] | None:
        """The first row of an answer; None where it is empty."""
        statement.execute(self.cursor, self.dialect, **values)
        row: Sequence[Any] | None = self.cursor.fetchone()
        return row


class Catalog:
    """A connection pool to the catalog, the clock that its rows are stamped with, and the source of their ids.

    Safe for threads; not for use across a fork. `begin()` opens a write transaction, `read()` one that never writes.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Clock = system_clock,
        new_id: IdSource = random_id,
        keys: SealingKeys | None = None,
        migrate: bool = True,
        apart: bool = False,
    ) -> None:
        """Open it; with `migrate`, at the newest schema, `apart` in a process that ends with that where it can be."""
        self.url = make_url(url)
        self.clock = clock
        self.keys = keys
        """With what patient identifiers in the audit trail are sealed; plain where None."""
        self._info = {_NEW_ID: new_id, SEALING: keys}
        self._writing = threading.local()
        self.engine = _engine(self.url)
        self._postgresql = PostgresqlSessions(self.engine) if self.engine.dialect.name == "postgresql" else None
        if migrate and apart:
            upgrade_apart(self.engine)
        if migrate:
            upgrade(self.engine)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A transaction that is committed, durably, when the block ends, and rolled back if it raises.

        Raises
        ------
        RuntimeError
            If the thread is in one already: on SQLite it would wait a minute for itself and fail, and on PostgreSQL
            for ever, if both write the same row.
        """
        if getattr(self._writing, "begun", False):
            raise RuntimeError("this thread is writing to the catalog already")
        # a copy of its own: what is to be audited gathers there
        info: dict[str, Any] = {**self._info, WAITING: []}
        self._writing.begun = True
        try:
            with Session(self.engine, expire_on_commit=False, info=info) as session, session.begin():
                yield session
                append_waiting(session)
        finally:
            self._writing.begun = False

    def repeat(self, work: Callable[[Session], Work]) -> Work:
        """Do what is to be done in one transaction; anew, in another, if one beside it was in its way.

        `work` may be called several times: what it does outside the catalog has to bear that.
        """
        for attempt in range(1, _ATTEMPTS):
            try:
                with self.begin() as session:
                    return work(session)
            except DBAPIError as error:
                if not is_conflict_of_transactions(error):
                    raise
            time.sleep(attempt * _LET_PASS)
        with self.begin() as session:
            return work(session)

    @contextmanager
    def begin_bare(self) -> Iterator[BareTransaction]:
        """The same promise as `begin`, without SQLAlchemy's objects: for what is done for each instance.

        Raises
        ------
        DBAPIError
            If the database refuses, also for what the driver itself raises.
        RuntimeError
            As `begin`.
        """
        if getattr(self._writing, "begun", False):
            raise RuntimeError("this thread is writing to the catalog already")
        self._writing.begun = True
        try:
            with self._bare() as (connection, transaction):
                if self._postgresql is None:
                    transaction.cursor.execute("BEGIN IMMEDIATE")
                else:
                    self._postgresql.begin_bare(connection.info, transaction.cursor)
                try:
                    yield transaction
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
        finally:
            self._writing.begun = False

    def row(self, statement: Prepared, **values: Any) -> Sequence[Any] | None:
        """The first row of an answer, without SQLAlchemy's objects; raises DBAPIError."""
        with self._bare() as (_, transaction):
            return transaction.row(statement, **values)

    @contextmanager
    def _bare(self) -> Iterator[tuple[PoolProxiedConnection, BareTransaction]]:
        dialect = self.engine.dialect
        connection = self.engine.raw_connection()
        try:
            yield connection, BareTransaction(connection.cursor(), dialect)
        except dialect.loaded_dbapi.Error as error:
            lost = self._postgresql is not None and self._postgresql.is_lost(error)
            if lost or dialect.is_disconnect(error, connection, None):
                connection.invalidate(error)
            raise DBAPIError(None, None, error, connection_invalidated=lost) from error
        finally:
            connection.close()  # back into the pool, which rolls back what is left

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; objects stay usable after it."""
        engine = self.engine.execution_options(whyray_read=True)
        with Session(engine, expire_on_commit=False, info=self._info) as session:
            yield session

    def disk_space(self) -> DiskSpace | None:
        """What the disk of a SQLite catalog can still take; None where a server keeps it. Raises OSError."""
        if self.engine.dialect.name != "sqlite" or not self.url.database:
            return None
        return disk_space(Path(self.url.database).absolute().parent)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def new_id(session: Session) -> str:
    """An id for a new row, from the source that the session's catalog was opened with."""
    source: IdSource = session.info.get(_NEW_ID, random_id)
    return source()


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite catalog in a file."""
    return URL.create("sqlite", database=str(path))


def is_one_of(session: Session, column: InstrumentedAttribute[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Whether a column has one of many values: IN; on PostgreSQL as one array, and not as hundreds of parameters."""
    wanted = list(values)
    if session.get_bind().dialect.name != "postgresql":
        return column.in_(wanted)
    return column == any_(literal(wanted, ARRAY(column.type)))


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        tell_postgresql(Base.metadata)
        return open_engine(url)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": 60, "check_same_thread": False},
        pool_size=10,
        max_overflow=40,
        # what another connection wrote empties a connection's cache: the last one has the most in it
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        # pysqlite would begin transactions late and commit before DDL by itself; WhyRay says BEGIN itself, below
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=60000")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once: a read that later writes would fail with 'database is locked'
        reading = connection.get_execution_options().get("whyray_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode. The switch of a new database doesn't heed the busy time-out, so it is tried again here."""
    deadline = time.monotonic() + _SWITCH_WITHIN
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # a full disk, or a folder that can't be written, is for its administrator to mend: told at once
            if error.sqlite_errorcode & 0xFF not in _LOCKED or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def upgrade(engine: Engine) -> None:
    """Bring the schema to the newest revision; safe when several processes start together.

    Raises
    ------
    CatalogNewer
        If a later version of WhyRay was here: nothing is changed.
    """
    if is_newest(engine):
        return
    # 12 MB and a quarter of a second that a role needs only when it makes or changes the schema
    from alembic import command
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            take_your_time(connection)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def upgrade_apart(engine: Engine) -> None:
    """As `upgrade`, in a process of its own, so that this one need not load and keep what migrates.

    Where that process fails, nothing is changed and nothing is raised: `upgrade` tells why.
    """
    if engine.url.database in (None, "", ":memory:") or is_newest(engine):
        return
    url = engine.url.render_as_string(hide_password=False)
    subprocess.run(  # nosec B603  # WhyRay itself, without a shell
        [sys.executable, "-m", "whyray.catalog.upgraded"],
        input=url.encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
        start_new_session=True,  # Ctrl-C is for the role, which ends when this is done
        check=False,
    )


def is_newest(engine: Engine) -> bool:
    """Whether the schema is that of this version of WhyRay; False where it is older, or where there is none yet.

    Raises
    ------
    CatalogNewer
        If a later version was here.
    """
    with engine.execution_options(whyray_read=True).connect() as connection:
        revision = _revision(connection)
    if revision is not None and revision not in _revisions():
        raise CatalogNewer(
            f"the catalog's schema is {revision}, of a later version; the newest that WhyRay {whyray.__version__} "
            f"knows is {newest_revision()}"
        )
    return revision == newest_revision()


def newest_revision() -> str:
    """The revision that the migrations lead to: their files bear their revisions, in order."""
    return max(_revisions())


def _revisions() -> set[str]:
    return {path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")}


def _revision(connection: Connection) -> str | None:
    """The revision of a database; None where no migration has run yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
