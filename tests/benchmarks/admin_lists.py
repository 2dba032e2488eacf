"""How fast the admin endpoint answers with months of work in the catalog: every list, filter and sort, the overview.

    PYTHONPATH=tests python tests/benchmarks/admin_lists.py [--studies 20000] [--database sqlite] [--keep FILE]

Rows are generated once for a file that is kept. Each request goes through the application as it is served, without the
network. The table has medians and the slowest of the turns, and the steps of its plans, if any, that read a big table
whole or sort.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import func, select, text

from admin.query_plans import asked, read_whole, sorted_for_a_page
from admin.scene import LOCAL, config_of
from benchmarks.admin_rows import NOW, Rows, double, write
from catalog.conftest import Postgres, _programs
from whyray.admin import create_app
from whyray.catalog import Catalog, Delivery, Event, Instance, Job, ResultRow, Study, sqlite_url
from whyray.storage import FolderStorage

PATHS = (
    "overview",
    "choices",
    "studies",
    "studies?sort=received",
    "studies?state=receiving",
    "studies?state=failed",
    "studies?state=working",
    "studies?state=done",
    "studies?state=stopped",
    "studies?state=unrouted",
    "studies?state=failed&state=done&state=receiving",
    "studies?uid=12345",
    "studies?uid=no-such-uid",
    "studies?uid={study}",
    "studies?uid={end}",
    "jobs",
    "jobs?sort=created",
    "jobs?limit=500",
    "jobs?state=failed",
    "jobs?state=waiting",
    "jobs?state=done",
    "jobs?state=running&state=queued&state=cancelling&limit=8",
    "jobs?route=chest%20radiographs",
    "jobs?route=pilot%20mammography",
    "jobs?route=none",
    "jobs?route=head%20CT&state=done&sort=created",
    "jobs?package=cxr-findings",
    "jobs?package=mammo@0.1.0",
    "jobs?destination=pacs",
    "jobs?destination=archive",
    "jobs?destination=old%20archive",
    "jobs?destination=none",
    "jobs?error=DecodeError",
    "jobs?error=DecodeError&state=failed&route=head%20CT",
    "jobs?study={study}",
    "jobs?offset=50000",
    "jobs?after={jobs}",
    "deliveries",
    "deliveries?state=failed",
    "deliveries?state=sent",
    "deliveries?state=waiting&state=queued",
    "deliveries?destination=pacs",
    "deliveries?destination=old%20archive",
    "deliveries?destination=archive&state=failed",
    "deliveries?route=head%20CT",
    "deliveries?route=pilot%20mammography",
    "deliveries?error=PeerRefused",
    "deliveries?error=PeerRefused&state=failed&destination=archive",
    "deliveries?study={study}",
    "deliveries?offset=50000",
    "deliveries?after={deliveries}",
    "results",
    "results?pictured=true&limit=6",
    "results?superseded=true",
    "results?kind=seg",
    "results?grade=red",
    "results?finding=Effusion",
    "results?finding=Effusion&grade=red&kind=pm",
    "results?kind=seg&pictured=true",
    "results?study={study}",
    "results?after={results}",
    "events",
    "events?limit=8",
    "events?kind=admin",
    "events?kind=instance.conflict",
    "events?severity=error",
    "events?severity=warning&severity=error",
    "events?actor=ada",
    "events?actor=grace",
    "events?study={study}",
    "events?after={events}",
    "feedback",
    "feedback/verdicts",
    "feedback/verdicts?package=cxr-findings",
    "drift",
    "studies/{study}",
    "jobs/{job}",
    "/metrics",
)


@contextmanager
def opened(database: str, rows: Rows, keep: Path | None, doublings: int) -> Iterator[Catalog]:
    """A catalog with rows; a SQLite file that is kept is filled only once."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="whyray-rows-", dir="/tmp")))
        if database == "sqlite":
            file = keep or folder / "catalog.sqlite"
            url, filled = sqlite_url(file), file.exists()
        else:
            folder.chmod(0o755)
            programs = _programs()
            assert programs is not None, "PostgreSQL is not installed"
            cluster = Postgres(folder, programs)
            cluster.start()
            stack.callback(cluster.stop)
            url, filled = cluster.new_database("whyray"), False
        catalog = Catalog(url, clock=lambda: NOW)
        stack.callback(catalog.close)
        if not filled:
            begun = time.perf_counter()
            fill(catalog, rows, doublings)
            _say(f"rows written in {time.perf_counter() - begun:.0f} s")
        yield catalog


