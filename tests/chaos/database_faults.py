"""Faults of the catalog's database: locks, ended connections, restarts, a standby in its place, no connection left."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, suppress

import psycopg
from sqlalchemy import create_engine, text

from catalog.conftest import Postgres
from chaos.fault_kinds import Chance, Scene, Unavailable, fault

_TERMINATE_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


@fault("sqlite lock", "BEGIN EXCLUSIVE held on the SQLite catalog")
def _lock(scene: Scene, chance: Chance) -> str:
    if scene.hospital.postgres is not None:
        raise Unavailable("the catalog is in PostgreSQL")
    connection = sqlite3.connect(
        scene.hospital.serve.folder / "state" / "catalog.sqlite", timeout=30, isolation_level=None
    )
    try:
        connection.execute("BEGIN EXCLUSIVE")
        return f"{scene.hold(chance, 3 * scene.patience):.1f} s"
    except sqlite3.OperationalError as error:
        raise Unavailable("the lock was not to be had") from error
    finally:
        connection.close()


@fault("postgres terminate", "pg_terminate_backend of all connections", weight=4.0)
def _terminate(scene: Scene, chance: Chance) -> str:
    postgres = _postgres(scene)
    engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            return f"{len(connection.execute(text(_TERMINATE_ALL)).all())} backends"
    finally:
        engine.dispose()


@fault("postgres restart", "PostgreSQL stopped at once (immediate), and started again", weight=1.0)
def _restart(scene: Scene, chance: Chance) -> str:
    postgres = _postgres(scene)
    with suppress(AssertionError):
        postgres.stop()
    held = scene.hold(chance)
    scene.hospital.mend_postgres()
    return f"{held:.1f} s"


def _postgres(scene: Scene) -> Postgres:
    if scene.hospital.postgres is None:
        raise Unavailable("the catalog is in SQLite")
    return scene.hospital.postgres


def _connected(postgres: Postgres) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host="127.0.0.1", port=postgres.port, user="postgres", dbname="whyray", autocommit=True, connect_timeout=5
    )


@fault("postgres read-only", "PostgreSQL takes no writes, as a standby to which it failed over", weight=2.0)
def _read_only(scene: Scene, chance: Chance) -> str:
    with _connected(_postgres(scene)) as connection:
        connection.execute("ALTER DATABASE whyray SET default_transaction_read_only TO on")
        try:
            connection.execute(_TERMINATE_ALL)
            return f"{scene.hold(chance):.1f} s"
        finally:  # and nobody is told: what is connected stays so to a server that takes no writes
            connection.execute("SET default_transaction_read_only TO off")
            connection.execute("ALTER DATABASE whyray RESET default_transaction_read_only")


@fault("postgres no connection", "PostgreSQL has no connection left", weight=2.0)
def _no_connection(scene: Scene, chance: Chance) -> str:
    postgres = _postgres(scene)
    with ExitStack() as held:
        first = held.enter_context(_connected(postgres))
        first.execute(_TERMINATE_ALL)
        number = 1
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(_connected(postgres))
                number += 1
        return f"{number} taken, {scene.hold(chance):.1f} s"


@fault("postgres lock", "a table of the catalog locked by somebody else", weight=2.0)
def _table_lock(scene: Scene, chance: Chance) -> str:
    table = chance.choice(("jobs", "deliveries", "studies", "instances", "processes", "audit_records"))
    with _connected(_postgres(scene)) as connection, connection.transaction():
        connection.execute("SET LOCAL lock_timeout TO '10s'")
        try:
            connection.execute(f"LOCK TABLE {table}")
        except psycopg.errors.LockNotAvailable as busy:
            raise Unavailable("the lock was not to be had") from busy
        return f"{table}, {scene.hold(chance, 2 * scene.patience):.1f} s"
