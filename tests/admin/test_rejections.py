"""What a PACS rejected of a study, on the API and on the page, and how an administrator lifts that."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from admin.browser import Page
from admin.scene import Scene
from admin.test_api import get
from admin.test_page import driver, page  # noqa: F401  # fixtures
from whyray.admin.operations import OPERATIONS
from whyray.base.roles import Right
from whyray.catalog import RejectionNote, Study, rejections, studies

NOTE = "1.2.3.99"


def reject(scene: Scene, name: str) -> str:
    """The first instance of a study is rejected."""
    uid = scene.uid(name)
    with scene.catalog.begin() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        made = RejectionNote(NOTE, scene.now, "113037", frozenset({scene.uid(name, "instance", 0)}))
        rejections.enter(session, study.id, made, scene.now, actor="PACS_MAIN")
        studies.settle(session, study.id, study.received_sequence, "rejected: 1")
    return uid


def test_a_study_says_what_is_rejected_by_which_note(scene: Scene, client: TestClient) -> None:
    uid = reject(scene, "done")
    (row,) = get(client, f"studies/{uid}")["rejections"]
    row.pop("since")
    assert row == {
        "note": NOTE,
        "title": "113037 Rejected for Patient Safety Reasons",
        "lifted": False,
        "instances": 1,
    }
    assert get(client, f"studies/{scene.uid('failed')}")["rejections"] == []


def test_a_rejection_is_lifted_for_a_reason_and_the_study_is_received_anew(scene: Scene, client: TestClient) -> None:
    uid = reject(scene, "done")
    path = f"/api/v1/studies/{uid}/lift-rejections"
    assert client.post(path).status_code == 422
    assert client.post(path, params={"reason": "  "}).status_code == 422
    assert client.post(path, params={"reason": "by mistake", "note": "1.2.3"}).status_code == 404
    answer = client.post(path, params={"reason": "by mistake", "note": NOTE})
    assert (answer.status_code, answer.json()) == (
        200,
        {"instances": 1, "becomes": "the study is routed anew"},
    )
    study = get(client, f"studies/{uid}")
    (row,) = study["rejections"]
    assert (row["lifted"], row["title"]) == (True, "113037 Rejected for Patient Safety Reasons")
    assert study["state"] == "receiving"
    (event,) = [event for event in study["events"] if event["kind"] == "rejection.lifted"]
    assert "by mistake" in event["message"]
    assert event["actor"] != "whyray"
    assert client.post(path, params={"reason": "again"}).status_code == 404


def test_who_steers_work_lifts() -> None:
    assert "POST /api/v1/studies/{study_instance_uid}/lift-rejections" in OPERATIONS[Right.STEER]


@pytest.mark.timeout(120)
def test_an_administrator_lifts_a_rejection_on_the_page_and_says_why(scene: Scene, page: Page) -> None:  # noqa: F811
    uid = reject(scene, "done")
    page.open(f"studies/{uid}").shows("113037 Rejected for Patient Safety Reasons")
    page.press('[data-action="lift"]')
    page.shows("Why, without the name of a patient:", "#ask")
    page.shows("what was fetched for a workitem alone is to be ordered anew", "#ask")
    assert not page.find("#ask-yes").is_enabled()
    page.find("#ask-reason").send_keys("by mistake")
    page.press("#ask-yes")
    page.shows("1 instance rejected no more: the study is routed anew.", "#said")
    page.shows("113037 Rejected for Patient Safety Reasons, lifted: used again")
    assert page.complaints() == []
