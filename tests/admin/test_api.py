"""Every endpoint, on a catalog that the catalog's own functions filled."""

from __future__ import annotations

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

from admin.scene import LOCAL, READY, Scene, config_of
from synthetic import radiograph, write
from whyray.catalog import DeliveryState, JobState, ResultRow, deliveries, processes

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


def test_a_study_shows_its_series_conflicts_jobs_results_and_events(scene: Scene, client: TestClient) -> None:
    conflict = get(client, f"studies/{scene.uid('conflict')}")
    assert (conflict["instances"], conflict["conflicts"]) == (1, 1)
    assert conflict["detail"][0]["calling_aes"] == ["PACS_MAIN"]
    assert [event["kind"] for event in conflict["events"]] == ["instance.conflict"]
    done = get(client, f"studies/{scene.uid('done')}")
    assert [job["id"] for job in done["job_list"]] == [scene.jobs["done"]]
    assert len(done["results"]) == 5
    assert done["note"] == "chest radiographs: cxr-findings@1.0.0"


def test_what_needs_attention_is_shown_as_often_as_it_is_counted(client: TestClient) -> None:
    stuck = [
        entry for entry in get(client, "overview")["attention"] if entry["kind"].split(".")[0] in ("jobs", "deliveries")
    ]
    assert len(stuck) >= 4
    for entry in stuck:
        assert client.get(f"/api/v1/{entry['view']}").json()["total"] == entry["count"], entry["title"]


def test_a_delivery_can_be_sent_again_and_cancelled(scene: Scene, client: TestClient) -> None:
    (failed,) = get(client, "deliveries", state="failed")["items"]
    assert client.post(f"/api/v1/deliveries/{failed['id']}/retry").json()["state"] == "queued"
    waiting = get(client, "deliveries", state="waiting", destination="research")["items"][0]
    assert client.post(f"/api/v1/deliveries/{waiting['id']}/cancel").json()["state"] == "cancelled"
    with scene.catalog.read() as session:
        assert deliveries.get(session, failed["id"]).state is DeliveryState.QUEUED
    assert get(client, f"deliveries/{failed['id']}")["attempt"] == 0


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


@pytest.fixture
def breaking() -> Callable[[Scene], None]:
    def lose_a_table(scene: Scene) -> None:
        with scene.catalog.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE studies RENAME TO lost")

    return lose_a_table


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
