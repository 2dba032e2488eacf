"""A worker leaves the numbers of its answers for the watch on drift, once a study."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from catalog.test_drift import facts, finding
from planted import BRIGHT
from site_under_test import ROUTE, Site, film
from whyray.app.retention import Retention
from whyray.catalog import DriftSample, JobState, drift, jobs
from whyray.catalog.drift import SeriesKey
from whyray.jobs.worker import run_job

PROBABILITY = SeriesKey("planted@1.0.0", "probability", BRIGHT)


def kept(site: Site) -> dict[SeriesKey, list[float]]:
    with site.catalog.read() as session:
        return {key: drift.first(session, number, 99) for number, key in drift.all_series(session).items()}


def test_a_finished_job_leaves_its_numbers_and_running_again_leaves_no_more(site: Site) -> None:
    site.receive([film(1)])
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    values = kept(site)
    assert {key.measure for key in values} >= {"probability", "grade", "salient-area"}
    assert values[PROBABILITY] == [site.jobs()[0].findings[0]["probability"]]
    with site.catalog.begin() as session:
        jobs.retry(session, job.id, site.clock(), actor="ada")
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    assert kept(site) == values


def test_a_job_that_fails_leaves_none(site: Site) -> None:
    site.receive([film(1, modality="MG")])
    site.configure(routes=[{**ROUTE, "when": {"Modality": "MG"}}])
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.FAILED
    assert kept(site) == {}


def test_old_numbers_are_forgotten_with_events_but_never_the_reference(site: Site) -> None:
    with site.catalog.begin() as session:
        for number in range(drift.REFERENCE + 5):
            drift.record_drift(session, facts(finding(explanations=[]), job_id=f"job-{number}"))
    site.clock.tick(timedelta(days=800).total_seconds())
    Retention(site.catalog, site.storage, lambda: site.config).step()
    with site.catalog.read() as session:
        assert session.scalar(select(func.count()).select_from(DriftSample)) == drift.REFERENCE
