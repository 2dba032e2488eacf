"""What is removed when, and what never is."""

from __future__ import annotations

from sqlalchemy import func, select

from site_under_test import ROUTE, Site, film
from whyray.app.compare_contents import ContentComparer
from whyray.app.retention import Retention
from whyray.catalog import (
    Delivery,
    DeliveryState,
    Event,
    Instance,
    JobState,
    ResultRow,
    Study,
    conflicts,
    contents,
    jobs,
    processes,
    revisions,
)
from whyray.jobs.worker import run_job

DAY = 24 * 3600


def retention_of(site: Site) -> Retention:
    return Retention(site.catalog, site.storage, lambda: site.config)


def a_delivered_study(site: Site) -> str:
    """Received, worked on and sent; its UID."""
    uid = site.receive([film(1)])
    site.router().step()
    run_job(site.jobs()[0].id, "worker-1", site.job_context())
    deliver(site)
    return uid


def deliver(site: Site) -> None:
    with site.catalog.begin() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.state, delivery.sent_at = DeliveryState.SENT, site.clock()


def kept(site: Site) -> tuple[int, int, int]:
    """How many studies, instances and results the catalog has; the storage has the bytes of just these."""
    with site.catalog.read() as session:
        counts = tuple(session.scalar(select(func.count(row.id))) or 0 for row in (Study, Instance, ResultRow))
        known = {*session.scalars(select(Instance.key)), *session.scalars(select(ResultRow.key))}
        known |= {key for key in session.scalars(select(ResultRow.picture_key)) if key}
        known |= {key for key in session.scalars(select(ResultRow.preview_key)) if key}
    files = {path.relative_to(site.storage.root).as_posix() for path in site.storage.root.rglob("*") if path.is_file()}
    assert files == known
    return counts  # type: ignore[return-value]


def test_instances_go_after_their_own_time_results_after_theirs_and_then_the_study(site: Site) -> None:
    site.configure(retention={"source": "7d", "results": "30d"})
    retention = retention_of(site)
    a_delivered_study(site)
    _, _, results = kept(site)
    assert results
    today = 0
    for day, left in ((6, (1, 1, results)), (8, (1, 0, results)), (29, (1, 0, results)), (31, (0, 0, 0))):
        site.clock.tick((day - today) * DAY)
        today = day
        retention.step()
        assert kept(site) == left
    with site.catalog.read() as session:
        told = list(session.scalars(select(Event.message).where(Event.kind == "retention.removed")))
    assert [words.partition(",")[0] for words in told] == ["1 studies' instances", "1 jobs' results", "1 studies"]


def test_results_may_go_before_the_instances_they_were_made_of(site: Site) -> None:
    site.configure(retention={"source": "30d", "results": "7d"})
    retention = retention_of(site)
    a_delivered_study(site)
    site.clock.tick(8 * DAY)
    retention.step()
    assert kept(site) == (1, 1, 0)
    assert site.router().step() == 0


def test_what_a_destination_has_not_committed_to_keep_stays_whatever_its_age(site: Site) -> None:
    pacs = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104, "storage_commitment": True}
    site.configure(
        destinations={"pacs": pacs, "archive": {"ae_title": "A", "host": "127.0.0.1", "port": 105}},
        retention={"source": "7d", "results": "7d"},
    )
    retention = retention_of(site)
    a_delivered_study(site)
    before = kept(site)
    site.clock.tick(60 * DAY)
    retention.step()
    assert kept(site) == before
    with site.catalog.begin() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.state = DeliveryState.COMMITTED
    retention.step()
    assert kept(site) == (0, 0, 0)


def test_a_disk_that_runs_short_costs_the_oldest_finished_studies_their_instances(site: Site) -> None:
    site.configure(retention={"purge_below": "1000000TB"})
    retention = retention_of(site)
    a_delivered_study(site)
    unfinished = site.receive([film(7, study="unfinished", series="unfinished")], released=False)
    _, _, results = kept(site)
    retention.step()
    assert kept(site) == (2, 1, results)
    with site.catalog.read() as session:
        row = session.scalars(select(Study).where(Study.study_instance_uid != unfinished)).one()
    assert row.note == "instances removed: the disk ran short (retention.purge_below)"


def correct_the_patient(site: Site) -> None:
    """The film of `a_delivered_study` comes again under another patient, and is compared."""
    corrected = film(1)
    corrected.PatientID = "corrected"
    site.receive([corrected])
    ContentComparer(site.catalog, lambda: site.config, site.storage.open).step()


def test_a_study_that_may_be_under_the_wrong_patient_stays_until_somebody_decides_or_the_disk_runs_short(
    site: Site,
) -> None:
    site.configure(listener={"corrected": "ask"}, retention={"source": "7d", "results": "7d"})
    retention = retention_of(site)
    uid = a_delivered_study(site)
    site.clock.tick(6 * DAY)
    correct_the_patient(site)
    site.clock.tick(60 * DAY)
    retention.step()
    assert kept(site)[:2] == (1, 2)
    with site.catalog.read() as session:
        assert [study.study_instance_uid for study in conflicts.unidentified(session)] == [uid]
    site.configure(
        listener={"corrected": "ask"}, retention={"source": "7d", "results": "90d", "purge_below": "1000000TB"}
    )
    retention.step()
    assert kept(site)[:2] == (1, 0)
    with site.catalog.read() as session:
        (told,) = session.scalars(select(Event).where(Event.kind == "content.removed"))
    assert (told.severity, told.study_instance_uid) == ("error", uid)


