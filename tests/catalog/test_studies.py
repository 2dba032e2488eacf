"""Studies in the catalog: arrivals, duplicates, conflicts, what routing sees; and many writers at once."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from catalog.rows import NOON, job, received, result
from whyray.admin import queries
from whyray.catalog import Catalog, Event, Instance, Series, Study, jobs, keys, studies
from whyray.catalog.studies import Arrival


def _study(catalog: Catalog, number: int = 1) -> Study:
    with catalog.read() as session:
        return session.scalars(select(Study).where(Study.study_instance_uid == f"1.2.{number}")).one()


def test_an_instance_is_new_once_then_a_duplicate_and_with_other_bytes_a_conflict(catalog: Catalog) -> None:
    with catalog.begin() as session:
        arrivals = [
            studies.add_instance(session, instance, NOON)
            for instance in (
                received(1),
                received(1, copy=1),
                received(1, content="other", copy=2),
                received(1, content="other", copy=3),
                received(1, content="third", copy=4),
            )
        ]
    assert arrivals == [Arrival.NEW, Arrival.DUPLICATE, Arrival.CONFLICT, Arrival.DUPLICATE, Arrival.CONFLICT]
    with catalog.read() as session:
        assert list(session.scalars(select(Instance.variant).order_by(Instance.id))) == [0, 1, 2]
        assert session.scalar(select(func.count(Event.id)).where(Event.kind == "instance.conflict")) == 2
        assert studies.counts(session, 1) == (1, 1)
        assert [instance.variant for instance in studies.routable(session, 1)["1.2.1.1"]] == [0]


def test_an_instance_that_comes_in_another_study_is_used_in_both(catalog: Catalog) -> None:
    moved = replace(
        received(1, content="corrected header"), study_instance_uid="1.2.2", series_instance_uid="1.2.2.1", key="moved"
    )
    again = replace(moved, sha256="f" * 64, key="again")
    with catalog.begin() as session:
        arrivals = [studies.add_instance(session, arriving, NOON) for arriving in (received(1), moved, again)]
    assert arrivals == [Arrival.NEW, Arrival.NEW, Arrival.CONFLICT]
    with catalog.read() as session:
        first, second = _study(catalog, 1), _study(catalog, 2)
        assert [study.id for study in studies.unsettled(session)] == [first.id, second.id]
        used = {
            study.id: [instance.key for uses in studies.routable(session, study.id).values() for instance in uses]
            for study in (first, second)
        }
        assert used == {first.id: [received(1).key], second.id: ["moved"]}
        assert [studies.counts(session, study.id) for study in (first, second)] == [(1, 1), (1, 1)]
        figures = queries.series_figures(session, [first.id, second.id])
        assert [(series.instances, series.bytes, series.conflicts) for series in figures] == [(1, 100, 0), (1, 100, 1)]
        said = session.scalars(select(Event).where(Event.kind == "instance.in-two-studies")).one()
        assert said.study_instance_uid == "1.2.2"
        assert "1.2.1.1.1 came before in another study" in said.message
        assert session.scalar(select(func.count(Event.id)).where(Event.kind == "instance.conflict")) == 1


def test_only_new_foreign_instances_reopen_a_settled_study(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
        studies.settle(session, 1, 1, "done", expires_at=NOON + timedelta(hours=24))
    later = NOON + timedelta(hours=1)
    for again in (received(1, copy=1), received(1, content="other"), received(2, own_result=True)):
        with catalog.begin() as session:
            studies.add_instance(session, again, later)
            assert studies.unsettled(session) == []
    assert _study(catalog).expires_at == NOON + timedelta(hours=24)
    with catalog.begin() as session:
        studies.add_instance(session, received(3), later)
        assert [study.study_instance_uid for study in studies.unsettled(session)] == ["1.2.1"]
    study = _study(catalog)
    assert (study.received_sequence, study.opened_at, study.expires_at) == (2, later, None)


def test_settling_does_not_cover_what_came_while_routing_was_at_work(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
    seen = _study(catalog).received_sequence
    with catalog.begin() as session:
        studies.add_instance(session, received(2), NOON)
    with catalog.begin() as session:
        studies.settle(session, 1, seen, "routed")
        assert len(studies.unsettled(session)) == 1


def test_an_instance_is_held_under_its_own_class_only(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
        assert studies.holds(session, "1.2.1.1.1", "1.2.840.10008.5.1.4.1.1.2")
        assert not studies.holds(session, "1.2.1.1.1", "1.2.840.10008.5.1.4.1.1.4")
        assert not studies.holds(session, "1.2.1.1.2", "1.2.840.10008.5.1.4.1.1.2")


def test_the_catalog_knows_the_keys_of_instances_results_and_pictures(catalog: Catalog) -> None:
    with catalog.begin() as session:
        created = job(session)
        jobs.claim(session, created.id, "worker", NOON)
        jobs.finish(session, created.id, "worker", [result("1")], [], NOON)
        instance = received(0).key
        asked = {instance, "key-1", "picture-1", "aa/unknown"}
        assert keys.known(session, asked) == {instance, "key-1", "picture-1"}
        assert keys.known(session, []) == set()


@pytest.mark.timeout(120)
def test_many_writers_of_the_same_instances_lose_none_and_double_none(catalog: Catalog) -> None:
    arrivals: Counter[Arrival] = Counter()
    problems: list[Exception] = []
    together = threading.Barrier(4)
    lock = threading.Lock()

    def write(writer: int) -> None:
        together.wait()
        for number in range(12):
            try:
                with catalog.begin() as session:
                    arrival = studies.add_instance(session, received(number, study=number % 4, copy=writer), NOON)
                with lock:
                    arrivals[arrival] += 1
            except Exception as error:
                problems.append(error)

    _in_threads(write, 4)
    assert problems == []
    assert arrivals == {Arrival.NEW: 12, Arrival.DUPLICATE: 36}
    with catalog.read() as session:
        assert session.scalar(select(func.count(Study.id))) == 4
        assert session.scalar(select(func.count(Series.id))) == 4
        assert sum(session.scalars(select(Study.received_sequence))) == 12


@pytest.mark.timeout(120)
def test_two_routers_at_once_create_one_job(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
    created: list[str] = []
    problems: list[Exception] = []
    together = threading.Barrier(4)

    def route(_: int) -> None:
        together.wait()
        try:
            with catalog.begin() as session:
                study = session.scalars(select(Study)).one()
                instances = studies.routable(session, study.id)
                made = jobs.create(
                    session, study=study, route="r", package="p@1", instances=instances, priority=2, now=NOON
                )
                if made is not None:
                    created.append(made.id)
        except Exception as error:
            problems.append(error)

    _in_threads(route, 4)
    assert problems == []
    assert len(created) == 1


def _in_threads(work, count: int) -> None:  # type: ignore[no-untyped-def]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_study_is_found_by_a_part_of_its_uid(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    uids = [f"1.2.840.113619.{number}.99.{number:04d}" for number in range(60)]

    def uids_with(part: str) -> list[str]:
        with catalog.read() as session:
            conditions = studies.of_uid(session, part)
            by_condition = [set(session.scalars(select(Study.study_instance_uid).where(*one))) for one in conditions]
        assert sum(map(len, by_condition)) == len(set().union(*by_condition)), "no study is there twice"
        return sorted(set().union(*by_condition))

    with catalog.begin() as session:
        for number, uid in enumerate(uids):
            came = replace(received(number, study=number), study_instance_uid=uid)
            studies.add_instance(session, came, NOON + timedelta(minutes=number))
    monkeypatch.setattr(studies, "NEWEST", 10)
    assert uids_with(uids[7]) == [uids[7]], "whole"
    assert uids_with("0007") == [uids[7]], "by its end"
    assert uids_with("1.2.840.113619.7.") == [uids[7]], "by its beginning"
    assert uids_with("619.55.9") == [uids[55]], "from within, among the newest"
    assert uids_with("619.7.9") == [], "from within, of long ago"
    assert uids_with("1.2.840") == sorted(uids)
    assert uids_with(".99.") == sorted(uids[-10:])
    assert (
        uids_with("1.2.840_") == uids_with("%") == uids_with("\N{GREEK SMALL LETTER ALPHA}") == uids_with("\x00") == []
    )
    monkeypatch.setattr(studies, "_FEW_BY_UID", 5)
    assert uids_with("1.2.840") == sorted(uids), "what is common is looked for among all"
    assert uids_with("619.7.9") == []
