"""A rejection note about another patient than the images rejects nothing, whichever comes first."""

from __future__ import annotations

import pytest

from app.rejection_scene import EXPIRED, events, films, note, ordered, taken, uids
from site_under_test import Site
from whyray.catalog import (
    JobState,
    contents,
)
from whyray.catalog.attention import attention
from whyray.catalog.shortages import Disks


@pytest.mark.parametrize("images_first", [True, False])
def test_a_note_about_another_patient_rejects_nothing_and_is_an_error(site: Site, images_first: bool) -> None:
    images = films(1, 2)
    foreign = note(images[1])
    foreign.PatientID, foreign.PatientName = "OTHER", "Somebody^Else"
    router = site.router()
    if images_first:
        site.receive(images)
        router.step()
        site.receive([foreign])
    else:
        site.receive([foreign, *images])
    router.step()
    router.step()
    (job,) = site.jobs()
    assert (job.state, taken(site, job)) == (JobState.QUEUED, uids(*images))
    (event,) = events(site)
    assert (event.kind, event.severity) == ("rejection.refused", "error")
    assert "PatientID, PatientName" in event.message
    assert "Somebody" not in event.message
    with site.catalog.read() as session:
        items = attention(session, site.clock(), destinations=["pacs", "archive"], disks=Disks())
    (told,) = [item for item in items if item.kind not in ("jobs.no-worker", "deliveries.no-role")]
    assert (told.kind, told.severity) == ("rejection.refused", "error")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_note_that_came_before_its_images_is_compared_as_they_come(site: Site, at_once: bool) -> None:
    first, second = films(1, 2)
    foreign = note(second)
    foreign.PatientID = "OTHER"
    router = site.router()
    site.receive([foreign])
    assert router.step() == 0
    site.clock.tick(60)
    for batch in ([first, second],) if at_once else ([first], [second]):
        site.receive(batch)
        router.step()
        site.clock.tick(60)
    assert taken(site, site.jobs()[-1]) == uids(first, second)
    assert [event.kind for event in events(site)] == ["instance.rejected", "rejection.refused"]
    assert router.step() == 0
    assert len(events(site)) == 2


def test_of_two_notes_that_came_first_the_one_of_this_patient_is_obeyed(site: Site) -> None:
    first, second = films(1, 2)
    foreign, own = note(second), note(second)
    foreign.PatientID = "OTHER"
    router = site.router()
    for early in (foreign, own):
        site.receive([early])
        router.step()
        site.clock.tick(60)
    site.receive([first, second])
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(first)
    assert sorted(event.kind for event in events(site)) == ["instance.rejected"] * 2 + ["rejection.refused"]


def test_a_note_that_came_first_about_this_patient_stays_obeyed(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([note(second)])
    router.step()
    for image in (first, second):
        site.clock.tick(60)
        site.receive([image])
        router.step()
    assert taken(site, site.jobs()[-1]) == uids(first)
    assert [event.kind for event in events(site)] == ["instance.rejected"]


def test_a_note_that_was_compared_is_not_compared_with_what_corrected_its_images(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([first, second])
    router.step()
    site.clock.tick(60)
    site.receive([note(second)])
    router.step()
    site.clock.tick(60)
    corrected = films(1, 2)
    for image in corrected:
        image.PatientID = "OTHER"
    site.receive(corrected)
    with site.catalog.begin() as session:
        contents.use_newest(session, str(first.StudyInstanceUID), site.clock(), actor="eva", anyway=True)
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(first)
    assert [event.kind for event in events(site)] == ["instance.rejected"]


def test_a_foreign_note_that_was_obeyed_is_so_no_more_as_a_workitem_orders_what_came_later(site: Site) -> None:
    images = films(1, 2)
    foreign = note(images[1])
    foreign.PatientID = "OTHER"
    router = site.router()
    site.receive([foreign])
    router.step()
    site.clock.tick(60)
    site.receive(images, routed=False, released=False)
    ordered(site, *images)
    assert taken(site, site.jobs()[-1]) == uids(*images)


def test_a_note_without_name_and_in_another_case_is_of_the_same_patient(site: Site) -> None:
    first, second = films(1, 2)
    made = note(second)
    made.PatientName, made.PatientID = "", str(second.PatientID).lower()
    router = site.router()
    site.receive([first, second, made])
    router.step()
    assert taken(site, site.jobs()[0]) == uids(first)


def test_that_a_fetched_note_is_not_obeyed_is_told_once_however_often_jobs_are_asked_for(site: Site) -> None:
    images = films(1, 2)
    foreign = note(images[1])
    foreign.PatientID = "OTHER"
    site.receive([*images, foreign], routed=False, released=False)
    assert ordered(site, *images) == ordered(site, *images)
    assert taken(site, site.jobs()[0]) == uids(*images)
    assert [event.kind for event in events(site)] == ["rejection.refused"]


@pytest.mark.parametrize("by_workitem", [False, True])
def test_a_note_on_a_series_of_two_patients_is_decided_about_once(site: Site, by_workitem: bool) -> None:
    first, second, *others = films(1, 2, 3, 4, 5)
    second.PatientID = "OTHER"
    router = site.router()
    for early in (first, note(first, second)):
        site.receive([early])
        router.step()
        site.clock.tick(60)
    for here, image in enumerate((second, *others)):
        site.receive([image])
        router.step()
        if by_workitem and here:
            ordered(site, *others[:here])
            router.step()
        site.clock.tick(60)
    assert [event.kind for event in events(site)] == ["instance.rejected"]
    assert taken(site, site.jobs()[-1]) == uids(*others)
    assert site.jobs()[-1].state is JobState.QUEUED


@pytest.mark.parametrize("at_once", [True, False])
def test_a_note_of_expiry_is_not_compared_with_what_is_stored_anew_after_it(site: Site, at_once: bool) -> None:
    images = films(1, 2)
    expired = note(*images, title=EXPIRED)
    for image in images:
        image.PatientID = "MERGED"
    router = site.router()
    site.receive([expired])
    if not at_once:
        router.step()
    site.clock.tick(60)
    site.receive(images)
    router.step()
    assert taken(site, site.jobs()[-1]) == uids(*images)
    (event,) = events(site)
    assert "2 instances, 0 of them here, rejected" in event.message
