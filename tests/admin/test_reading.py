"""Readers and their studies over HTTP: what they reach, in which order, and what is kept of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from admin.conftest import local_client
from admin.scene import CONFIG, Scene, config_of
from reader_study.kits import put_in, small_kit
from whyray.catalog import keys
from whyray.reader_study import ReadingFact
from whyray.reader_study.register import facts, find

PASSWORD = "correct horse battery"
SECURED = CONFIG + (
    "admin: {logins: [{user: ada, password: {env: P}, role: reader}, {user: grace, password: {env: P}, role: reader}, "
    "{user: lead, password: {env: P}}]}\n"
)
HOST = {"client": ("10.0.0.77", 40000), "base_url": "http://whyray.hospital.example"}


@pytest.fixture
def site(scene: Scene) -> Scene:
    scene.config = config_of(SECURED, scene.folder, P=PASSWORD)
    put_in(scene.catalog, scene.storage, small_kit(), ["ada", "grace"])
    return scene


def logged_in(site: Scene, user: str) -> TestClient:
    client = local_client(site, **HOST)
    assert client.post("/login", data={"user": user, "password": PASSWORD}).status_code == 303
    return client


@pytest.fixture
def ada(site: Scene) -> TestClient:
    return logged_in(site, "ada")


def agree(client: TestClient, name: str = "spots") -> None:
    assert client.post(f"/api/v1/reading/{name}/consent").status_code == 200


def given(shown: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "session": shown["session"],
        "position": shown["position"],
        "answer": "present",
        "confidence": 4,
        "comment": "",
        "milliseconds": 3000,
    } | changed


def read_all(site: Scene, client: TestClient, name: str = "spots") -> list[dict[str, Any]]:
    seen = []
    while client.get(f"/api/v1/reading/{name}").json()["where"] == "ready":
        shown = client.post(f"/api/v1/reading/{name}/next").json()
        seen.append(shown)
        site.now += timedelta(seconds=5)
        assert client.post(f"/api/v1/reading/{name}/answers", json=given(shown)).status_code == 200
    return seen


def kept(site: Scene, name: str = "spots") -> list[ReadingFact]:
    with site.catalog.read() as session:
        return facts(find(session, name))


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/overview",
        "/api/v1/jobs",
        "/api/v1/results",
        "/api/v1/events",
        "/api/v1/reader-studies",
        "/api/v1/reading-lists",
        "/api/v1/openapi.json",
        "/api/docs",
        "/metrics",
        "/reader",
    ],
)
def test_a_reader_sees_nothing_of_the_admin_page(ada: TestClient, path: str) -> None:
    answer = ada.get(path)
    assert (answer.status_code, answer.json()["code"]) == (403, "ReadersOnly")


def test_a_reader_can_not_act_as_an_administrator(site: Scene, ada: TestClient) -> None:
    job = site.jobs["failed"]
    assert ada.post(f"/api/v1/jobs/{job}/retry").status_code == 403
    assert ada.post("/api/v1/reader-studies/spots/close").status_code == 403
    assert logged_in(site, "lead").get(f"/api/v1/jobs/{job}").json()["state"] == "failed"


def test_a_readers_browser_is_led_to_the_form(ada: TestClient) -> None:
    answer = ada.get("/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/reading")
    page = ada.get("/reading", headers={"Accept": "text/html"}).text
    assert "Not for diagnostic use" in page
    assert "Admin page" not in page


def test_a_form_of_another_site_can_not_answer(ada: TestClient) -> None:
    agree(ada)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = ada.post("/api/v1/reading/spots/next", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "CrossSiteRefused")


def test_a_reader_sees_only_studies_with_a_place_for_that_name(site: Scene, ada: TestClient) -> None:
    put_in(site.catalog, site.storage, small_kit(name="other"), ["grace", "lead"])
    assert [study["name"] for study in ada.get("/api/v1/reading").json()] == ["spots"]
    for path in ("/api/v1/reading/other", "/api/v1/reading/nothing"):
        answer = ada.get(path)
        assert answer.status_code == 404
        assert answer.json()["advice"] == "Ask who leads the study."
    assert ada.post("/api/v1/reading/other/next").status_code == 404


def test_no_case_is_shown_before_the_instructions_are_agreed_to(ada: TestClient) -> None:
    assert ada.get("/api/v1/reading/spots").json()["where"] == "consent"
    refused = ada.post("/api/v1/reading/spots/next")
    assert (refused.status_code, refused.json()["code"]) == (409, "TransitionError")
    agree(ada)
    assert ada.post("/api/v1/reading/spots/next").status_code == 200


def test_a_reader_sees_each_case_once_half_of_them_with_explanation(site: Scene, ada: TestClient) -> None:
    agree(ada)
    seen = read_all(site, ada)
    assert sorted(reading["case"] for reading in seen) == ["C001", "C002", "C003", "C004"]
    assert sum(bool(reading["explanation"]) for reading in seen) == 2
    assert all(reading["said"] for reading in seen)
    assert ada.get("/api/v1/reading/spots").json()["where"] == "finished"
    readings = kept(site)
    assert [reading.seconds for reading in readings] == [3.0] * 4
    assert {reading.reader for reading in readings} == {"R1"}
    grace = logged_in(site, "grace")
    agree(grace)
    swapped = {reading["case"]: bool(reading["explanation"]) for reading in read_all(site, grace)}
    assert swapped == {reading["case"]: not reading["explanation"] for reading in seen}


def test_where_the_control_is_the_image_alone_the_model_is_not_quoted(site: Scene, ada: TestClient) -> None:
    put_in(site.catalog, site.storage, small_kit(name="alone", control="image"), ["ada", "grace"])
    agree(ada, "alone")
    for reading in read_all(site, ada, "alone"):
        assert (reading["said"] is None) == (not reading["explanation"])


def test_nothing_that_a_reader_gets_tells_truth_or_source(site: Scene, ada: TestClient) -> None:
    agree(ada)
    said = ada.get("/api/v1/reading/spots").text + ada.post("/api/v1/reading/spots/next").text
    assert "2.25." not in said
    assert "truth" not in said


def test_only_pictures_of_the_case_shown_and_of_its_condition_can_be_had(site: Scene, ada: TestClient) -> None:
    agree(ada)
    kit = small_kit()
    every = {f"/api/v1/reading/spots/pictures/{name}" for name in kit.pictures}
    assert {ada.get(path).status_code for path in every} == {404}
    while ada.get("/api/v1/reading/spots").json()["where"] == "ready":
        shown = ada.post("/api/v1/reading/spots/next").json()
        allowed = {*shown["image"], *shown["explanation"]}
        assert {path for path in every if ada.get(path).status_code == 200} == allowed
        assert ada.get(shown["image"][0]).content == kit.pictures[shown["image"][0].rpartition("/")[2]]
        ada.post("/api/v1/reading/spots/answers", json=given(shown))
        assert {ada.get(path).status_code for path in allowed} == {404}


def test_an_answer_can_not_be_changed_or_given_ahead(site: Scene, ada: TestClient) -> None:
    agree(ada)
    shown = ada.post("/api/v1/reading/spots/next").json()
    ahead = ada.post("/api/v1/reading/spots/answers", json=given(shown, position=2))
    assert (ahead.status_code, ahead.json()["code"]) == (409, "TransitionError")
    assert ada.post("/api/v1/reading/spots/answers", json=given(shown)).status_code == 200
    again = ada.post("/api/v1/reading/spots/answers", json=given(shown, answer="absent"))
    assert again.status_code == 409
    assert ada.post("/api/v1/reading/spots/back", json={"position": 1}).status_code == 409
    assert [reading.says_present for reading in kept(site)] == [True]


@pytest.mark.parametrize("wrong", [{"answer": "perhaps"}, {"confidence": 6}, {"confidence": 0}, {"milliseconds": -1}])
def test_an_answer_that_the_form_can_not_give_is_refused(site: Scene, ada: TestClient, wrong: dict[str, Any]) -> None:
    agree(ada)
    shown = ada.post("/api/v1/reading/spots/next").json()
    assert ada.post("/api/v1/reading/spots/answers", json=given(shown, **wrong)).status_code == 422
    assert kept(site) == []


def test_a_break_brings_the_same_case_again_and_its_time_is_not_used(site: Scene, ada: TestClient) -> None:
    agree(ada)
    first = ada.post("/api/v1/reading/spots/next").json()
    site.now += timedelta(hours=20)  # the session ends meanwhile
    later = logged_in(site, "ada")
    assert later.post("/api/v1/reading/spots/next").json()["case"] == first["case"]
    assert later.post("/api/v1/reading/spots/answers", json=given(first)).status_code == 200
    (fact,) = kept(site)
    assert fact.seconds is None
    lead = logged_in(site, "lead").get("/api/v1/reader-studies").json()[0]
    assert [reader["interrupted"] for reader in lead["readers"]] == [1, 0]


def test_a_browser_that_claims_more_time_than_passed_is_not_believed(site: Scene, ada: TestClient) -> None:
    agree(ada)
    shown = ada.post("/api/v1/reading/spots/next").json()
    site.now += timedelta(seconds=4)
    ada.post("/api/v1/reading/spots/answers", json=given(shown, milliseconds=60_000))
    assert kept(site)[0].seconds is None


def test_where_a_study_allows_it_an_answer_is_changed_and_marked(site: Scene, ada: TestClient) -> None:
    put_in(site.catalog, site.storage, small_kit(name="back", going_back=True), ["ada", "grace"])
    agree(ada, "back")
    shown = ada.post("/api/v1/reading/back/next").json()
    site.now += timedelta(seconds=5)
    ada.post("/api/v1/reading/back/answers", json=given(shown, comment="a rib"))
    again = ada.post("/api/v1/reading/back/back", json={"position": 1}).json()
    assert again["answer"] == {"answer": "present", "confidence": 4, "comment": "a rib"}
    assert ada.get(again["image"][0]).status_code == 200
    assert ada.post("/api/v1/reading/back/answers", json=given(again, answer="absent")).status_code == 200
    assert ada.get("/api/v1/reading/back").json()["answered"] == 1
    (fact,) = kept(site, "back")
    assert (fact.says_present, fact.seconds) == (False, None)


def test_the_second_session_of_a_crossover_waits_for_the_washout(site: Scene, ada: TestClient) -> None:
    put_in(site.catalog, site.storage, small_kit(name="cross", crossover=True, washout_days=14), ["ada", "grace"])
    agree(ada, "cross")
    first = {reading["case"]: bool(reading["explanation"]) for reading in read_all(site, ada, "cross")}
    place = ada.get("/api/v1/reading/cross").json()
    assert (place["where"], place["session"]) == ("washout", 2)
    assert ada.post("/api/v1/reading/cross/next").status_code == 409
    site.now += timedelta(days=14, seconds=1)
    back = logged_in(site, "ada")
    second = {reading["case"]: bool(reading["explanation"]) for reading in read_all(site, back, "cross")}
    assert second == {case: not explained for case, explained in first.items()}
    assert back.get("/api/v1/reading/cross").json()["where"] == "finished"


def test_closing_a_study_stops_readers_and_keeps_their_answers(site: Scene, ada: TestClient) -> None:
    agree(ada)
    shown = ada.post("/api/v1/reading/spots/next").json()
    ada.post("/api/v1/reading/spots/answers", json=given(shown))
    lead = logged_in(site, "lead")
    assert lead.post("/api/v1/reader-studies/spots/close").json()["open"] is False
    assert ada.get("/api/v1/reading/spots").json()["where"] == "closed"
    assert ada.post("/api/v1/reading/spots/next").status_code == 409
    assert len(kept(site)) == 1
    assert lead.post("/api/v1/reader-studies/spots/open").json()["open"] is True
    assert ada.post("/api/v1/reading/spots/next").status_code == 200
    kinds = [event["kind"] for event in lead.get("/api/v1/events", params={"kind": "study"}).json()["items"]]
    assert kinds == ["study.opened", "study.closed", "study.opened", "study.imported"]


def test_an_administrator_sees_progress_and_no_answers(site: Scene, ada: TestClient) -> None:
    agree(ada)
    read_all(site, ada)
    text = logged_in(site, "lead").get("/api/v1/reader-studies").text
    assert '"answered":4' in text
    assert "confidence" not in text
    assert '"present"' not in text


def test_pictures_of_a_study_are_spared_by_the_sweep_of_orphans(site: Scene) -> None:
    with site.catalog.read() as session:
        stored = {picture.key for picture in find(session, "spots").pictures}
        assert len(stored) == 8
        assert keys.known(session, {*stored, "no-such-key"}) == stored
