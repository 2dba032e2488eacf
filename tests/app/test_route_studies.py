from __future__ import annotations

import errno
from concurrent.futures import Future

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from site_under_test import ROUTE, Site, film
from synthetic import ball, slices, stack, volume_of
from whyray.base.errors import PeerUnreachable, StorageUnavailable
from whyray.catalog import Event, Instance, JobState, Study, known_series, studies


def study(site: Site, uid: str) -> Study:
    with site.catalog.read() as session:
        row = session.scalar(select(Study).where(Study.study_instance_uid == uid))
        assert row is not None
        return row


def kinds_of_events(site: Site) -> list[str]:
    with site.catalog.read() as session:
        return list(session.scalars(select(Event.kind).order_by(Event.id)))


def test_a_released_radiograph_becomes_one_job_however_often_routing_looks(site: Site) -> None:
    site.receive([film()])
    router = site.router()
    assert [router.step() for _ in range(3)] == [1, 0, 0]
    (job,) = site.jobs()
    assert (job.route, job.package, job.state, job.priority, job.revision) == (
        "films",
        "planted@1.0.0",
        JobState.QUEUED,
        1,
        1,
    )


def test_a_study_that_is_still_arriving_waits_and_says_for_what(site: Site) -> None:
    uid = site.receive([film()], released=False)
    router = site.router()
    assert router.step() == 0
    assert study(site, uid).note == "films: waiting until nothing came for 0:00:20"
    site.clock.tick(20)
    assert router.step() == 1


def test_the_count_that_the_pacs_gives_holds_the_study_back_until_all_are_here(site: Site) -> None:
    route = ROUTE | {"complete": {"quiet_for": "5s", "at_most": "10m", "expect": {"from": "pacs"}}}
    site.configure(routes=[route])
    site.receive([film(1)])
    router = site.router(expected=2)
    site.clock.tick(100)
    assert router.step() == 0
    site.receive([film(2)])
    assert router.step() == 1
    assert len(site.jobs()[0].series_uids) == 1


def test_a_pacs_that_cannot_be_asked_does_not_hold_up_its_own_study(site: Site) -> None:
    route = ROUTE | {"complete": {"quiet_for": "5s", "at_most": "10m", "expect": {"from": "pacs"}}}
    site.configure(routes=[route])
    site.receive([film(1)])
    router = site.router()

    def unreachable(*_: object) -> int | None:
        raise PeerUnreachable("PACS at 127.0.0.1:104 did not take the association for C-FIND")

    router.expected.ask = unreachable
    site.clock.tick(6)
    assert router.step() == 1


def test_a_pacs_that_is_silent_holds_up_its_own_study_alone_and_for_no_longer_than_the_ceiling(site: Site) -> None:
    asking = ROUTE | {
        "when": {"Modality": "CR"},
        "complete": {"quiet_for": "5s", "at_most": "10m", "expect": {"from": "pacs"}},
    }
    other = {"name": "others", "when": {"Modality": "DX"}}
    site.configure(routes=[asking, ROUTE | other])
    router = site.router()
    answer: Future[int | None] = Future()
    router.expected.submit = lambda _question: answer
    uid = site.receive([film(1)])
    site.receive([film(2, study="other", series="other", modality="DX")])
    assert [router.step() for _ in range(2)] == [1, 0]
    assert study(site, uid).note == "films: waiting for the PACS to say how much there is"
    site.clock.tick(601)
    assert router.step() == 1


def test_a_pacs_is_asked_once_for_what_has_come_of_a_study(site: Site) -> None:
    site.configure(routes=[ROUTE | {"complete": {"quiet_for": "5s", "at_most": "10m", "expect": {"from": "pacs"}}}])
    router, asked = site.router(), []

    def two(*question: object) -> int:
        asked.append(question)
        return 2

    router.expected.ask = two
    site.receive([film(1)])
    assert [router.step() for _ in range(3)] == [0, 0, 0]
    assert len(asked) == 1
    site.receive([film(2)])
    assert [router.step() for _ in range(3)] == [1, 0, 0]
    assert len(asked) == 2


