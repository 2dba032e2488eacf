"""Accepting and rejecting results over HTTP, and what is summed up of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from scipy.stats import binomtest

from admin.scene import Scene
from admin.test_metrics import scrape
from whyray.admin.verdicts import wilson


@pytest.fixture
def pictured(client: TestClient) -> str:
    items = client.get("/api/v1/results", params={"finding": "Cardiomegaly", "kind": "sc"}).json()["items"]
    return f"/api/v1/results/{items[0]['sop_instance_uid']}/feedback"


def test_a_verdict_is_kept_with_package_target_method_and_grade(client: TestClient, pictured: str) -> None:
    answer = client.post(pictured, json={"verdict": "reject", "reason": "wrong-place", "comment": "left, not right"})
    assert answer.status_code == 200
    mine = answer.json()["mine"]
    assert (mine["package"], mine["target"], mine["method"], mine["grade"]) == (
        "cxr-findings@1.0.0",
        "Cardiomegaly",
        "grad-cam",
        "green",
    )
    assert (mine["actor"], mine["reason"], mine["comment"]) == ("local", "wrong-place", "left, not right")
    event = client.get("/api/v1/events", params={"kind": "feedback"}).json()["items"][0]
    assert (event["kind"], event["actor"]) == ("feedback.reject", "local")
    assert "left" not in event["message"]


def test_a_second_verdict_replaces_the_first_and_can_be_taken_back(client: TestClient, pictured: str) -> None:
    client.post(pictured, json={"verdict": "reject", "reason": "other"})
    changed = client.post(pictured, json={"verdict": "accept"}).json()
    assert (changed["accepted"], changed["rejected"], changed["mine"]["reason"]) == (1, 0, None)
    assert client.delete(pictured).json() == {"mine": None, "accepted": 0, "rejected": 0}
    assert client.delete(pictured).status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"verdict": "perhaps"}, {"verdict": "reject", "reason": "because"}, {"verdict": "accept", "who": "me"}]
)
def test_what_is_no_verdict_is_refused(client: TestClient, pictured: str, body: dict[str, str]) -> None:
    assert client.post(pictured, json=body).status_code == 422


def test_verdicts_are_summed_up_by_package_target_method_and_grade_and_by_week(
    scene: Scene, client: TestClient
) -> None:
    uids = [
        result["sop_instance_uid"] for result in client.get("/api/v1/results", params={"kind": "sc"}).json()["items"]
    ]
    client.post(f"/api/v1/results/{uids[0]}/feedback", json={"verdict": "accept"})
    scene.now += timedelta(days=7)
    client.post(f"/api/v1/results/{uids[1]}/feedback", json={"verdict": "reject", "reason": "too-vague"})
    answer = client.get("/api/v1/feedback", params={"package": "cxr-findings"}).json()
    assert [(tally["share"], tally["reasons"]) for tally in answer["tallies"]] == [(0.0, {"too-vague": 1}), (1.0, {})]
    assert {(tally["target"], tally["grade"]) for tally in answer["tallies"]} == {
        ("Cardiomegaly", "green"),
        ("Effusion", "amber"),
    }
    assert [(week["week"], week["accepted"], week["rejected"]) for week in answer["weeks"]] == [
        ("2026-03-02", 1, 0),
        ("2026-03-09", 0, 1),
    ]
    assert client.get("/api/v1/feedback", params={"package": "cxr"}).json()["tallies"] == []
    listed = client.get("/api/v1/feedback/verdicts").json()
    assert (listed["total"], listed["items"][0]["verdict"]) == (2, "reject")


@pytest.mark.parametrize(("good", "total"), [(0, 5), (5, 5), (3, 10), (97, 120)])
def test_the_interval_of_a_share_is_wilsons(good: int, total: int) -> None:
    interval = binomtest(good, total).proportion_ci(method="wilson")
    assert wilson(good, total) == pytest.approx((interval.low, interval.high))


def test_verdicts_are_a_metric_without_names(client: TestClient, pictured: str) -> None:
    client.post(pictured, json={"verdict": "accept", "comment": "secret words"})
    metrics = scrape(client)
    assert metrics["whyray_feedback", (("package", "cxr-findings@1.0.0"), ("verdict", "accept"))] == 1
    text = client.get("/metrics").text
    assert "secret" not in text
    assert "local" not in text
