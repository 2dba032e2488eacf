"""A PostgreSQL that was set up otherwise, failed over, lost a client, or stands behind a pooler of connections."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from catalog.conftest import Postgres
from catalog.rows import NOON, job, received
from peers import free_port, until
from whyray.base.failures import typed_error
from whyray.base.sources import random_id
from whyray.catalog import Catalog, clock_readings, events, jobs, studies
from whyray.catalog.postgresql import open_engine, take_your_time


@pytest.fixture
def url(postgres: Postgres) -> URL:
    return postgres.new_database(f"own {random_id()}")


@pytest.fixture
def opened(url: URL) -> Iterator[Catalog]:
    catalog = Catalog(url)
    yield catalog
    catalog.close()


def order(postgres: Postgres, statement: str) -> None:
    """What an administrator says."""
    engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def setting(catalog: Catalog, name: str) -> str:
    with catalog.begin() as session:
        return str(session.scalar(text(f"SHOW {name}")))


def forget_prepared(cursor: Any) -> int:
    """As if the session were another, without the driver's knowledge; says how many there were."""
    names = cursor.execute("SELECT name FROM pg_prepared_statements").fetchall()
    for (name,) in names:
        cursor.execute(f'DEALLOCATE "{name}"')
    return len(names)


def test_what_the_locks_are_written_for_holds_whatever_the_servers_default_is(postgres: Postgres, url: URL) -> None:
    order(postgres, f"ALTER DATABASE \"{url.database}\" SET default_transaction_isolation = 'serializable'")
    catalog = Catalog(url)
    assert setting(catalog, "transaction_isolation") == "read committed"
    with catalog.read() as session:
        assert session.scalar(text("SHOW transaction_isolation")) == "read committed"
    catalog.close()


def test_a_commit_is_one_though_a_pooler_gives_each_transaction_another_session(opened: Catalog) -> None:
    """The server says committed before it is, and what was asked of the first session is not known to the second."""
    other_session = text("RESET ALL")
    with opened.begin() as session:
        session.execute(other_session)
    assert setting(opened, "synchronous_commit") == "on"
    with opened.begin() as session:
        session.execute(other_session)
    with opened.begin_bare() as transaction:
        (level,) = transaction.cursor.execute("SHOW synchronous_commit").fetchone()
    assert level == "on"


def test_a_session_that_a_pooler_gave_to_somebody_else_fails_once_and_passes(opened: Catalog) -> None:
    """It was a defect, to be reported, and failed jobs for good."""

    def look() -> None:
        with opened.begin() as session:
            events.record(session, opened.clock(), "info", "job.created", "as often as is prepared")

    for _ in range(8):
        look()
    with opened.begin_bare() as transaction:
        assert forget_prepared(transaction.cursor) > 0, "or this tests nothing"
    failures = []
    for _ in range(20):
        try:
            look()
        except DBAPIError as error:
            failures.append(typed_error(error))
    assert [failure.retriable for failure in failures] == [True]
    with opened.begin() as session:
        assert session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_what_is_bare_passes_too(opened: Catalog) -> None:
    with opened.begin() as session:
        studies.add_instance(session, received(1), NOON)
    failures = []
    for number in range(20):
        try:
            with opened.begin_bare() as transaction:
                transaction.cursor.execute("SELECT 1 FROM studies WHERE study_instance_uid = %s", ["1.2.1"])
                if number == 8:
                    assert forget_prepared(transaction.cursor) > 0, "or this tests nothing"
        except DBAPIError as error:
            failures.append(typed_error(error))
    assert [failure.retriable for failure in failures] == [True]


@pytest.mark.parametrize("bare", [False, True], ids=["with SQLAlchemy", "bare"])
def test_after_a_failover_to_a_server_that_takes_no_writes_the_next_one_is_found(
    postgres: Postgres, opened: Catalog, bare: bool
) -> None:
    """A connection that was made to a standby stayed in the pool, and refused each write until a role was restarted."""
    whose = f'ALTER DATABASE "{opened.url.database}" '

    def write() -> None:
        if bare:
            with opened.begin_bare() as transaction:
                transaction.cursor.execute("DELETE FROM processes")
            return
        with opened.begin() as session:
            events.record(session, opened.clock(), "info", "job.created", "")

    order(postgres, whose + "SET default_transaction_read_only = on")
    opened.engine.dispose()
    with pytest.raises(DBAPIError) as refused:
        write()
    failure = typed_error(refused.value)
    assert failure.retriable
    assert "takes no writes" in failure.message
    with opened.read() as session:
        assert events.recent(session) == [], "what only reads goes on"
    order(postgres, whose + "RESET default_transaction_read_only")
    with pytest.raises(DBAPIError):
        write()  # over the connection that was made for reading
    write()


