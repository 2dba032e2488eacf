"""Every endpoint, on a catalog that the catalog's own functions filled."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from sqlalchemy import event
from sqlalchemy.exc import DataError

from admin.scene import FINDINGS, GRADES, LOCAL, READY, Scene, config_of
from synthetic import radiograph, write
from whyray.catalog import DeliveryState, JobState, ResultRow, deliveries, events, jobs, processes

JOB_STATES = {state.value for state in JobState}


def get(client: TestClient, path: str, **query: object) -> Any:
    response = client.get(f"/api/v1/{path}", params=query)  # type: ignore[arg-type]
    assert response.status_code == 200, response.text
    return response.json()


def test_the_overview_tallies_every_state_and_says_it_is_not_for_diagnostic_use(client: TestClient) -> None:
    overview = get(client, "overview")
    assert overview["jobs"] == {
        "queued": 2,  # 'queued' and the new revision of 'superseded'
        "running": 1,
        "waiting": 1,
        "done": 1,
        "failed": 1,
        "cancelling": 1,
        "cancelled": 1,
        "superseded": 1,
    }
    assert overview["notice"] == "Not for diagnostic use"
    assert overview["queue"]["queued"] == {"stat": 0, "urgent": 2, "routine": 0}
    assert overview["studies"]["receiving"] == 2
    assert {process["name"]: process["alive"] for process in overview["processes"]} == {
        "intake-1": True,
        "worker-1": True,
        "delivery-1": False,
    }
    pacs, research = overview["deliveries"]
    assert pacs["states"] == {"committed": 1, "sent": 1, "failed": 1, "waiting": 1, "sending": 1}
    assert research["states"] == {"waiting": 2, "queued": 3}
    assert research["last_error"]["code"] == "PeerUnreachable"
    assert overview["storage_free_bytes"] > 0


def test_the_overview_says_what_is_stuck_and_what_to_do(client: TestClient) -> None:
    attention = get(client, "overview")["attention"]
    by_kind = {entry["kind"]: entry for entry in attention}
    assert {"jobs.failed", "jobs.waiting", "deliveries.failed", "deliveries.waiting", "process.gone"} <= set(by_kind)
    assert by_kind["instance.conflict"]["count"] == 1
    assert all(entry["advice"] and entry["title"] for entry in attention)
    assert "PackageError" in by_kind["jobs.failed"]["title"]
    severities = [entry["severity"] for entry in attention]
    assert severities == sorted(severities)


def test_a_remedy_offered_by_the_overview_can_be_sent_as_it_is(client: TestClient) -> None:
    failed = next(entry for entry in get(client, "overview")["attention"] if entry["kind"] == "jobs.failed")
    answer = client.post("/api/v1/bulk", json=failed["remedies"][0]["body"])
    assert answer.json() == {"matched": 1, "moved": 1, "refused": 0}
    assert not [entry for entry in get(client, "overview")["attention"] if entry["kind"] == "jobs.failed"]


def test_deliveries_to_a_destination_that_the_configuration_no_longer_names_need_attention(
    scene: Scene, client: TestClient
) -> None:
    named = {name: destination for name, destination in scene.config.destinations.items() if name != "research"}
    scene.config = scene.config.model_copy(update={"destinations": named})
    unknown = next(entry for entry in get(client, "overview")["attention"] if entry["kind"] == "destination.unknown")
    assert unknown["count"] == 5
    for remedy in unknown["remedies"]:
        assert client.post("/api/v1/bulk", json=remedy["body"]).status_code == 200
    assert get(client, "deliveries", destination="research", state="cancelled")["total"] == 5


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("receiving", {"conflict", "arriving"}),
        ("failed", {"failed"}),
        ("done", {"done"}),
        ("stopped", {"cancelled"}),
        ("working", {"waiting", "cancelling", "running", "superseded", "queued"}),
    ],
)
def test_studies_can_be_filtered_by_state(scene: Scene, client: TestClient, state: str, names: set[str]) -> None:
    listed = get(client, "studies", state=state)["items"]
    assert {study["study_instance_uid"] for study in listed} == {scene.uid(name) for name in names}
    assert {study["state"] for study in listed} == {state}


def test_studies_can_be_found_by_part_of_their_uid(scene: Scene, client: TestClient) -> None:
    answer = get(client, "studies", uid=scene.uid("done")[8:25])
    assert [study["study_instance_uid"] for study in answer["items"]] == [scene.uid("done")]
    assert get(client, "studies", uid="%")["total"] == 0


def test_a_list_is_paged_without_losing_or_repeating_anything(client: TestClient) -> None:
    pages = [get(client, "studies", limit=4, offset=offset, sort="received") for offset in (0, 4, 8)]
    uids = [row["study_instance_uid"] for page in pages for row in page["items"]]
    assert len(uids) == len(set(uids)) == pages[0]["total"] == 10
    times = [row["last_received_at"] for page in pages for row in page["items"]]
    assert times == sorted(times)


def test_a_study_shows_its_series_conflicts_jobs_results_and_events(scene: Scene, client: TestClient) -> None:
    conflict = get(client, f"studies/{scene.uid('conflict')}")
    assert (conflict["instances"], conflict["conflicts"]) == (1, 1)
    assert conflict["detail"][0]["calling_aes"] == ["PACS_MAIN"]
    assert [event["kind"] for event in conflict["events"]] == ["instance.conflict"]
    done = get(client, f"studies/{scene.uid('done')}")
    assert [job["id"] for job in done["job_list"]] == [scene.jobs["done"]]
    assert len(done["results"]) == 5
    assert done["note"] == "chest radiographs: cxr-findings@1.0.0"


@pytest.mark.parametrize("state", sorted(JOB_STATES))
def test_jobs_can_be_filtered_by_each_state(client: TestClient, state: str) -> None:
    answer = get(client, "jobs", state=state)
    assert answer["total"] >= 1
    assert {job["state"] for job in answer["items"]} == {state}


def test_jobs_can_be_filtered_by_route_package_and_destination(scene: Scene, client: TestClient) -> None:
    assert get(client, "jobs", route="head CT")["total"] == 1
    assert get(client, "jobs", package="cxr-findings")["total"] == get(client, "jobs")["total"]
    assert get(client, "jobs", package="cxr-findings@2.0.0")["total"] == 0
    assert [job["id"] for job in get(client, "jobs", destination="pacs")["items"]] == [scene.jobs["done"]]
    assert get(client, "jobs", study=scene.uid("failed"))["items"][0]["id"] == scene.jobs["failed"]


def test_what_is_stuck_can_be_filtered_by_its_error(scene: Scene, client: TestClient) -> None:
    assert [job["id"] for job in get(client, "jobs", error="PackageError")["items"]] == [scene.jobs["failed"]]
    assert get(client, "jobs", error="PackageError", route="chest radiographs")["total"] == 0
    assert get(client, "jobs", error="PackageError", state="waiting")["total"] == 0
    assert get(client, "jobs", error="PackageError", study=scene.uid("failed"))["total"] == 1
    assert get(client, "jobs", error="no such")["total"] == 0
    waiting = get(client, "deliveries", error="PeerUnreachable", destination="research")
    assert {delivery["error"]["code"] for delivery in waiting["items"]} == {"PeerUnreachable"}
    assert waiting["total"] == 2
    assert get(client, "deliveries", error="PeerUnreachable", route="head CT")["total"] == 0


def test_what_needs_attention_is_shown_as_often_as_it_is_counted(client: TestClient) -> None:
    stuck = [
        entry for entry in get(client, "overview")["attention"] if entry["kind"].split(".")[0] in ("jobs", "deliveries")
    ]
    assert len(stuck) >= 4
    for entry in stuck:
        assert client.get(f"/api/v1/{entry['view']}").json()["total"] == entry["count"], entry["title"]


def test_a_job_shows_findings_results_and_what_the_pacs_answered(scene: Scene, client: TestClient) -> None:
    job = get(client, f"jobs/{scene.jobs['done']}")
    worst = GRADES | {"Cardiomegaly": "red"}  # its region-shares are withheld
    assert [(finding["name"], finding["probability"], finding["grade"]) for finding in job["findings"]] == [
        (finding["finding"], finding["probability"], worst[finding["finding"]]) for finding in FINDINGS
    ]
    assert [finding["name"] for finding in job["present"]] == ["Cardiomegaly", "Effusion"]
    assert [result["kind"] for result in job["results"]] == ["sc", "sc", "seg", "pm", "sr"]
    effusion = job["results"][1]
    assert (effusion["probability"], effusion["grade"]) == (0.61, "amber")
    (reason,) = effusion["reasons"]
    assert effusion["trust"]["sentence"].startswith("Use with caution: changing the highlighted area")
    assert reason == f"Grad-CAM: {effusion['trust']['sentence']}"
    to_pacs = {delivery["state"]: delivery for result in job["results"] for delivery in result["deliveries"][:1]}
    assert to_pacs["committed"]["status"] == 0xB000
    assert "coercion" in to_pacs["committed"]["status_text"]
    assert to_pacs["waiting"]["status"] == 0xA700
    assert to_pacs["failed"]["error"]["advice"]


def test_a_failed_job_shows_its_error_and_advice(scene: Scene, client: TestClient) -> None:
    job = get(client, f"jobs/{scene.jobs['failed']}")
    assert job["error"]["code"] == "PackageError"
    assert "found no such folder" in job["error"]["message"]
    assert job["error"]["advice"]
    assert job["actions"] == ["retry"]


def test_a_running_job_shows_its_progress(scene: Scene, client: TestClient) -> None:
    job = get(client, f"jobs/{scene.jobs['running']}")
    assert (job["progress"], job["progress_text"], job["worker"]) == (0.45, "grad-cam 6 of 14", "worker-1")


def test_retry_and_cancel_act_on_the_catalog_and_are_events_of_the_actor(scene: Scene, client: TestClient) -> None:
    failed, queued = scene.jobs["failed"], scene.jobs["queued"]
    assert client.post(f"/api/v1/jobs/{failed}/retry").json() == {"id": failed, "state": "queued"}
    assert client.post(f"/api/v1/jobs/{queued}/cancel").json() == {"id": queued, "state": "cancelled"}
    with scene.catalog.read() as session:
        assert jobs.get(session, failed).state is JobState.QUEUED
        assert jobs.get(session, queued).state is JobState.CANCELLED
        (event,) = events.recent(session, job=queued)
    assert (event.kind, event.actor) == ("admin.cancel", "local")


def test_a_delivery_can_be_sent_again_and_cancelled(scene: Scene, client: TestClient) -> None:
    (failed,) = get(client, "deliveries", state="failed")["items"]
    assert client.post(f"/api/v1/deliveries/{failed['id']}/retry").json()["state"] == "queued"
    waiting = get(client, "deliveries", state="waiting", destination="research")["items"][0]
    assert client.post(f"/api/v1/deliveries/{waiting['id']}/cancel").json()["state"] == "cancelled"
    with scene.catalog.read() as session:
        assert deliveries.get(session, failed["id"]).state is DeliveryState.QUEUED
    assert get(client, f"deliveries/{failed['id']}")["attempt"] == 0


def test_a_bulk_action_moves_all_that_match_and_nothing_else(scene: Scene, client: TestClient) -> None:
    wanted = {"of": "deliveries", "action": "retry", "state": "waiting", "destination": "research"}
    tried = client.post("/api/v1/bulk", json=wanted | {"dry_run": True})
    assert tried.json() == {"matched": 2, "moved": 0, "refused": 0}
    assert client.post("/api/v1/bulk", json=wanted).json() == {"matched": 2, "moved": 2, "refused": 0}
    assert get(client, "deliveries", state="waiting")["total"] == 1  # the one to pacs is left alone
    assert get(client, "events", kind="admin.bulk-retry")["items"][0]["message"].startswith("retry of 2 deliveries")


def test_a_bulk_action_of_one_route_leaves_the_other_routes_alone(scene: Scene, client: TestClient) -> None:
    wanted = {"of": "jobs", "action": "retry", "state": "failed", "route": "chest radiographs"}
    assert client.post("/api/v1/bulk", json=wanted).json()["matched"] == 0
    assert client.post("/api/v1/bulk", json=wanted | {"route": "head CT"}).json()["moved"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "jobs/none", None, 404, "NotFound"),
        ("GET", "studies/1.2.3", None, 404, "NotFound"),
        ("GET", "results/1.2.3", None, 404, "NotFound"),
        ("GET", "deliveries/none", None, 404, "NotFound"),
        ("GET", "packages/none/1.0.0", None, 404, "NotFound"),
        ("POST", "destinations/none/echo", None, 404, "NotFound"),
        ("GET", "nothing", None, 404, "HttpError"),
        ("GET", "jobs?state=lost", None, 422, "InvalidRequest"),
        ("GET", "jobs?limit=0", None, 422, "InvalidRequest"),
        ("POST", "bulk", {"of": "jobs", "action": "retry", "state": "running"}, 409, "TransitionError"),
        ("POST", "bulk", {"of": "jobs", "action": "retry", "state": "sending"}, 409, "TransitionError"),
        ("POST", "bulk", {"of": "jobs", "action": "delete", "state": "failed"}, 422, "InvalidRequest"),
        ("POST", "bulk", {"of": "jobs", "action": "retry"}, 422, "InvalidRequest"),
    ],
)
def test_a_refusal_is_a_problem_with_code_message_and_advice(
    client: TestClient, method: str, path: str, body: object, status: int, code: str
) -> None:
    response = client.request(method, f"/api/v1/{path}", json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == code
    assert response.json()["message"]
    assert response.json()["advice"]


def test_an_action_that_the_state_does_not_allow_is_a_conflict(scene: Scene, client: TestClient) -> None:
    response = client.post(f"/api/v1/jobs/{scene.jobs['running']}/retry")
    assert (response.status_code, response.json()["message"]) == (409, "a job that is running cannot retry")


def test_a_picture_comes_whole_reduced_and_not_twice(scene: Scene, client: TestClient) -> None:
    result = get(client, "results", pictured=True)["items"][-1]
    whole = client.get(result["picture"])
    assert whole.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(whole.content)).size == (800, 500)
    small = client.get(result["picture"], params={"width": 160})
    assert Image.open(io.BytesIO(small.content)).size == (160, 100)
    again = client.get(result["picture"], headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    without = get(client, "results", pictured=False)["items"][0]
    assert without["picture"] is None
    assert client.get(f"/api/v1/results/{without['sop_instance_uid']}/picture").status_code == 404


def test_a_picture_is_reduced_from_the_small_one_that_is_kept_beside_it(scene: Scene, client: TestClient) -> None:
    result = get(client, "results", pictured=True)["items"][-1]
    kept = io.BytesIO()
    Image.new("RGB", (480, 300), "red").save(kept, "PNG")
    with scene.catalog.begin() as session:
        row = session.query(ResultRow).filter_by(sop_instance_uid=result["sop_instance_uid"]).one()
        row.preview_key = scene.storage.put(kept.getvalue(), suffix=".png").key
    shown = client.get(result["picture"], params={"width": 480})
    assert shown.content == kept.getvalue()
    smaller = Image.open(io.BytesIO(client.get(result["picture"], params={"width": 160}).content))
    assert (smaller.size, smaller.getpixel((80, 50))) == ((160, 100), (255, 0, 0))
    larger = Image.open(io.BytesIO(client.get(result["picture"], params={"width": 640}).content))
    assert larger.size == (640, 400), "of the picture itself"


def test_pages_are_turned_from_row_to_row_there_and_back(scene: Scene, client: TestClient) -> None:
    for path, filters in (
        ("studies", {}),
        ("studies", {"sort": "received"}),
        ("jobs", {}),
        ("jobs", {"package": "cxr-findings", "sort": "created"}),
        ("jobs", {"state": ["done", "failed", "queued", "running"]}),
        ("deliveries", {"state": ["sent", "committed", "waiting", "queued", "failed"]}),
        ("results", {"superseded": True}),
        ("results", {"grade": "amber"}),
        ("events", {"severity": ["info", "warning", "error"]}),
    ):
        whole = get(client, path, limit=500, **filters)
        assert (whole["next"], whole["previous"]) == (None, None)
        page = get(client, path, limit=3, **filters)
        there, back = [page], []
        while page["next"]:
            page = get(client, path, limit=3, after=page["next"], **filters)
            there.append(page)
        while page["previous"]:
            page = get(client, path, limit=3, after=page["previous"], **filters)
            back.append(page)
        assert [row for page in there for row in page["items"]] == whole["items"], path
        assert [page["items"] for page in back] == [page["items"] for page in there[-2::-1]], path
        assert [page["offset"] for page in there] == [3 * number for number in range(len(there))]
        assert {page["total"] for page in (*there, *back)} == {len(whole["items"])}


@pytest.mark.parametrize(
    "path", ["results?kind=sc", "results?grade=amber", "events?severity=info", "events?kind=admin"]
)
def test_a_list_of_many_streams_is_the_same(client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    of_streams = get(client, path)
    monkeypatch.setattr("whyray.admin.lists._MANY", 0)
    assert get(client, path) == of_streams
    assert of_streams["total"] == len(of_streams["items"]) > 0


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NO_CURSORS = (
    "",
    "x",
    "ä",
    cursor("null"),
    cursor("[" * 200),
    cursor('[0, 0, "x", "y"]'),
    cursor("[0, 0, 1]"),
    cursor('[0, 0, "0001-01-01T00:00:00+14:00", "x"]'),
    cursor('[0, 0, "2026-01-01T00:00:00+00:00", "\\ud800"]'),
    cursor('[0, 1e999, "2026-01-01T00:00:00+00:00", "x"]'),
)


@pytest.mark.parametrize("after", NO_CURSORS)
def test_a_cursor_of_no_list_is_refused(client: TestClient, after: str) -> None:
    response = client.get("/api/v1/jobs", params={"after": after})
    assert (response.status_code, response.json()["code"]) == (422, "InvalidRequest")


def test_counting_stops_where_the_catalog_has_no_count(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    states = ["done", "failed", "working"]
    whole = get(client, "studies", state=states, limit=2)
    assert (whole["total"] > 3, whole["at_least"], len(whole["items"])) == (True, False, 2)
    monkeypatch.setattr("whyray.admin.lists._MOST_LOOKED_UP", 3)
    answer = get(client, "studies", state=states, limit=2)
    assert (answer["total"], answer["at_least"], answer["items"]) == (3, True, whole["items"])
    assert get(client, "studies", limit=2)["total"] == 10, "known without counting"


def test_a_dicom_file_is_downloaded_as_stored_and_the_download_is_an_event(scene: Scene, client: TestClient) -> None:
    result = get(client, "results", kind="sr")["items"][0]
    response = client.get(result["dicom"])
    assert response.headers["content-type"] == "application/dicom"
    assert dcmread(io.BytesIO(response.content)).SOPInstanceUID == result["sop_instance_uid"]
    event = get(client, "events", kind="admin.download")["items"][0]
    assert (event["actor"], event["study_instance_uid"]) == ("local", scene.uid("done"))


def test_results_can_be_filtered(client: TestClient) -> None:
    assert get(client, "results")["total"] == 5
    assert get(client, "results", finding="Effusion")["total"] == 1
    assert get(client, "results", grade="green", kind="sc")["total"] == 1
    assert get(client, "results", study="1.2")["total"] == 0


def test_events_can_be_filtered_by_kind_severity_and_actor(client: TestClient) -> None:
    assert {event["kind"] for event in get(client, "events", kind="admin")["items"]} == {"admin.cancel"}
    assert {event["severity"] for event in get(client, "events", severity="error")["items"]} == {"error"}
    assert get(client, "events", actor="nobody")["total"] == 0
    ids = [event["id"] for event in get(client, "events")["items"]]
    assert ids == sorted(ids, reverse=True)


def test_packages_are_listed_with_their_model_card_and_broken_ones_with_their_problem(
    scene: Scene, client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "torn" / "1.0.0").mkdir(parents=True)
    (tmp_path / "torn" / "1.0.0" / "model.yaml").write_text("name: torn\n")
    scene.config = config_of(LOCAL + f"packages: {{folders: ['{tmp_path}']}}\n", scene.folder)
    packages = {package["name"]: package for package in get(client, "packages")}
    assert "version" in packages["torn"]["problem"]
    for package in packages.values():
        shown = get(client, f"packages/{package['name']}/{package['version']}")
        companion = package["task"] in {"autoencoder", "captioner"}  # answers nothing by itself
        assert package["problem"] or (len(shown["digest"]) == 64 and shown["card"] and (shown["targets"] or companion))


def test_routes_are_shown_as_configured(client: TestClient) -> None:
    chest, head = get(client, "routes")
    assert chest["name"] == "chest radiographs"
    assert "Modality" in chest["when"]
    assert chest["send_to"] == ["pacs", "research"]
    assert head["packages"] == ["head-ct-tissue@1"]


def test_a_dropped_file_shows_which_routes_match_which_clause_refused_and_is_not_kept(
    scene: Scene, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    image = radiograph(np.zeros((64, 48), np.int16), modality="DX")
    image.Manufacturer = "ACME"
    content = write([image], tmp_path)[0].read_bytes()
    answer = client.post("/api/v1/routes/test", files={"files": ("Doe Jane.dcm", content)}).json()
    verdicts = {verdict["route"]: verdict for verdict in answer["verdicts"]}
    assert verdicts["chest radiographs"]["matches"], verdicts
    assert not verdicts["head CT"]["matches"]
    (refused,) = [clause for clause in verdicts["head CT"]["clauses"] if not clause["held"]]
    assert "Modality" in refused["clause"]
    assert refused["value"] == "DX"
    assert list(spool.rglob("*")) == []
    assert "Doe" not in str(answer)


def test_a_dropped_result_of_whyray_matches_no_route(scene: Scene, client: TestClient) -> None:
    result = get(client, "results", kind="sr")["items"][0]
    content = client.get(result["dicom"]).content
    for verdict in client.post("/api/v1/routes/test", files={"files": content}).json()["verdicts"]:
        assert not verdict["matches"]
        assert "a result of WhyRay" in verdict["clauses"][0]["value"]


def test_a_dropped_file_that_is_no_dicom_is_refused(client: TestClient) -> None:
    response = client.post("/api/v1/routes/test", files={"files": ("x.dcm", b"no DICOM")})
    assert (response.status_code, response.json()["code"]) == (422, "DecodeError")


def test_a_destination_is_asked_and_the_asking_is_an_event(scene: Scene, client: TestClient) -> None:
    peer = AE("PACS_MAIN")
    peer.add_supported_context(Verification)
    server = peer.start_server(("127.0.0.1", 0), block=False)
    try:
        port = server.socket.getsockname()[1]
        here = LOCAL.replace("host: 10.0.0.5,", f"host: 127.0.0.1, port: {port},")
        scene.config = config_of(here, scene.folder)
        answered = client.post("/api/v1/destinations/pacs/echo").json()
    finally:
        server.shutdown()
    silent = client.post("/api/v1/destinations/pacs/echo").json()
    assert answered["ok"]
    assert answered["milliseconds"] > 0
    assert not silent["ok"]
    assert silent["advice"]
    newest, before = get(client, "events", kind="admin.echo")["items"]
    assert before["message"] == "pacs answered"
    assert newest["message"].startswith("pacs did not answer:")


def test_destinations_show_their_address_and_how_they_fare(client: TestClient) -> None:
    pacs, research = get(client, "destinations")
    assert (pacs["address"], pacs["storage_commitment"]) == ("PACS_MAIN@10.0.0.5:104", True)
    assert (research["kind"], research["states"]["waiting"]) == ("dicomweb", 2)


def test_an_unchanged_answer_is_not_sent_again(scene: Scene, client: TestClient) -> None:
    first = client.get("/api/v1/jobs")
    again = client.get("/api/v1/jobs", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    client.post(f"/api/v1/jobs/{scene.jobs['failed']}/retry")
    changed = client.get("/api/v1/jobs", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


def test_the_openapi_description_tells_every_operation_with_summary_tag_and_problem(client: TestClient) -> None:
    schema = get(client, "openapi.json")
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert operation["tags"], path
            if path.startswith("/api/"):
                assert "application/problem+json" in operation["responses"]["404"]["content"], path
            if not path.endswith("z"):  # all but the probes want to know who asks
                assert {"401", "403"} <= operation["responses"].keys(), path
    reference = client.get("/api/docs")
    assert reference.status_code == 200
    assert all(path in reference.text for path in schema["paths"])


@pytest.mark.parametrize("path", ["overview", "studies", "jobs", "results", "deliveries", "events"])
def test_no_answer_names_the_patient(client: TestClient, path: str) -> None:
    text = client.get(f"/api/v1/{path}").text
    assert "SECRET-1" not in text
    assert "Doe" not in text


def test_readiness_is_lost_with_the_catalog_and_liveness_is_not(
    scene: Scene, client: TestClient, breaking: Callable[[Scene], None]
) -> None:
    assert client.get("/readyz").json() == READY
    breaking(scene)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["catalog"]) == (503, False)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("detail", "what", "status"), [("hindrance", "queue", 503), ("config_refused", "configuration", 200)]
)
def test_readiness_knows_of_a_silent_queue_and_of_a_refused_configuration(
    scene: Scene, client: TestClient, detail: str, what: str, status: int
) -> None:
    now = scene.catalog.clock()
    with scene.catalog.begin() as session:
        processes.seen(session, "worker@here/7", "worker", now, {detail: "the queue does not answer"})
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (status, READY | {what: False, "ready": status == 200})


@pytest.mark.parametrize("query", ["offset=99999999999999999999", "offset=-1", "limit=0"])
def test_a_number_that_no_database_can_count_to_is_a_malformed_request(client: TestClient, query: str) -> None:
    assert client.get(f"/api/v1/jobs?{query}").status_code == 422


def test_a_value_that_the_database_can_not_look_up_is_a_malformed_request(scene: Scene, client: TestClient) -> None:
    def as_postgresql_would(*_: object) -> None:
        raise DataError("SELECT", {}, Exception("PostgreSQL text fields cannot contain NUL (0x00) bytes"))

    event.listen(scene.catalog.engine, "before_cursor_execute", as_postgresql_would)
    try:
        answer = client.get("/api/v1/jobs?study=%00")
    finally:
        event.remove(scene.catalog.engine, "before_cursor_execute", as_postgresql_would)
    assert (answer.status_code, answer.json()["code"]) == (422, "InvalidRequest")


@pytest.fixture
def breaking() -> Callable[[Scene], None]:
    def lose_a_table(scene: Scene) -> None:
        with scene.catalog.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE studies RENAME TO lost")

    return lose_a_table


def test_a_job_tells_its_explanations_by_type_with_state_reasons_and_results(scene: Scene, client: TestClient) -> None:
    explanations = {
        (explanation["finding"], explanation["method"]): explanation
        for explanation in get(client, f"jobs/{scene.jobs['done']}")["explanations"]
    }
    shown, withheld, refused = (
        explanations["Cardiomegaly", name] for name in ("grad-cam", "region-shares", "similar-cases")
    )
    assert (shown["type"], shown["state"], shown["grade"]) == ("attribution map", "shown", "green")
    assert scene.uid("done", "result", 0) in shown["results"]
    assert shown["measurements"][0]["name"] == "deletion AUC"
    assert (withheld["type"], withheld["state"], withheld["grade"]) == ("anatomical prior", "withheld", "red")
    assert "shares add up" in withheld["reasons"][0]
    assert withheld["title"] == "Share of each structure"
    assert (shown["trust"]["level"], withheld["trust"]["level"], refused["trust"]) == ("reliable", "not_shown", None)
    assert (refused["type"], refused["state"], refused["reasons"]) == ("case-based", "refused", ["no reference index"])
    finding = next(
        finding
        for finding in get(client, f"jobs/{scene.jobs['done']}")["findings"]
        if finding["name"] == "Cardiomegaly"
    )
    assert finding["grade"] == "red"  # graded by its worst explanation, of whatever type


def test_a_job_tells_what_was_noted_of_its_images_once_with_the_images(scene: Scene, client: TestClient) -> None:
    (note,) = get(client, f"jobs/{scene.jobs['done']}")["notes"]
    assert note["kind"] == "window-replaced"
    assert "Window" in note["detail"]
    assert len(note["images"]) == 1
    assert get(client, f"jobs/{scene.jobs['queued']}")["notes"] == []


def test_a_job_of_before_notes_were_kept_is_still_told(scene: Scene, client: TestClient) -> None:
    job_id = scene.jobs["done"]
    with scene.catalog.begin() as session:
        row = jobs.get(session, job_id)
        row.findings = [{name: value for name, value in finding.items() if name != "notes"} for finding in row.findings]
    job = get(client, f"jobs/{job_id}")
    assert job["notes"] == []
    assert len(job["findings"]) == 3


def test_methods_say_what_they_say_and_what_each_package_lacks(client: TestClient) -> None:
    methods = {method["name"]: method for method in get(client, "methods")}
    assert methods["grad-cam"]["says"]
    possible = {package["package"]: package for package in methods["seg-grad-cam"]["packages"]}
    assert possible["head-ct-tissue@1.0.0"]["possible"]
    assert "multi-label" in possible["cxr-findings@1.0.0"]["why_not"]
    assert possible["cxr-findings@1.0.0"]["advice"]
    assert not any(package.startswith("cxr-autoencoder") for package in possible)
    assert not any(package.startswith("cxr-captioner") for package in possible)
    one = get(client, "methods/rise")
    assert "masks" in {parameter["name"] for parameter in one["parameters"]}
    assert one["doc"].startswith(one["says"][:20])
    assert client.get("/api/v1/methods/magic").status_code == 404
