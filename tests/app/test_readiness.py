"""What `whyray serve` tells first: where the admin page is, and when each role works."""

from __future__ import annotations

import platform
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from whyray.app.readiness import ROLES, admin_url, roles_at_work, tell_when_ready
from whyray.base.errors import RoleLost
from whyray.catalog import Catalog, processes, sqlite_url
from whyray.config import read_config

NOW = datetime(2026, 11, 29, 16, 0, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(sqlite_url(tmp_path / "catalog.sqlite"))


def works(catalog: Catalog, role: str, *, at: datetime = NOW, machine: str = platform.node()) -> None:
    with catalog.begin() as session:
        processes.seen(session, f"{role}@{machine}", role, at, {})


def test_a_role_works_once_it_says_so_here_and_now_and_nothing_keeps_it_from_its_work(catalog: Catalog) -> None:
    works(catalog, "intake")
    works(catalog, "delivery", at=NOW - timedelta(hours=1))
    works(catalog, "admin", machine="elsewhere")
    with catalog.begin() as session:
        processes.ended(session, f"worker@{platform.node()}", "worker", NOW, RoleLost("the worker was lost"))
    assert roles_at_work(catalog, NOW) == {"intake"}


def test_roles_are_named_as_they_begin_to_work_until_all_do(catalog: Catalog) -> None:
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        if words.startswith("ready"):
            works(catalog, "worker")

    for role in ROLES - {"worker"}:
        works(catalog, role)
    assert tell_when_ready(catalog, ROLES, NOW, threading.Event(), tell)
    assert told == [
        "starting: admin, delivery, intake, worker",
        "ready: admin, delivery, intake; waiting for worker",
        "ready: worker",
    ]


def test_what_takes_long_is_told_until_it_is_there_or_time_is_up(catalog: Catalog) -> None:
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        if words.startswith("still"):
            works(catalog, "worker")

    assert tell_when_ready(catalog, ["worker"], NOW, threading.Event(), tell, remind=0)
    assert told == ["starting: worker", "still waiting for worker (0 s)", "ready: worker"]
    assert not tell_when_ready(catalog, ["intake"], NOW, threading.Event(), tell, within=0)


@pytest.mark.parametrize(
    ("address", "url"), [("127.0.0.1", "http://127.0.0.1:8080/"), ("0.0.0.0", "http://127.0.0.1:8080/")]
)
def test_the_admin_page_is_where_a_browser_of_this_machine_finds_it(address: str, url: str, tmp_path: Path) -> None:
    text = f"admin: {{address: {address}, port: 8080, logins: [{{user: a, password: {{env: P}}}}]}}\nroutes: []\n"
    config, problems = read_config(text, folder=tmp_path, environ={"P": "a long password"})
    assert config is not None, problems
    assert admin_url(config) == url
