"""A study that its sender corrected, on the API and on the page: what is shown, who may decide, what comes of it."""

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
from whyray.catalog import Event, PixelComparison, conflicts
from whyray.catalog.attention import attention
from whyray.catalog.conflicts import Difference
from whyray.catalog.shortages import Disks

OTHER_PATIENT = Difference(("PatientID", "PatientName"), ("StudyDescription",))


def correct(
    scene: Scene,
    name: str,
    *,
    count: int = 2,
    difference: Difference | None = OTHER_PATIENT,
    content: str = "corrected",
) -> str:
    """The instances of a study come again, and are compared unless `difference` is None."""
    uid = scene.receive(name, count=count, content=content)
    if difference is not None:
        with scene.catalog.begin() as session:
            pairs = conflicts.to_compare(session, 100)
            for pair in (candidate for candidate in pairs if candidate.study_instance_uid == uid):
                conflicts.compared(session, pair.instance_id, difference, scene.now)
    return uid


def post(client: TestClient, path: str, **query: object) -> dict[str, object]:
    answer = client.post(f"/api/v1/{path}", params=query)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_study_says_how_what_came_again_differs(scene: Scene, client: TestClient) -> None:
    uid = correct(scene, "done")
    study = get(client, f"studies/{uid}")
    assert len(study["newer"].pop("version")) == 64
    assert study["newer"] == {
        "instances": 2,
        "comparing": 0,
        "alone": 0,
        "identification": ["PatientID", "PatientName"],
        "others": ["StudyDescription"],
        "pixels": [PixelComparison.SAME],
    }
    assert study["withdrawn"] == {}
    assert get(client, f"studies/{scene.uid('failed')}")["newer"] is None


def test_the_newest_content_is_used_and_the_study_is_received_anew(scene: Scene, client: TestClient) -> None:
    uid = correct(scene, "done")
    done = post(client, f"studies/{uid}/use-newest")
    assert (done["instances"], done["jobs"], done["results"], done["sent"]) == (2, 1, 5, 3)
    study = get(client, f"studies/{uid}")
    assert (study["state"], study["newer"], sum(study["withdrawn"].values())) == ("receiving", None, 3)
    assert {job["state"] for job in study["job_list"]} == {"superseded"}
    assert all(result["superseded"] for result in study["results"])
    assert post(client, f"studies/{uid}/use-newest") == dict.fromkeys(done, 0)
    with scene.catalog.read() as session:
        (event,) = session.scalars(select(Event).where(Event.kind == "content.used"))
        assert event.actor != "whyray"


def test_what_is_in_use_is_kept_and_the_attention_goes(scene: Scene, client: TestClient) -> None:
    uid = correct(scene, "done")
    (item,) = [told for told in get(client, "overview")["attention"] if told["kind"] == "content.identification"]
    assert (item["severity"], item["view"], item["count"]) == ("error", f"studies/{uid}", 2)
    assert "2 instances came again with another PatientID, PatientName" in item["title"]
    assert post(client, f"studies/{uid}/keep")["instances"] == 2
    kinds = [told["kind"] for told in get(client, "overview")["attention"]]
    assert "content.identification" not in kinds
    assert get(client, f"studies/{uid}")["state"] == "done"


def test_many_corrected_studies_are_told_in_few_items(scene: Scene, client: TestClient) -> None:
    for number in range(12):
        scene.receive(f"many {number}")
        correct(scene, f"many {number}", count=1)
    items = [told for told in get(client, "overview")["attention"] if told["kind"] == "content.identification"]
    assert [told["count"] for told in items] == [1] * 9 + [3]
    assert items[-1]["title"].startswith("3 more studies may be under the wrong patient")
    assert items[-1]["view"] == "events?kind=content.identification"


def test_the_attention_lasts_longer_than_the_day(scene: Scene) -> None:
    correct(scene, "done")
    with scene.catalog.read() as session:
        later = scene.now.replace(year=scene.now.year + 1)
        kinds = [told.kind for told in attention(session, later, destinations=["pacs"], disks=Disks())]
        assert "content.identification" in kinds
        assert "instance.conflict" not in kinds


def test_a_study_that_would_name_two_patients_is_refused_unless_somebody_insists(
    scene: Scene, client: TestClient
) -> None:
    uid = correct(scene, "done", count=1)
    refused = client.post(f"/api/v1/studies/{uid}/use-newest")
    assert refused.status_code == 409
    assert "it would name two patients or orders" in refused.text
    assert get(client, f"studies/{uid}")["newer"]["alone"] == 1
    assert post(client, f"studies/{uid}/use-newest", anyway=True)["instances"] == 1


def test_what_is_not_compared_yet_is_not_decided_about(scene: Scene, client: TestClient) -> None:
    uid = correct(scene, "done", difference=None)
    assert get(client, f"studies/{uid}")["newer"]["comparing"] == 2
    assert client.post(f"/api/v1/studies/{uid}/use-newest").status_code == 409
    assert client.post(f"/api/v1/studies/{uid}/keep").status_code == 409
    assert client.post("/api/v1/studies/1.2.3/use-newest").status_code == 404


@pytest.mark.parametrize("action", ["keep", "use-newest"])
def test_what_came_after_a_study_was_shown_is_not_decided_about(scene: Scene, client: TestClient, action: str) -> None:
    uid = correct(scene, "done")
    version = get(client, f"studies/{uid}")["newer"]["version"]
    correct(scene, "done", content="corrected again")
    refused = client.post(f"/api/v1/studies/{uid}/{action}", params={"shown": version})
    assert (refused.status_code, "since it was shown" in refused.text) == (409, True)
    version = get(client, f"studies/{uid}")["newer"]["version"]
    assert post(client, f"studies/{uid}/{action}", shown=version)["instances"] == 2


def test_who_steers_work_decides(scene: Scene) -> None:
    for action in ("use-newest", "keep"):
        assert f"POST /api/v1/studies/{{study_instance_uid}}/{action}" in OPERATIONS[Right.STEER]


@pytest.mark.timeout(120)
def test_an_administrator_corrects_a_study_on_its_page(scene: Scene, page: Page) -> None:  # noqa: F811
    uid = correct(scene, "done")
    page.open(f"studies/{uid}").shows("Perhaps under the wrong patient.")
    page.shows("2 instances came again with another PatientID, PatientName. The pixel data are the same.")
    page.press('[data-action="use-newest"]')
    page.press("#ask-yes")
    page.shows("The newest content of 2 instances is in use; 1 job and 5 results were withdrawn.", "#said")
    page.shows("Other content of this study is in use since results were sent:")
    assert page.complaints() == []


@pytest.mark.timeout(120)
def test_an_administrator_keeps_what_is_in_use_on_the_page(scene: Scene, page: Page) -> None:  # noqa: F811
    uid = correct(scene, "done", count=1)
    page.open(f"studies/{uid}").shows("Use the newest anyway")
    page.press('[data-action="keep"]')
    page.press("#ask-yes")
    page.shows("What is in use stays so for 1 instance.", "#said")
    assert page.complaints() == []
