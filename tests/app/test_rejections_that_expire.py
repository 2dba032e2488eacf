"""Images that only expired in the PACS are taken where they come anew, and rejections outlive their studies."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.rejection_scene import EXPIRED, SAFETY, days, events, films, note, ordered, retention, run, taken, uids
from site_under_test import ROUTE, Site
from whyray.catalog import (
    Delivery,
    DeliveryState,
    Rejection,
    ResultRow,
    Study,
    removal,
)


def test_a_rejected_image_that_comes_again_stays_rejected_unless_it_had_only_expired(site: Site) -> None:
    for study, title, back in (("safety", SAFETY, False), ("expired", EXPIRED, True)):
        (image,) = films(1, study=study, series=study)
        router = site.router()
        uid = site.receive([image])
        router.step()
        site.receive([note(image, title=title)])
        router.step()
        with site.catalog.begin() as session:
            study_id = session.scalars(select(Study.id).where(Study.study_instance_uid == uid)).one()
            removal.remove_instances(session, study_id)
        site.clock.tick(3600)
        site.receive([image])
        assert router.step() == (1 if back else 0), study


def test_what_had_expired_may_expire_again_or_prove_wrong(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    uid = site.receive([image])
    router.step()
    made = []
    for title in (EXPIRED, EXPIRED, SAFETY):
        site.clock.tick(60)
        site.receive([note(image, title=title)])
        made.append(router.step())
        with site.catalog.begin() as session:
            study_id = session.scalars(select(Study.id).where(Study.study_instance_uid == uid)).one()
            removal.remove_instances(session, study_id)
        site.clock.tick(60)
        site.receive([image])
        made.append(router.step())
    assert made == [0, 1, 0, 1, 0, 0]
    assert len(events(site)) == 3


@pytest.mark.parametrize("otherwise", ["keep 1d", "discard"])
def test_a_study_of_which_all_is_rejected_is_kept_as_any_other(site: Site, otherwise: str) -> None:
    site.configure(otherwise=otherwise)
    images = films(1, 2)
    router = site.router()
    site.receive(images)
    router.step()
    run(site, site.jobs()[0], "1")
    with site.catalog.begin() as session:
        for sent in session.scalars(select(Delivery)):
            sent.state, sent.sent_at = DeliveryState.SENT, site.clock()
    site.receive([note(*images)])
    router.step()
    site.clock.tick(days(2))
    assert retention(site).step() == 0
    with site.catalog.read() as session:
        assert session.scalars(select(Study.expires_at)).all() == [None]
        assert len(session.scalars(select(ResultRow)).all()) == 1
        assert len(session.scalars(select(Delivery)).all()) == 2


@pytest.mark.parametrize("otherwise", ["keep 1d", "discard"])
def test_a_rejection_outlives_its_study(site: Site, otherwise: str) -> None:
    site.configure(otherwise=otherwise)
    first, second = films(1, 2)
    router = site.router()
    site.receive([note(second)])
    router.step()
    site.clock.tick(days(400))
    for _ in range(2):
        retention(site).step()
    with site.catalog.read() as session:
        assert session.scalars(select(Study)).all() == []
    site.receive([first, second])
    assert router.step() == 1
    assert taken(site, site.jobs()[-1]) == uids(first)


def test_what_had_expired_is_forgotten_with_its_study(site: Site) -> None:
    (image,) = films(1)
    router = site.router()
    site.receive([image])
    router.step()
    site.receive([note(image, title=EXPIRED)])
    router.step()
    site.clock.tick(days(4000))
    for _ in range(3):
        retention(site).step()
    with site.catalog.read() as session:
        assert session.scalars(select(Study)).all() == []
        assert session.scalars(select(Rejection)).all() == []


@pytest.mark.parametrize("routed", [True, False])
def test_what_had_expired_and_is_stored_again_while_it_is_still_here_is_taken(site: Site, routed: bool) -> None:
    images = films(1, 2)
    router = site.router()
    uid = site.receive(images)
    router.step()
    site.receive([note(*images, title=EXPIRED)])
    assert router.step() == 0
    site.clock.tick(3600)
    site.receive(images, routed=routed)
    assert router.step() == (1 if routed else 0)
    if not routed:
        ordered(site, *images)
    assert taken(site, site.jobs()[-1]) == uids(*images)
    with site.catalog.read() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        assert (study.last_received_at, study.expires_at) == (site.clock(), None)


def test_what_is_wrong_and_is_stored_again_while_it_is_still_here_stays_wrong(site: Site) -> None:
    images = films(1, 2)
    router = site.router()
    site.receive(images)
    router.step()
    for title in (EXPIRED, SAFETY):
        site.receive([note(*images, title=title)])
        router.step()
    site.clock.tick(3600)
    site.receive(images)
    assert router.step() == 0
    assert len(site.jobs()) == 1


def test_what_no_route_takes_and_a_workitem_orders_is_kept_as_retention_says(site: Site) -> None:
    images = films(1, 2)
    site.configure(routes=[ROUTE | {"when": {"Modality": "MG"}}], otherwise="keep 1d")
    site.receive(images)
    assert site.router().step() == 0
    site.configure(otherwise="keep 1d")
    ordered(site, *images)
    run(site, site.jobs()[0])
    site.clock.tick(days(2))
    assert retention(site).step() == 0
    assert len(site.jobs()) == 1