def test_a_study_that_was_decided_about_goes_in_its_time(site: Site) -> None:
    site.configure(listener={"corrected": "ask"}, retention={"source": "7d", "results": "7d"})
    retention = retention_of(site)
    uid = a_delivered_study(site)
    site.clock.tick(6 * DAY)
    correct_the_patient(site)
    with site.catalog.begin() as session:
        contents.keep(session, uid, site.clock(), actor="eva")
    site.clock.tick(6 * DAY)
    retention.step()
    assert kept(site)[:2] == (1, 2)  # something came since the first
    site.clock.tick(2 * DAY)
    retention.step()
    assert kept(site)[0] == 0


def test_a_job_that_is_retried_after_its_instances_went_says_so(site: Site) -> None:
    retention = retention_of(site)
    a_delivered_study(site)
    site.clock.tick(8 * DAY)
    retention.step()
    with site.catalog.begin() as session:
        jobs.retry(session, site.jobs()[0].id, site.clock(), actor="ada")
    assert run_job(site.jobs()[0].id, "worker-1", site.job_context()) is JobState.FAILED
    assert "are no longer in the catalog" in (site.jobs()[0].error_message or "")


def test_a_process_that_was_silent_for_a_week_is_no_longer_looked_for(site: Site) -> None:
    with site.catalog.begin() as session:
        processes.seen(session, "worker@gone:1", "worker", site.clock(), {})
    retention = retention_of(site)
    site.clock.tick(6 * DAY)
    retention.step()
    with site.catalog.begin() as session:
        assert [row.name for row in processes.all_processes(session)] == ["worker@gone:1"]
        processes.seen(session, "worker@here:2", "worker", site.clock(), {})
    site.clock.tick(2 * DAY)
    retention.step()
    with site.catalog.read() as session:
        assert [row.name for row in processes.all_processes(session)] == ["worker@here:2"]


def test_what_comes_after_a_studys_instances_were_removed_is_no_study_by_itself(site: Site) -> None:
    """A part of a series, answered as if it were all, would replace the results of the whole."""
    site.configure(retention={"source": "7d", "results": "30d"})
    retention = retention_of(site)
    uid = a_delivered_study(site)
    _, _, results = kept(site)
    site.clock.tick(8 * DAY)
    retention.step()
    site.receive([film(2)])
    assert site.router().step() == 0
    (job,) = site.jobs()
    assert job.state is JobState.DONE
    with site.catalog.read() as session:
        study = session.scalar(select(Study).where(Study.study_instance_uid == uid))
        assert study is not None
        assert study.note == "incomplete, not processed: films"
        (told,) = session.scalars(select(Event.message).where(Event.kind == "study.skipped"))
        assert not any(session.scalars(select(ResultRow.superseded)))
    assert told == (
        f"films: 1 instances of series {film(1).SeriesInstanceUID} were removed (retention) before more of the study "
        "came; send the whole study again; not processed"
    )
    site.receive([film(1)])
    assert site.router().step() == 1
    assert [job.state for job in site.jobs()] == [JobState.SUPERSEDED, JobState.QUEUED]
    assert kept(site) == (1, 2, results)


def test_a_series_that_comes_after_others_were_removed_is_answered_beside_their_results(site: Site) -> None:
    site.configure(retention={"source": "7d", "results": "30d"})
    retention = retention_of(site)
    a_delivered_study(site)
    _, _, results = kept(site)
    site.clock.tick(8 * DAY)
    retention.step()
    site.receive([film(2, series="lateral", view="LL")])
    assert site.router().step() == 1
    first, second = site.jobs()
    run_job(second.id, "worker-1", site.job_context())
    with site.catalog.read() as session:
        assert jobs.get(session, first.id).state is JobState.DONE
        assert not any(session.scalars(select(ResultRow.superseded)))
        assert revisions.earlier_results(session, jobs.get(session, second.id)) == []
    assert kept(site)[2] > results


def test_what_is_gone_twice_is_not_forgotten(site: Site) -> None:
    site.configure(retention={"source": "7d", "results": "90d"})
    retention = retention_of(site)
    a_delivered_study(site)
    for number in (2, 3):
        site.clock.tick(8 * DAY)
        retention.step()
        site.receive([film(number)])
        assert site.router().step() == 0


def test_a_study_of_which_the_pacs_has_deleted_an_image_is_answered_once_its_results_are_gone_too(site: Site) -> None:
    """Until then the rest would replace the results of the whole; afterwards there is nothing to replace."""
    site.configure(retention={"source": "7d", "results": "30d"})
    retention = retention_of(site)
    a_delivered_study(site)
    site.clock.tick(8 * DAY)
    retention.step()
    site.receive([film(2)])
    assert site.router().step() == 0
    site.clock.tick(20 * DAY)
    retention.step()
    site.receive([film(2)])
    assert site.router().step() == 0, "the results of the whole are still here"
    site.clock.tick(5 * DAY)
    retention.step()
    site.receive([film(3)])
    assert site.router().step() == 1


def test_a_document_that_is_added_to_a_study_whose_images_were_removed_makes_no_job(site: Site) -> None:
    anything = {**ROUTE, "when": {"StudyInstanceUID": {"present": True}}}
    site.configure(routes=[anything], retention={"source": "7d", "results": "90d"})
    a_delivered_study(site)
    site.clock.tick(8 * DAY)
    retention_of(site).step()
    report = film(2, series="dose")
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    site.receive([report])
    assert site.router().step() == 0
    assert [job.state for job in site.jobs()] == [JobState.DONE]
