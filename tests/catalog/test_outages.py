"""What a database that goes away in the middle of anything amounts to."""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from itertools import count

import pytest
from sqlalchemy import create_engine, text

from catalog.conftest import Postgres
from catalog.cutting_proxy import CuttingProxy
from catalog.rows import job, result
from peers import until
from whyray.base.failures import typed_error
from whyray.catalog import Catalog, events, jobs


def test_whatever_a_terminated_backend_raises_is_an_outage_that_passes(
    postgres: Postgres, postgres_catalog: Catalog
) -> None:
    over = threading.Event()

    def terminate() -> None:
        engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            before = -1
            while not over.is_set():
                connection.execute(text("SELECT pg_sleep(random() * 0.1)"))
                if outcomes["done"] == before:
                    continue  # something gets through between two interruptions, however busy the machine is
                before = outcomes["done"]
                connection.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
                )
        engine.dispose()

    def look() -> None:
        for _ in range(40):
            try:
                number = next(numbers)
                with postgres_catalog.begin() as session:
                    made = job(session, study=number)
                with postgres_catalog.begin() as session:
                    jobs.claim(session, made.id, "me", postgres_catalog.clock(), most_attempts=3)
                with postgres_catalog.begin() as session:
                    jobs.finish(session, made.id, "me", [result(str(number), "pacs")], [], postgres_catalog.clock())
                outcomes["done"] += 1
            except Exception as error:
                outcomes[f"{type(error).__module__}.{type(error).__name__}"] += 1
                wrong.extend([traceback.format_exc()] if not typed_error(error).retriable else [])

    numbers = count(1_000_000)  # other tests left studies in this catalog
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    killer = threading.Thread(target=terminate)
    lookers = [threading.Thread(target=look) for _ in range(2)]
    killer.start()
    for looker in lookers:
        looker.start()
    try:
        # enough of both to have met a connection at every step; which come how often is chance
        until(lambda: outcomes["done"] >= 10 and outcomes.total() - outcomes["done"] >= 10, deadline=120)
    finally:
        over.set()
        for thread in (*lookers, killer):
            thread.join()
    assert not wrong, "\n".join(wrong)
    with postgres_catalog.begin() as session:
        events.record(session, postgres_catalog.clock(), "info", "job.created", "afterwards")


@pytest.mark.parametrize(("last_word", "first"), [("", 10_000), ("terminated", 20_000), ("both", 30_000)])
def test_a_connection_that_ends_at_any_message_is_an_outage_that_passes(
    postgres: Postgres, postgres_catalog: Catalog, last_word: str, first: int
) -> None:
    """What a terminated backend's client raises depends on what it had asked for; here each step is met."""
    proxy = CuttingProxy(postgres.port, last_word)
    behind = postgres_catalog.url.set(port=proxy.port, query={"sslmode": "disable", "gssencmode": "disable"})
    raised: Counter[str] = Counter()
    wrong: list[str] = []
    for cut in range(1, 300, 13):
        broken = Catalog(behind, migrate=False)
        proxy.at(cut)
        try:
            with broken.begin() as session:
                made = job(session, study=first + cut)
            with broken.begin() as session:
                jobs.claim(session, made.id, "me", broken.clock(), most_attempts=3)
            with broken.begin() as session:
                jobs.finish(session, made.id, "me", [result(made.id, "pacs")], [], broken.clock())
        except Exception as error:
            raised[type(error).__name__] += 1
            wrong.extend([f"{cut}: {traceback.format_exc()}"] if not typed_error(error).retriable else [])
        broken.close()
    proxy.close()
    assert not wrong, "\n".join(wrong)
    assert raised.total() >= 12