def test_a_server_that_vanished_is_given_up_within_a_minute(opened: Catalog) -> None:
    """Who had asked it something waited for two hours: nothing tells a client that its server lost power."""
    connection = opened.engine.raw_connection()
    with socket.socket(fileno=os.dup(connection.driver_connection.fileno())) as link:  # type: ignore[union-attr]
        asked = {
            name: link.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    connection.close()
    assert asked == {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


def test_a_worker_whose_machine_vanished_within_a_transaction_holds_its_locks_for_a_minute(opened: Catalog) -> None:
    """The server believed in it for two hours, and every other worker waited for the row."""
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    assert [setting(opened, name) for name in names] == ["30", "10", "3", "60000"]
    assert setting(opened, "idle_in_transaction_session_timeout") == "2min"
    assert setting(opened, "lock_timeout") == "1min"


def test_what_the_administrator_has_set_is_left(postgres: Postgres, url: URL) -> None:
    order(postgres, f"ALTER DATABASE \"{url.database}\" SET lock_timeout = '5s'")
    order(postgres, f"ALTER DATABASE \"{url.database}\" SET idle_in_transaction_session_timeout = '20s'")
    given = url.update_query_dict({"keepalives_idle": "7", "connect_timeout": "3"})
    catalog = Catalog(given)
    assert setting(catalog, "lock_timeout") == "5s"
    assert setting(catalog, "idle_in_transaction_session_timeout") == "20s"
    connection = catalog.engine.raw_connection()
    with socket.socket(fileno=os.dup(connection.driver_connection.fileno())) as link:  # type: ignore[union-attr]
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
    connection.close()
    catalog.close()


def claimed_at_once(catalog: Catalog, job_id: str) -> None:
    with catalog.begin() as session:
        session.execute(text("SET LOCAL lock_timeout TO '1ms'"))
        jobs.claim(session, job_id, "worker", NOON)


def test_who_waits_for_a_lock_that_nobody_gives_back_is_told(postgres: Postgres, opened: Catalog) -> None:
    with opened.begin() as session:
        made = job(session)
    frozen = create_engine(opened.url)
    with frozen.connect() as holder:
        holder.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
        with pytest.raises(OperationalError) as told:
            claimed_at_once(opened, made.id)
    frozen.dispose()
    assert typed_error(told.value).retriable


def test_a_migration_waits_for_another_as_long_as_that_takes(postgres: Postgres, url: URL) -> None:
    order(postgres, f"ALTER DATABASE \"{url.database}\" SET lock_timeout = '1ms'")
    first = open_engine(url)
    problems: list[Exception] = []

    def start() -> None:
        try:
            Catalog(url).close()
        except Exception as error:
            problems.append(error)

    with first.connect() as migrating:
        migrating.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x77687972})
        second = threading.Thread(target=start)
        second.start()
        waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with first.connect() as looking:
            until(lambda: looking.scalar(waits) == 1 or bool(problems), what="the second's wait", deadline=60)
        migrating.rollback()
    second.join()
    first.dispose()
    assert problems == []


def test_a_migration_takes_as_long_as_it_takes(postgres: Postgres, url: URL) -> None:
    order(postgres, f"ALTER DATABASE \"{url.database}\" SET statement_timeout = '5s'")
    engine = open_engine(url)
    with engine.begin() as connection:
        take_your_time(connection)
        limits = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        assert [connection.scalar(text(f"SHOW {limit}")) for limit in limits] == ["0", "0", "0"]
    with engine.begin() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "5s"
    engine.dispose()


def test_two_schedules_of_one_machine_enter_their_first_reading_of_the_clock(opened: Catalog) -> None:
    for seconds in (1.0, 2.0):
        with opened.begin() as session:
            clock_readings.keep(session, "boot", NOON, seconds)
    with opened.read() as session:
        assert clock_readings.set_back(session, "boot", NOON, 2.0).total_seconds() == 0


def test_the_one_that_takes_writes_is_found_among_several_hosts(postgres: Postgres, opened: Catalog) -> None:
    """As docs/install.md says it."""
    hosts = f"host=127.0.0.1:{free_port()}&host=127.0.0.1:{postgres.port}"
    several = Catalog(
        f"postgresql+psycopg://postgres@/{opened.url.database}?{hosts}&target_session_attrs=read-write", migrate=False
    )
    with several.begin() as session:
        events.record(session, NOON, "info", "job.created", "")
    several.close()
    order(postgres, f'ALTER DATABASE "{opened.url.database}" SET default_transaction_read_only = on')
    with pytest.raises(OperationalError, match="read-only"), several.read() as session:
        session.execute(text("SELECT 1"))
    several.close()