def fill(catalog: Catalog, rows: Rows, doublings: int) -> None:
    """Write the rows; nothing of it needs to survive a crash."""
    with catalog.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        sqlite = connection.dialect.name == "sqlite"
        if sqlite:
            driver.execute("PRAGMA synchronous=OFF")
            driver.execute("PRAGMA cache_size=-500000")
        with connection.begin():
            write(connection, rows.of_all())
        for turn in range(doublings):
            with connection.begin():
                double(connection, turn)
            _say(f"doubled {turn + 1} times")
        if sqlite:
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            _count(connection)
            with connection.execution_options(isolation_level="AUTOCOMMIT") as separate:
                separate.execute(text("VACUUM ANALYZE"))


def _count(connection: Any) -> None:
    facets = {
        "jobs": "route, package, state",
        "deliveries": "destination, route, state",
        "results": "kind, finding, grade, superseded, picture_key IS NOT NULL",
        "events": "kind, severity, actor",
        "instances": "variant > 0",
        "studies": "has_jobs, received_sequence > routed_sequence",
        "feedback": "package, verdict",
    }
    with connection.begin():
        for table, columns in facets.items():
            size = "sum(size)" if table == "instances" else "0"
            connection.execute(
                text(
                    f"INSERT INTO tallies SELECT '{table}', json_build_array({columns})::text, 0, count(*), {size} "
                    f"FROM {table} GROUP BY json_build_array({columns})::text"
                )
            )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Generate, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a SQLite file, filled if it is not there")
    parser.add_argument(
        "--doublings", type=int, default=0, help="of the rows, within PostgreSQL: 1 million jobs need 5"
    )
    wanted = parser.parse_args()
    rows = Rows(wanted.studies, wanted.seed)
    with opened(wanted.database, rows, wanted.keep, wanted.doublings) as catalog:
        measure(catalog, wanted.turns)


def measure(catalog: Catalog, turns: int) -> None:
    """The table."""
    with catalog.read() as session:
        tables = (Study, Job, ResultRow, Delivery, Instance, Event)
        counts = {table.__tablename__: session.scalar(select(func.count()).select_from(table)) for table in tables}
        middle = session.get(Study, (counts["studies"] or 0) // 2)
        job = (
            session.scalar(select(Job).where(Job.study_id > middle.id, Job.state == "done").limit(1))
            if middle
            else None
        )
    _say(f"{catalog.engine.dialect.name}: " + ", ".join(f"{number:,} {name}" for name, number in counts.items()))
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(LOCAL, Path(folder))
        app = create_app(catalog, FolderStorage(Path(folder) / "storage"), lambda: config)
        client = TestClient(app, base_url="http://localhost:8080", client=("127.0.0.1", 50000))
        uid = middle.study_instance_uid if middle else ""
        known = {"study": uid, "end": uid[-8:], "job": job.id if job else ""}
        for name in ("jobs", "deliveries", "results", "events"):
            known[name] = client.get(f"/api/v1/{name}").json().get("next", "")
        _say("\n| request | median ms | slowest ms | plan |\n| --- | ---: | ---: | --- |")
        for path in PATHS:
            url = path if path.startswith("/") else f"/api/v1/{path.format(**known)}"
            took = []
            with asked(catalog.engine) as statements:
                for turn in range(turns):
                    begun = time.perf_counter()
                    answer = client.get(url)
                    took.append(1000 * (time.perf_counter() - begun))
                    if turn == 0:
                        first = list(statements)
            assert answer.status_code == 200, (url, answer.text)
            said = "; ".join(sorted({*read_whole(catalog.engine, first), *sorted_for_a_page(catalog.engine, first)}))
            _say(f"| {path} | {statistics.median(took):.0f} | {max(took):.0f} | {said} |")


if __name__ == "__main__":
    main()
