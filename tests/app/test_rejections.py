"""Images that a key object selection rejects (IHE IOCM) are explained no more, whenever it comes."""

from __future__ import annotations

import pytest
from pydicom.sr.coding import Code
from sqlalchemy import select

from app.rejection_scene import EXPIRED, QUALITY, SAFETY, WORKLIST, events, films, note, run, taken, uids
from site_under_test import ROUTE, Site
from whyray.catalog import (
    Delivery,
    DeliveryState,
    JobState,
    ResultRow,
    Study,
    jobs,
    studies,
)
from whyray.catalog.attention import attention
from whyray.catalog.shortages import Disks


@pytest.mark.parametrize("title", [QUALITY, SAFETY, WORKLIST, EXPIRED], ids=lambda code: code.value)
def test_a_job_is_made_of_the_rest_and_what_was_made_of_the_whole_is_withdrawn(site: Site, title: Code) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([first, second])
    assert router.step() == 1
    (whole,) = site.jobs()
    run(site, whole, "1", "2")
    site.receive([note(second, title=title)])
    assert router.step() == 1
    whole, rest = site.jobs()
    assert (whole.state, rest.state, rest.revision) == (JobState.SUPERSEDED, JobState.QUEUED, 2)
    assert taken(site, rest) == uids(first)
    with site.catalog.read() as session:
        assert all(row.withdrawn_at is not None for row in session.scalars(select(ResultRow)))
        assert set(session.scalars(select(Delivery.state))) == {DeliveryState.CANCELLED}
    (event,) = events(site)
    assert f"{title.value} {title.meaning}" in event.message
    assert "from PACS" in event.message
    assert (event.severity, event.study_instance_uid) == ("warning", str(second.StudyInstanceUID))
    assert router.step() == 0


def test_a_study_of_which_all_is_rejected_has_no_job_any_more(site: Site) -> None:
    images = films(1, 2)
    router = site.router()
    site.receive(images)
    router.step()
    site.receive([note(*images)])
    assert router.step() == 0
    (job,) = site.jobs()
    assert job.state is JobState.SUPERSEDED
    with site.catalog.read() as session:
        (said,) = session.scalars(select(Study.note))
    assert said is not None
    assert said.endswith("; rejected: 2")


def test_what_is_rejected_before_it_comes_is_not_explained_when_it_comes(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([note(second)])
    assert router.step() == 0
    site.receive([first, second])
    assert router.step() == 1
    assert taken(site, site.jobs()[0]) == uids(first)


def test_results_that_were_sent_already_are_told_as_an_error(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    site.receive([image])
    router.step()
    run(site, site.jobs()[0], "1")
    with site.catalog.begin() as session:
        sent = session.scalars(select(Delivery).where(Delivery.destination == "archive")).one()
        sent.state = DeliveryState.SENT
    site.receive([note(image)])
    router.step()
    (event,) = events(site)
    assert event.severity == "error"
    assert "1 had been sent" in event.message
    assert "archive may still show them" in event.message
    with site.catalog.read() as session:
        items = attention(session, site.clock(), destinations=["pacs", "archive"], disks=Disks())
    (told,) = [item for item in items if item.kind not in ("jobs.no-worker", "deliveries.no-role")]
    assert (told.kind, told.severity, told.count) == ("instance.rejected", "warning", 1)


def test_a_note_that_comes_twice_withdraws_once_and_two_notes_add_up(site: Site) -> None:
    first, second, third = films(1, 2, 3)
    router = site.router()
    site.receive([first, second, third])
    router.step()
    for rejected in (second, second, third):
        site.receive([note(rejected)])
        router.step()
    assert len(events(site)) == 2
    assert taken(site, site.jobs()[-1]) == uids(first)


def test_other_series_and_other_studies_are_left_as_they_are(site: Site) -> None:
    (hand,), (foot,), (elsewhere,) = (
        films(1),
        films(2, series="foot"),
        films(3, study="other", series="other"),
    )
    site.configure(routes=[ROUTE | {"name": name, "when": {"SeriesInstanceUID": uid}} for name, uid in (
        ("hand", str(hand.SeriesInstanceUID)), ("foot", str(foot.SeriesInstanceUID))
    )] + [ROUTE])  # fmt: skip
    router = site.router()
    site.receive([hand, foot])
    site.receive([elsewhere])
    router.step()
    before = {job.id: job.state for job in site.jobs()}
    site.receive([note(hand)])
    router.step()
    by_state: dict[str, set[JobState]] = {}
    for job in site.jobs():
        if job.id in before:
            by_state.setdefault(f"{job.route} {job.study_id}", set()).add(job.state)
    assert by_state == {
        "hand 1": {JobState.SUPERSEDED},
        "foot 1": {JobState.QUEUED},
        "films 1": {JobState.SUPERSEDED},
        "films 2": {JobState.QUEUED},
    }


def test_a_job_that_was_about_to_be_made_as_the_note_came_is_not_made(site: Site) -> None:
    images = films(1, 2)
    router = site.router()
    uid = site.receive(images)
    with site.catalog.read() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        seen = studies.routable(session, study.id)
    site.receive([note(images[1])])
    router.step()
    with site.catalog.begin() as session:
        late = jobs.create(
            session, study=study, route="late", package="planted@1.0.0", instances=seen, priority=1, now=site.clock()
        )
    assert late is None