def test_late_instances_reopen_the_study_and_supersede_the_earlier_job(site: Site) -> None:
    site.receive([film(1)])
    router = site.router()
    router.step()
    site.clock.tick(60)
    site.receive([film(2)])
    router.step()
    first, second = site.jobs()
    assert (first.state, first.revision) == (JobState.SUPERSEDED, 1)
    assert (second.state, second.revision) == (JobState.QUEUED, 2)
    assert "job.superseded" in kinds_of_events(site)


def test_late_instances_supersede_what_an_earlier_version_of_the_package_made(site: Site) -> None:
    """A package is upgraded while a study comes in: its answers on a part of the study must not stay in force."""
    site.receive([film(1)])
    site.router().step()
    site.receive([film(2)])
    upgraded = site.router()
    upgraded.resolve_package = lambda reference: f"{reference.split('@')[0]}@1.1.0"
    upgraded.step()
    first, second = site.jobs()
    assert (first.package, first.state, first.revision) == ("planted@1.0.0", JobState.SUPERSEDED, 1)
    assert (second.package, second.state, second.revision) == ("planted@1.1.0", JobState.QUEUED, 2)


def test_two_versions_of_a_package_in_one_route_supersede_their_own_alone(site: Site) -> None:
    site.configure(routes=[ROUTE | {"run": ["planted@1.0.0", "planted@1.1.0"]}])
    for number in (1, 2):
        site.receive([film(number)])
        router = site.router()
        router.resolve_package = str
        assert router.step() == 2
    assert sorted((job.package, job.revision, job.state) for job in site.jobs()) == [
        ("planted@1.0.0", 1, JobState.SUPERSEDED),
        ("planted@1.0.0", 2, JobState.QUEUED),
        ("planted@1.1.0", 1, JobState.SUPERSEDED),
        ("planted@1.1.0", 2, JobState.QUEUED),
    ]


@pytest.mark.parametrize(
    ("sop_class", "revisions"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.67", [1]),
        ("1.2.840.10008.5.1.4.1.1.88.59", [1]),
        ("1.2.840.10008.5.1.4.1.1.11.1", [1]),
        ("1.2.840.10008.5.1.4.1.1.66.4", [1, 2]),
    ],
    ids=["dose report", "key objects", "presentation state", "segmentation, by which some methods explain"],
)
def test_what_somebody_adds_to_a_study_is_no_new_revision_of_its_answer(
    site: Site, sop_class: str, revisions: list[int]
) -> None:
    """Of a route that asks for no modality; the archive would get the same answer again, as one that replaces it."""
    site.configure(routes=[ROUTE | {"when": {"StudyInstanceUID": {"present": True}}}])
    site.receive([film(1)])
    site.router().step()
    added = film(2, series="added")
    added.SOPClassUID = added.file_meta.MediaStorageSOPClassUID = sop_class
    site.receive([added])
    site.router().step()
    assert [job.revision for job in site.jobs()] == revisions
    site.receive([film(3)])
    assert site.router().step() == 1
    assert [job.state for job in site.jobs()][-1] is JobState.QUEUED
    assert [job.state for job in site.jobs()].count(JobState.SUPERSEDED) == len(revisions)


def test_the_same_instance_again_changes_nothing(site: Site) -> None:
    site.receive([film(1)])
    router = site.router()
    router.step()
    site.receive([film(1)])
    assert router.step() == 0
    assert len(site.jobs()) == 1


def test_what_no_route_matches_is_kept_for_the_time_that_otherwise_says(site: Site) -> None:
    planes = stack(4, (16, 16))
    uid = site.receive(slices(volume_of(planes, ball((0, 0, 0), 4)), planes))
    assert site.router().step() == 0
    row = study(site, uid)
    assert row.note == "no route matched: keep 1d"
    assert row.expires_at is not None
    assert (row.expires_at - site.clock()).total_seconds() == 24 * 3600


