"""Who gets in, from where, and who is made responsible for what they do."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from admin.conftest import local_client
from admin.scene import CONFIG, READY, Scene, config_of
from whyray.admin import create_app, serve_admin
from whyray.base.errors import ConfigError
from whyray.catalog import Event

TOKEN = "0123456789abcdef0123"
PASSWORD = "correct horse battery"
SECURED = CONFIG + "admin: {token: {env: TOKEN}, logins: [{user: ada, password: {env: PASSWORD}}]}\n"
HTML = {"Accept": "text/html"}


@pytest.fixture
def secured(scene: Scene) -> Scene:
    scene.config = config_of(SECURED, scene.folder, TOKEN=TOKEN, PASSWORD=PASSWORD)
    return scene


@pytest.fixture
def stranger(secured: Scene) -> TestClient:
    return local_client(secured, client=("10.0.0.77", 40000), base_url="http://whyray.hospital.example")


def log_in(client: TestClient, **form: str) -> int:
    return client.post("/login", data={"user": "ada", "password": PASSWORD} | form).status_code


@pytest.mark.parametrize("address", ["10.0.0.77", "::ffff:10.0.0.77", "fe80::1", "testclient"])
def test_without_a_token_only_this_machine_is_let_in(scene: Scene, address: str) -> None:
    response = local_client(scene, client=(address, 40000)).get("/api/v1/overview")
    assert (response.status_code, response.json()["code"]) == (403, "LocalOnly")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_without_a_token_a_proxy_on_this_machine_does_not_let_strangers_in(client: TestClient, header: str) -> None:
    assert client.get("/api/v1/overview", headers={header: "10.0.0.77"}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", ""])
def test_a_name_that_was_rebound_to_this_machine_is_refused(client: TestClient, host: str) -> None:
    response = client.get("/api/v1/overview", headers={"Host": host})
    assert (response.status_code, response.json()["code"]) == (403, "HostRefused")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080"])
def test_the_names_of_this_machine_are_accepted(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/overview", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_page_of_another_site_cannot_act(scene: Scene, client: TestClient, headers: dict[str, str]) -> None:
    response = client.post(f"/api/v1/jobs/{scene.jobs['failed']}/retry", headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "CrossSiteRefused")
    assert client.get(f"/api/v1/jobs/{scene.jobs['failed']}").json()["state"] == "failed"


def test_the_own_page_can_act(scene: Scene, client: TestClient) -> None:
    headers = {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}
    assert client.post(f"/api/v1/jobs/{scene.jobs['failed']}/retry", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/api/v1/overview", "/api/v1/jobs", "/metrics", "/api/v1/openapi.json", "/api/docs", "/nothing", "/login/", "//"],
)
def test_with_a_token_nothing_is_told_to_who_has_none(stranger: TestClient, path: str) -> None:
    response = stranger.get(path)
    assert response.status_code == 401
    assert "Bearer" in response.headers["www-authenticate"]


def test_probes_need_no_token_and_tell_nothing(stranger: TestClient) -> None:
    assert stranger.get("/healthz").text == "ok\n"
    assert stranger.get("/readyz").json() == READY


def test_a_bearer_token_lets_in_and_its_name_is_audited(secured: Scene, stranger: TestClient) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    job = secured.jobs["failed"]
    assert stranger.post(f"/api/v1/jobs/{job}/retry", headers=bearer).status_code == 200
    event = stranger.get("/api/v1/events", params={"job": job}, headers=bearer).json()["items"][0]
    assert (event["kind"], event["actor"]) == ("admin.retry", "token")


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {PASSWORD}"])
def test_any_other_authorization_is_refused(stranger: TestClient, value: str) -> None:
    assert stranger.get("/api/v1/overview", headers={"Authorization": value}).status_code == 401


def test_a_browser_is_sent_to_the_log_in_form_and_back_to_where_it_was(stranger: TestClient) -> None:
    response = stranger.get("/api/docs", headers=HTML)
    assert (response.status_code, response.headers["location"]) == (303, "/login?next=/api/docs")
    form = stranger.get("/login", params={"next": "/api/docs"}, headers=HTML)
    assert "Not for diagnostic use" in form.text
    answer = stranger.post("/login", data={"user": "ada", "password": PASSWORD, "next": "/api/docs"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/api/docs")


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\t/evil.example", "/\n/evil.example"],
)
def test_logging_in_never_leads_to_another_site(stranger: TestClient, elsewhere: str) -> None:
    answer = stranger.post("/login", data={"user": "ada", "password": PASSWORD, "next": elsewhere})
    assert answer.headers["location"] == "/"


def test_a_session_is_a_strict_cookie_that_scripts_cannot_read(stranger: TestClient) -> None:
    answer = stranger.post("/login", data={"user": "ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert PASSWORD not in cookie
    assert stranger.get("/api/v1/overview").json()["actor"] == "ada"


def test_over_tls_the_cookie_is_for_tls_alone(secured: Scene) -> None:
    client = local_client(secured, base_url="https://whyray.hospital.example")
    assert "Secure" in client.post("/login", data={"password": TOKEN}).headers["set-cookie"]


def test_a_log_in_is_an_event_and_logging_out_ends_the_session(secured: Scene, stranger: TestClient) -> None:
    assert log_in(stranger) == 303
    kept = dict(stranger.cookies)
    assert stranger.get("/api/v1/events", params={"kind": "admin.login"}).json()["items"][0]["actor"] == "ada"
    assert stranger.post("/logout").status_code == 303
    assert stranger.get("/api/v1/overview", cookies=kept).status_code == 401


def test_a_body_that_no_form_has_is_refused_even_before_the_log_in(stranger: TestClient) -> None:
    answer = stranger.post("/login", content=b"1" * (2 << 20))
    assert (answer.status_code, answer.json()["code"]) == (413, "BodyTooLarge")


def test_a_session_ends_by_itself(secured: Scene, stranger: TestClient) -> None:
    log_in(stranger)
    secured.now += timedelta(hours=11)
    assert stranger.get("/api/v1/overview").status_code == 200
    secured.now += timedelta(hours=2)
    assert stranger.get("/api/v1/overview").status_code == 401


def test_who_is_taken_out_of_the_configuration_is_out_at_once(secured: Scene, stranger: TestClient) -> None:
    log_in(stranger)
    without_ada = SECURED.replace("user: ada", "user: grace")
    secured.config = config_of(without_ada, secured.folder, TOKEN=TOKEN, PASSWORD=PASSWORD)
    assert stranger.get("/api/v1/overview").status_code == 401


@pytest.mark.parametrize(
    "form", [{"password": "wrong"}, {"user": "eve"}, {"user": ""}, {"password": ""}, {"user": "token"}]
)
def test_a_wrong_log_in_opens_nothing_and_does_not_say_what_was_wrong(
    stranger: TestClient, form: dict[str, str]
) -> None:
    assert log_in(stranger, **form) in (401, 422)
    assert stranger.get("/api/v1/overview").status_code == 401


def test_guessing_is_braked_and_the_brake_lets_go(secured: Scene, stranger: TestClient) -> None:
    for _ in range(10):
        assert log_in(stranger, user="eve") == 401
    assert log_in(stranger) == 429
    other = local_client(secured, client=("10.0.0.78", 40000), base_url="http://whyray.hospital.example")
    assert log_in(other) == 303
    secured.now += timedelta(seconds=61)
    assert log_in(stranger) == 303


def test_an_account_is_braked_from_wherever_it_is_guessed_at(secured: Scene) -> None:
    app = local_client(secured).app

    def guess(number: int, user: str = "ada") -> int:
        guesser = TestClient(app, client=(f"10.0.1.{number}", 40000), base_url="http://whyray.hospital.example")
        return log_in(guesser, user=user, password="wrong")

    assert [guess(number) for number in range(12)] == [401] * 10 + [429] * 2
    assert guess(100, user="grace") == 401


def test_a_right_token_passes_beside_wrong_ones_from_the_same_address(stranger: TestClient) -> None:
    def ask(token: str) -> int:
        return stranger.get("/api/v1/overview", headers={"Authorization": f"Bearer {token}"}).status_code

    assert [ask(f"guess-{number:016}") for number in range(12)] == [401] * 10 + [429] * 2
    assert ask(TOKEN) == 200


def test_a_failed_log_in_is_an_event_that_quotes_nothing_that_was_typed(secured: Scene, stranger: TestClient) -> None:
    log_in(stranger, password="wrong")
    log_in(stranger, user="my-password-in-the-wrong-field", password="wrong")
    stranger.get("/api/v1/overview", headers={"Authorization": "Bearer guess-0123456789"})
    log_in(stranger)
    items = stranger.get("/api/v1/events", params={"kind": "admin.login-failed"}).json()["items"]
    address = "10.0.0.77"
    assert sorted(item["message"] for item in items) == [
        f"a bearer token from {address}",
        f"a password for ada from {address}",
        f"a password for no account from {address}",
    ]


def test_a_session_ends_with_the_password_that_opened_it(secured: Scene, stranger: TestClient) -> None:
    log_in(stranger)
    assert stranger.get("/api/v1/overview").status_code == 200
    secured.config = config_of(SECURED, secured.folder, TOKEN=TOKEN, PASSWORD="another horse battery")
    assert stranger.get("/api/v1/overview").status_code == 401


@pytest.mark.parametrize(("proxies", "shown"), [((), "127.0.0.1"), (("127.0.0.1",), "203.0.113.9")])
def test_a_forwarded_address_counts_only_where_the_proxy_is_configured(
    secured: Scene, proxies: tuple[str, ...], shown: str
) -> None:
    server = serve_admin(local_client(secured).app, "127.0.0.1", 0, proxies=proxies)  # type: ignore[arg-type]
    try:
        forged = {"X-Forwarded-For": "203.0.113.9", "Origin": server.url.rstrip("/")}
        answer = httpx.post(f"{server.url}login", data={"user": "ada", "password": "wrong"}, headers=forged)
        assert answer.status_code == 401
    finally:
        server.stop()
    with secured.catalog.read() as session:
        (event,) = session.query(Event).filter_by(kind="admin.login-failed").all()
    assert event.message == f"a password for ada from {shown}"


@pytest.mark.parametrize("path", ["/", "/login", "/api/v1/jobs", "/static/admin.js", "/nothing", "/api/docs"])
def test_every_response_carries_the_strict_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/login", "/api/docs"])
def test_no_page_has_anything_from_elsewhere_or_inline(secured: Scene, path: str) -> None:
    client = local_client(secured)
    log_in(client)
    page = client.get(path).text
    assert re.findall(r'(?:src|href|action)="(?!/|#)', page) == []
    assert re.findall(r"<script(?! type=\"module\" src=\"/static/)|<style|\sstyle=|\son[a-z]+=", page) == []
    assert "Not for diagnostic use" in page


@pytest.mark.parametrize("secret", ["short", "fifteen-letters"])
def test_a_token_that_can_be_guessed_is_refused_at_the_start(scene: Scene, secret: str) -> None:
    config = config_of("admin: {token: {env: TOKEN}}", scene.folder, TOKEN=secret)
    with pytest.raises(ConfigError, match="at least 16"):
        create_app(scene.catalog, scene.storage, lambda: config)


def test_without_a_token_nothing_is_served_to_the_network(scene: Scene) -> None:
    app = create_app(scene.catalog, scene.storage, lambda: scene.config)
    with pytest.raises(ConfigError, match="neither token nor logins"):
        serve_admin(app, "0.0.0.0", 0)


def test_a_port_that_is_taken_is_named(scene: Scene) -> None:
    app = create_app(scene.catalog, scene.storage, lambda: scene.config)
    first = serve_admin(app, "127.0.0.1", 0)
    try:
        with pytest.raises(ConfigError, match=f"port {first.port}"):
            serve_admin(app, "127.0.0.1", first.port)
    finally:
        first.stop()
    assert not first.alive


def test_no_secret_is_in_the_settings_representation(secured: Scene, tmp_path: Path) -> None:
    from whyray.admin.settings import settings_of

    text = repr(settings_of(secured.config))
    assert TOKEN not in text
    assert PASSWORD not in text
