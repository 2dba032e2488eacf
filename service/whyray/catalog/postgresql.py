"""What WhyRay asks of PostgreSQL, to stand a failover, a frozen client, a pooler, and a server set up otherwise.

Nothing here is relied on for what one transaction promises: behind a pooler that gives each transaction another
session (pgbouncer's `pool_mode = transaction`), what was set for a session may not be in force.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine, ExceptionContext

from whyray.base.failures import READ_ONLY_TRANSACTION

_OF_A_CONNECTION: dict[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's: without them who had asked a server that vanished waits for two hours. What the URL says goes first."""

_SETTINGS: tuple[tuple[str, str, str | None], ...] = (
    # all that the catalog is asked is answered from an index within milliseconds: to compile a query, or to start two
    # processes for it, takes ten
    ("jit", "off", None),
    ("max_parallel_workers_per_gather", "0", None),
    # senders are told Success after a commit: it must be one
    ("synchronous_commit", "on", "off"),
    # a client that vanished or was frozen within a transaction must not hold its locks for hours, nor who waits for it
    ("lock_timeout", "60s", "0"),
    ("idle_in_transaction_session_timeout", "120s", "0"),
    ("tcp_keepalives_idle", "30", "0"),
    ("tcp_keepalives_interval", "10", "0"),
    ("tcp_keepalives_count", "3", "0"),
    ("tcp_user_timeout", "60s", "0"),
)
"""Of a session: name, value, and instead of what the server's administrator has set it is; None: of anything."""

_SET = (
    "SELECT known.name, set_config(known.name, wanted.value, false) FROM pg_settings AS known "
    "JOIN unnest(%s::text[], %s::text[], %s::text[]) AS wanted (name, value, instead_of) ON wanted.name = known.name "
    "WHERE wanted.instead_of IS NULL OR known.reset_val = wanted.instead_of"
)
_NO_LIMITS = (
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN "
    "('lock_timeout', 'statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')"
)
_COMMITS_EARLY = "whyray_commits_early"
_COMMIT_DURABLY = "SET LOCAL synchronous_commit TO on"

_NOT_PREPARED = {"26000", "42P05"}
"""SQLSTATEs of a prepared statement that this session does not have, or has of another: a pooler is in between."""


def open_engine(url: URL) -> Engine:
    """An engine; each connection is given up when the network or the server's machine has been silent for a minute."""
    arguments = {name: value for name, value in _OF_A_CONNECTION.items() if name not in url.query}
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        connect_args=arguments,
        # what the locks and SKIP LOCKED are written for, whatever the server's default is
        isolation_level="READ COMMITTED",
    )


def take_your_time(connection: Connection) -> None:
    """Let this transaction, and what it waits for, take as long as it takes: it migrates."""
    connection.exec_driver_sql(_NO_LIMITS)


class PostgresqlSessions:
    """Prepares each session of an engine, and knows after which errors it is of no use any more."""

    def __init__(self, engine: Engine) -> None:
        self._prepares = True
        event.listen(engine, "connect", self._opened)
        event.listen(engine, "begin", self._begun)
        event.listen(engine, "handle_error", self._failed)

    def begin_bare(self, info: MutableMapping[str, Any], cursor: Any) -> None:
        """Begin a transaction that writes, on the driver's own cursor; `info` is its connection's."""
        if info.get(_COMMITS_EARLY):
            cursor.execute(_COMMIT_DURABLY)

    def is_lost(self, error: BaseException) -> bool:
        """Whether the next transaction is to have another connection, though this one still answers.

        After a failover a connection may lead to a server that is a standby now; and a pooler may have given its
        session to somebody else, so that none is prepared any more.
        """
        state = getattr(error, "sqlstate", None)
        if state in _NOT_PREPARED:
            self._prepares = False
        return state == READ_ONLY_TRANSACTION or state in _NOT_PREPARED

    def _opened(self, connection: Any, record: Any) -> None:
        if not self._prepares:
            connection.prepare_threshold = None
        with connection.cursor() as cursor:
            names, values, instead_of = (list(column) for column in zip(*_SETTINGS, strict=True))
            given = {name for name, _ in cursor.execute(_SET, (names, values, instead_of)).fetchall()}
        connection.commit()
        record.info[_COMMITS_EARLY] = "synchronous_commit" in given

    def _begun(self, connection: Connection) -> None:
        if connection.info.get(_COMMITS_EARLY) and not connection.get_execution_options().get("whyray_read", False):
            connection.exec_driver_sql(_COMMIT_DURABLY)

    def _failed(self, context: ExceptionContext) -> None:
        if self.is_lost(context.original_exception):
            context.is_disconnect = True