def test_own_results_that_come_back_are_never_routed(site: Site) -> None:
    site.receive([film(1)])
    router = site.router()
    router.step()
    site.receive([film(2)], own=True)
    assert router.step() == 0
    assert len(site.jobs()) == 1


def test_a_route_whose_package_is_gone_refuses_the_study_by_name_and_does_not_stop_the_others(site: Site) -> None:
    from whyray.base.errors import NotFound

    site.receive([film(1)])
    broken = site.router()

    def gone(reference: str) -> str:
        raise NotFound(f"no package {reference!r}")

    broken.resolve_package = gone
    assert broken.step() == 0
    assert "study.refused" in kinds_of_events(site)
    site.receive([film(5, study="another", series="another")])
    assert site.router().step() == 1


def test_one_route_may_start_while_another_still_waits(site: Site) -> None:
    slow = ROUTE | {"name": "slow", "complete": {"on_release": False, "quiet_for": "60s", "at_most": "10m"}}
    site.configure(routes=[ROUTE, slow])
    uid = site.receive([film(1)])
    router = site.router()
    assert router.step() == 1
    assert study(site, uid).received_sequence > study(site, uid).routed_sequence
    site.clock.tick(61)
    assert router.step() == 1
    assert {job.route for job in site.jobs()} == {"films", "slow"}
    assert np.all([job.state is JobState.QUEUED for job in site.jobs()])


def named(number: int, name: bytes, character_set: str | None = "ISO_IR 192", study: str = "1") -> Dataset:
    """A film with these bytes as its Patient's Name."""
    image = film(number, study=study)
    image.SpecificCharacterSet = character_set
    image[0x00100010] = RawDataElement(Tag(0x00100010), "PN", len(name), name, 0, False, True)
    return image


def excluding(site: Site, name: str) -> None:
    site.configure(routes=[ROUTE | {"when": {"Modality": "CR", "PatientName": {"not_equals": name}}}])


def test_a_route_that_excludes_a_patient_by_name_gives_that_patient_no_job(site: Site) -> None:
    excluding(site, "Müller^Jörg")
    router = site.router()
    site.receive([named(1, "Müller^Jörg=".encode("latin-1"), "ISO_IR 100", "latin")])
    site.receive([named(2, "Müller^Jörg ".encode(), "ISO_IR 192", "utf-8")])
    site.receive([named(3, "Müller^Jörg".encode(), None, "undeclared")])
    assert router.step() == 0
    site.receive([named(4, "Müller^Anna".encode(), "ISO_IR 192", "another")])
    assert router.step() == 1


def test_a_route_that_hangs_on_a_name_that_cannot_be_read_gives_no_job_and_says_so_once(site: Site) -> None:
    excluding(site, "Müller^Jörg")
    uid = site.receive([named(1, "Müller^Jörg ".encode("latin-1"), "ISO_IR 192")])
    router = site.router()
    assert [router.step() for _ in range(3)] == [0, 0, 0]
    assert study(site, uid).note == "no route matched: keep 1d"
    (event,) = events_of(site, "study.undecided")
    assert (event.severity, event.study_instance_uid) == ("warning", uid)
    assert event.message.startswith("films: does not take a series, since PatientName can't be read")
    assert "ller" not in event.message


def test_a_stored_instance_that_cannot_be_parsed_does_not_stop_its_series_or_other_studies(site: Site) -> None:
    uid = site.receive([film(1, series="a"), film(2, series="a")], released=False)
    other = site.receive([film(3, study="other")])
    with site.catalog.read() as session:
        first = session.scalars(select(Instance).order_by(Instance.id)).first()
    assert first is not None
    path = site.storage.root / first.key
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))
    with site.catalog.begin_bare() as transaction:
        known_series.release(transaction, [uid], site.clock())
    assert site.router().step() == 2
    assert [study(site, study_uid).note for study_uid in (uid, other)] == ["routed: films"] * 2
    assert [event.study_instance_uid for event in events_of(site, "study.unread")] == [uid]


