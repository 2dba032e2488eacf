"""New SQLite catalogs of a run of the tests are copies of one that was migrated once, each with a UID of its own.

The migrations make some 60 tables and indexes, and wait for the disk each time: a third of a second and more a test.
What they do and promise is shown by tests that ask for `real_migrations`; processes that tests start migrate by
themselves.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection, Engine

from whyray.catalog import Catalog, database, sqlite_url

_upgrade = database.upgrade


@pytest.fixture(scope="session", autouse=True)
def migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives a SQLite catalog that isn't there yet the tables of the first one."""
    template = tmp_path_factory.mktemp("migrated") / "catalog.sqlite"

    def copied(engine: Engine) -> None:
        file = engine.url.database
        if engine.dialect.name == "sqlite" and file and not Path(file).exists():
            _copy(template, Path(file))
        _upgrade(engine)  # which looks for itself whether there is anything to do

    Catalog(sqlite_url(template)).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "upgrade", copied)
        yield


@pytest.fixture
def real_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogs are made as outside of the tests."""
    monkeypatch.setattr(database, "upgrade", _upgrade)


def migrations_on(connection: Connection) -> Config:
    """What Alembic's commands take, to bring the catalog of a connection to another revision."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def down_and_up(engine: Engine, revision: str) -> None:
    """Take a catalog back to an earlier revision, and bring it up to date again."""
    with engine.begin() as connection:
        config = migrations_on(connection)
        command.downgrade(config, revision)
        command.upgrade(config, "head")


def _copy(template: Path, file: Path) -> None:
    """All at once, for others may open it too; who is later finds it there."""
    made = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    shutil.copyfile(template, made)
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("UPDATE installation SET device_uid = ?", [f"2.25.{uuid.uuid4().int}"])
        connection.commit()
    with suppress(FileExistsError):
        os.link(made, file)
    made.unlink()
