"""The catalog's database: migrations make what the tables say, together, durably, and only once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from catalog.conftest import Postgres
from catalog.rows import NOON, job, received, result
from whyray.base.errors import CatalogNewer
from whyray.catalog import Base, Catalog, Delivery, Job, database, events, jobs, sqlite_url, studies
from whyray.catalog.database import newest_revision

pytestmark = pytest.mark.usefixtures("real_migrations")


def test_the_migrations_make_exactly_what_the_tables_say(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_newest_revision_is_known_without_the_library_that_migrates(catalog: Catalog) -> None:
    migrations = Path(database.__file__).parent / "migrations"
    assert ScriptDirectory(str(migrations)).get_heads() == [newest_revision()]
    with catalog.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == newest_revision()


def test_a_catalog_of_the_newest_schema_is_opened_without_the_library_that_migrates(tmp_path: Path) -> None:
    Catalog(sqlite_url(tmp_path / "catalog.sqlite")).close()
    code = "import sys; from whyray.catalog import *; Catalog(sys.argv[1]).close(); print('alembic' in sys.modules)"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'catalog.sqlite'}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_with_a_fixed_clock_and_fixed_ids_the_rows_are_the_same_whenever_they_are_made(tmp_path: Path) -> None:
    def made(name: str) -> list[tuple[object, ...]]:
        numbers = count(1)
        opened = Catalog(sqlite_url(tmp_path / name), clock=lambda: NOON, new_id=lambda: f"row {next(numbers)}")
        with opened.begin() as session:
            created = job(session, now=opened.clock())
            jobs.claim(session, created.id, "worker", opened.clock())
            jobs.finish(session, created.id, "worker", [result("1", "pacs", "archive")], [], opened.clock())
        with opened.read() as session:
            rows = [(row.id, row.created_at) for table in (Job, Delivery) for row in session.scalars(select(table))]
        opened.close()
        return rows

    assert made("once") == made("again") == [("row 1", NOON), ("row 2", NOON), ("row 3", NOON)]


def test_the_migrations_make_the_unique_constraints_that_the_tables_say(catalog: Catalog) -> None:
    inspector = inspect(catalog.engine)
    for table in Base.metadata.tables.values():
        wanted = {
            tuple(column.name for column in constraint.columns)
            for constraint in table.constraints
            if type(constraint).__name__ == "UniqueConstraint"
        }
        made = {tuple(constraint["column_names"]) for constraint in inspector.get_unique_constraints(table.name)}
        assert made == wanted, table.name


def test_processes_that_start_together_migrate_once(tmp_path: Path, postgres: Postgres) -> None:
    for url in (sqlite_url(tmp_path / "new.sqlite"), postgres.new_database("together")):
        problems: list[Exception] = []

        def start(url=url, problems=problems) -> None:  # type: ignore[no-untyped-def]
            try:
                Catalog(url).close()
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []


def test_a_catalog_of_a_later_version_is_refused_with_words_and_left_as_it_is(catalog: Catalog) -> None:
    """After a step back to the version before: it was called a defect, to be reported with the trace."""
    write = text("UPDATE alembic_version SET version_num = :revision")
    with catalog.engine.begin() as connection:
        connection.execute(write, {"revision": "9999"})
    try:
        with pytest.raises(CatalogNewer, match=f"schema is 9999, of a later version.* knows is {newest_revision()}"):
            Catalog(catalog.url)
        with catalog.engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    finally:
        with catalog.engine.begin() as connection:
            connection.execute(write, {"revision": newest_revision()})


def test_sqlite_waits_for_the_disk_before_it_says_committed(tmp_path: Path) -> None:
    catalog = Catalog(sqlite_url(tmp_path / "catalog.sqlite"))
    with catalog.read() as session:
        pragma = {
            name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    catalog.close()


def test_a_full_disk_is_told_when_the_catalog_is_opened_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`whyray serve` and `whyray status` said nothing for a minute."""

    class Connection:
        asked = 0

        def execute(self, _: str) -> None:
            self.asked += 1
            refusal = sqlite3.OperationalError("disk I/O error")
            refusal.sqlite_errorcode, refusal.sqlite_errorname = 4874, "SQLITE_IOERR_SHMSIZE"
            raise refusal

    monkeypatch.setattr(database.time, "sleep", lambda _: pytest.fail("it waits"))
    full = Connection()
    with pytest.raises(sqlite3.OperationalError):
        database._write_ahead(full)  # type: ignore[arg-type]
    assert full.asked == 1


def test_postgresql_says_committed_when_it_is_though_it_was_set_up_to_say_so_before(postgres: Postgres) -> None:
    url = postgres.new_database("durable")
    engine = create_engine(url)
    with engine.connect() as plain:
        assert plain.scalar(text("SHOW synchronous_commit")) == "off", "as the tests' server is set up"
    engine.dispose()
    opened = Catalog(url)
    with opened.begin() as session:
        assert session.scalar(text("SHOW synchronous_commit")) == "on"
    with opened.read() as session:
        assert session.scalar(text("SHOW synchronous_commit")) == "on"
    opened.close()


def test_a_transaction_that_raises_leaves_nothing(catalog: Catalog) -> None:
    def fail_half_way() -> None:
        with catalog.begin() as session:
            studies.add_instance(session, received(1), NOON)
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with catalog.read() as session:
        assert studies.unsettled(session) == []


def test_a_thread_that_is_writing_already_is_told_at_once_instead_of_waiting_for_itself(catalog: Catalog) -> None:
    with catalog.begin(), pytest.raises(RuntimeError, match="writing to the catalog already"), catalog.begin():
        pass
    with catalog.begin() as session:
        job(session)
    with catalog.read() as session:
        assert len(session.scalars(select(Job)).all()) == 1


def test_a_read_session_writes_nothing(catalog: Catalog) -> None:
    with catalog.read() as session:
        events.record(session, NOON, "info", "test", "never written")
    with catalog.read() as session:
        assert events.recent(session) == []


def test_times_without_a_zone_are_refused(catalog: Catalog) -> None:
    with catalog.begin() as session:
        events.record(session, datetime(2026, 1, 1), "info", "test", "no zone")
        with pytest.raises(StatementError, match="timezone-aware"):
            session.flush()
        session.rollback()


def test_two_objects_cannot_share_a_key(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
        with pytest.raises(IntegrityError):
            studies.add_instance(session, replace(received(2), key=received(1).key), NOON)
        session.rollback()