def test_a_study_that_trips_routing_is_set_aside_after_three_looks_and_never_stops_the_others(site: Site) -> None:
    poison = site.receive([film(1, study="poison")])
    other = site.receive([film(2, study="other")])
    router = site.router()
    read = router.read_header

    def tripping(key: str) -> Dataset:
        header = read(key)
        if header.StudyInstanceUID == poison:
            raise MemoryError
        return header

    router.read_header = tripping
    assert [router.step() for _ in range(4)] == [1, 0, 0, 0]
    assert study(site, other).note == "routed: films"
    (event,) = events_of(site, "study.refused")
    assert (event.study_instance_uid, event.severity) == (poison, "error")
    assert "not enough memory" in event.message
    assert study(site, poison).received_sequence == study(site, poison).routed_sequence
    site.receive([film(3, study="poison")])
    router.read_header = read
    assert router.step() == 1


def test_a_catalog_that_is_away_condemns_no_study(site: Site) -> None:
    site.receive([film(1)])
    router = site.router()
    read = router.read_header

    def away(key: str) -> Dataset:
        raise OperationalError("select", {}, Exception("terminating connection"))

    router.read_header = away
    for _ in range(5):
        with pytest.raises(OperationalError):
            router.step()
    router.read_header = read
    assert router.step() == 1
    assert events_of(site, "study.refused") == []


def test_a_route_that_skips_a_study_says_so_once_while_another_still_waits(site: Site) -> None:
    skipping = {"quiet_for": "5s", "at_most": "10s", "if_incomplete": "skip", "expect": {"from": "pacs"}}
    waiting = {"quiet_for": "60s", "at_most": "10m", "on_release": False}
    site.configure(
        routes=[ROUTE | {"name": "skips", "complete": skipping}, ROUTE | {"name": "waits", "complete": waiting}]
    )
    site.receive([film(1)])
    site.clock.tick(11)
    for _ in range(2):
        router = site.router(expected=2)
        assert [router.step() for _ in range(3)] == [0, 0, 0]
    assert [event.message.partition(":")[0] for event in events_of(site, "study.skipped")] == ["skips"]


def events_of(site: Site, kind: str) -> list[Event]:
    with site.catalog.read() as session:
        return list(session.scalars(select(Event).where(Event.kind == kind).order_by(Event.id)))


def test_a_study_whose_files_can_t_be_read_now_is_routed_once_they_can(site: Site) -> None:
    """The storage was away for two seconds, and its studies were refused for good."""
    uid = site.receive([film()])
    router, away = site.router(), [True]
    read_header = router.read_header

    def read(key: str) -> Dataset:
        if away[0]:
            raise OSError(errno.EIO, "Input/output error")
        return read_header(key)

    router.read_header = read
    assert [router.step() for _ in range(5)] == [0] * 5
    assert "ResourceExhausted" in str(study(site, uid).note)
    away[0] = False
    assert router.step() == 1
    assert "study.refused" not in kinds_of_events(site)


def test_while_storage_is_away_each_study_says_so_once_and_not_at_every_step(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three studies left sixty lines of errors in ten seconds."""
    uids = [site.receive([film(number, study=str(number), series=str(number))]) for number in (1, 2, 3)]
    router, reason = site.router(), ["is not there"]
    read_header = router.read_header

    def away(key: str) -> Dataset:
        if not reason:
            return read_header(key)
        raise StorageUnavailable(f"storage at /data {reason[0]}")

    router.read_header = away
    told: list[int] = []
    describe = studies.describe
    monkeypatch.setattr(studies, "describe", lambda *said: (told.append(said[1]), describe(*said)))

    def lines() -> int:
        return sum("routing a study: StorageUnavailable" in record.getMessage() for record in caplog.records)

    assert [router.step() for _ in range(20)] == [0] * 20
    assert (lines(), len(told)) == (3, 3)
    reason[0] = "can't be read (Stale file handle)"
    assert [router.step() for _ in range(20)] == [0] * 20
    assert (lines(), len(told)) == (6, 6)
    assert {str(study(site, uid).note) for uid in uids} == {
        "StorageUnavailable: storage at /data can't be read (Stale file handle)"
    }
    reason.clear()
    assert router.step() == 3
