"""Accounts, tokens, and the link of the first start, over HTTP: who is in, for how long, and what is kept of it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from admin.conftest import local_client
from admin.scene import CONFIG, Scene, config_of
from whyray.base.errors import ConfigError
from whyray.base.passwords import hashed, is_password, outdated
from whyray.catalog import AuditRecord, Event, accounts, api_tokens, entry_links

PASSWORD, OTHER = "correct horse battery", "another horse battery"
HOST = {"client": ("10.0.0.77", 40000), "base_url": "http://whyray.hospital.example"}


@pytest.fixture(scope="session")
def kept() -> str:
    return hashed(PASSWORD)


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test writes a password, a hash or a token into a log, of whatever level."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not any(secret in caplog.text for secret in (PASSWORD, OTHER, "$argon2"))
    assert re.search(r"whyray_[0-9a-f]{8}_[\w-]{43}", caplog.text) is None


@pytest.fixture
def site(scene: Scene, kept: str) -> Scene:
    scene.config = config_of(CONFIG, scene.folder)
    with scene.catalog.begin() as session:
        accounts.add(session, "ada", "administrator", kept, scene.now, actor="test")
        accounts.add(session, "eve", "viewer", kept, scene.now, actor="test")
    return scene


@pytest.fixture
def client(site: Scene) -> Iterator[TestClient]:
    with local_client(site, **HOST) as client:
        yield client


def log_in(client: TestClient, user: str = "ada", password: str = PASSWORD) -> int:
    return client.post("/login", data={"user": user, "password": password}).status_code


def told(scene: Scene, kind: str) -> list[tuple[str, str]]:
    with scene.catalog.read() as session:
        return [(row.actor, row.message) for row in session.query(Event).filter(Event.kind == kind).order_by(Event.id)]


def test_a_password_is_kept_as_an_argon2id_hash_with_a_salt_of_its_own(kept: str) -> None:
    assert re.fullmatch(r"\$argon2id\$v=19\$m=65536,t=3,p=4\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", kept)
    assert hashed(PASSWORD) != kept
    assert is_password(PASSWORD, kept)
    assert not outdated(kept)
    assert not any(is_password(wrong, kept) for wrong in (PASSWORD + " ", "x" * 5000))
    assert not is_password("nobody's password", None)  # what an unknown name is compared with
    assert not is_password(PASSWORD, "no hash")


@pytest.mark.parametrize("password", ["", "eleven-char", "x" * 1001])
def test_a_password_that_is_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(ConfigError, match="12 to 1000"):
        hashed(password)


@pytest.mark.parametrize("name", ["", "a b", "token", "Local", "-ada", "x" * 65, "a\nb", "ada", "ADA", "token x 1"])
def test_no_account_is_called_like_another_or_so_that_it_could_be_taken_for_one(site: Scene, name: str) -> None:
    with site.catalog.begin() as session, pytest.raises(ConfigError):
        accounts.add(session, name, "viewer", "hash", site.now, actor="test")


def test_nobody_is_let_in_without_an_account_not_even_on_this_machine(scene: Scene) -> None:
    scene.config = config_of(CONFIG, scene.folder)
    here = local_client(scene)
    assert here.get("/api/v1/overview").status_code == 401
    assert "There is no account yet" in here.get("/login").text
    assert log_in(here) == 401
    assert log_in(here, "", "") == 422


def test_an_account_logs_in_and_is_told_who_it_is(site: Scene, client: TestClient) -> None:
    assert log_in(client, "eve") == 303
    me = client.get("/api/v1/me").json()
    assert me == {"name": "eve", "kind": "viewer", "rights": ["queue", "self"]}
    assert "eve · viewer" in client.get("/").text
    assert told(site, "admin.login") == [("eve", "by password, from 10.0.0.77")]
    with site.catalog.read() as session:
        account = accounts.find(session, "eve")
        assert account is not None
        assert account.last_login_at == site.now


@pytest.mark.parametrize("change", ["password", "removed"])
def test_a_session_ends_with_its_password_or_account(site: Scene, client: TestClient, change: str) -> None:
    log_in(client)
    assert client.get("/api/v1/jobs").status_code == 200
    with site.catalog.begin() as session:
        if change == "password":
            accounts.set_password(session, "ada", hashed(OTHER), site.now, actor="test")
        else:
            accounts.remove(session, "ada", site.now, actor="test")
    assert client.get("/api/v1/jobs").status_code == 401
    assert log_in(client) == 401
    assert log_in(client, password=OTHER) == (303 if change == "password" else 401)


def test_another_role_counts_at_the_next_request(site: Scene, client: TestClient) -> None:
    log_in(client)
    job = site.jobs["failed"]
    with site.catalog.begin() as session:
        accounts.set_role(session, "ada", "viewer", site.now, actor="test")
    refused = client.post(f"/api/v1/jobs/{job}/retry")
    assert (refused.status_code, refused.json()["code"]) == (403, "RoleRefused")
    assert client.get(f"/api/v1/jobs/{job}").json()["state"] == "failed"


def test_what_a_role_may_not_do_is_an_event_and_audited_once_a_minute(site: Scene, client: TestClient) -> None:
    with site.catalog.begin() as session:
        accounts.set_role(session, "ada", "viewer", site.now, actor="test")
    log_in(client)
    retry = f"/api/v1/jobs/{site.jobs['failed']}/retry"
    for _ in range(3):
        assert client.post(retry).status_code == 403
    ((actor, message),) = told(site, "admin.refused")
    assert actor == "ada"
    assert re.fullmatch(r"viewer asked for what needs the right [a-z, ]+, from 10\.0\.0\.\d+", message)
    with site.catalog.read() as session:
        kinds = [json.loads(row.content)["kind"] for row in session.scalars(select(AuditRecord))]
    assert kinds.count("restricted") == 1
    site.now += timedelta(minutes=1)
    assert client.post(retry).status_code == 403
    assert len(told(site, "admin.refused")) == 2


def test_an_account_is_locked_for_a_while_from_wherever_and_however_fast_it_is_guessed_at(
    site: Scene, client: TestClient
) -> None:
    def guess(number: int) -> int:
        guesser = TestClient(client.app, client=(f"10.0.1.{number}", 40000), base_url=HOST["base_url"])  # type: ignore[arg-type]
        return log_in(guesser, password="wrong")

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(guess, range(16))) == [401] * 10 + [429] * 6
    assert log_in(client) == 429
    assert log_in(client, "eve") == 303
    site.now += timedelta(seconds=61)
    assert log_in(client) == 303
    failed = told(site, "admin.login-failed")
    assert len(failed) == 10
    assert all(message.startswith("a password for ada from 10.0.1.") for _, message in failed)


def test_a_name_of_the_configuration_is_not_opened_by_the_password_of_an_account(
    site: Scene, client: TestClient
) -> None:
    logins = "admin: {logins: [{user: ada, password: {env: P}, role: reader}]}\n"
    site.config = config_of(CONFIG + logins, site.folder, P="third horse battery")
    assert log_in(client) == 401
    assert log_in(client, password="third horse battery") == 303
    assert client.get("/api/v1/me").json()["kind"] == "reader"


def test_the_link_of_the_first_start_makes_one_administrator_and_ends(scene: Scene) -> None:
    scene.config = config_of(CONFIG, scene.folder)
    client = local_client(scene, **HOST)
    with scene.catalog.begin() as session:
        old = entry_links.first_administrator(session, scene.now)
        code = entry_links.first_administrator(session, scene.now)
    form = {"code": code, "user": "ada", "password": PASSWORD, "again": PASSWORD}
    assert client.get("/welcome", params={"code": old}).status_code == 403
    assert client.get("/welcome", params={"code": "guess"}).status_code == 403
    assert "The first administrator" in client.get("/welcome", params={"code": code}).text
    for wrong in ({"again": OTHER}, {"password": "short", "again": "short"}, {"user": "token"}):
        assert client.post("/welcome", data=form | wrong).status_code == 422
    assert client.post("/welcome", data=form).status_code == 303
    assert client.get("/api/v1/me").json()["kind"] == "administrator"
    other = local_client(scene, **HOST)
    assert other.post("/welcome", data=form | {"user": "eve"}).status_code == 403
    assert other.get("/welcome", params={"code": code}).status_code == 403
    with scene.catalog.begin() as session:
        assert entry_links.first_administrator(session, scene.now) is None
        assert [account.name for account in accounts.every(session)] == ["ada"]


def test_the_link_of_the_first_start_is_good_for_a_day(scene: Scene) -> None:
    scene.config = config_of(CONFIG, scene.folder)
    client = local_client(scene, **HOST)
    with scene.catalog.begin() as session:
        code = entry_links.first_administrator(session, scene.now)
    scene.now += timedelta(hours=25)
    assert client.get("/welcome", params={"code": code}).status_code == 403


def test_the_link_of_the_demo_logs_in_as_often_as_it_is_followed(site: Scene, client: TestClient) -> None:
    with site.catalog.begin() as session:
        code = entry_links.for_account(session, "eve", site.now)
    for _ in range(2):
        client.cookies.clear()
        assert client.get("/welcome", params={"code": code}).headers["location"] == "/"
        assert client.get("/api/v1/me").json()["name"] == "eve"
    assert (
        client.post("/welcome", data={"code": code, "user": "x", "password": PASSWORD, "again": PASSWORD}).status_code
        == 403
    )


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_a_token_is_good_until_its_end_or_until_it_is_revoked_and_its_acts_name_it(
    site: Scene, client: TestClient
) -> None:
    ends = site.now + timedelta(days=2)
    with site.catalog.begin() as session:
        row, text = api_tokens.add(session, "robot", ["steer"], ends, site.now, actor="test")
        _, brief = api_tokens.add(session, "brief", ["read"], site.now + timedelta(days=1), site.now, actor="test")
        assert text not in repr([vars(row), told(site, "account.token-added")])
    job = site.jobs["failed"]
    assert client.post(f"/api/v1/jobs/{job}/retry", headers=bearer(text)).status_code == 200
    assert told(site, "admin.retry")[-1][0] == f"token robot {row.id}"
    assert client.get("/api/v1/me", headers=bearer(text)).json()["kind"] == "token: steer"
    site.now += timedelta(days=1)
    assert client.get("/api/v1/jobs", headers=bearer(brief)).status_code == 401
    assert client.get("/api/v1/jobs", headers=bearer(text)).status_code == 200
    with site.catalog.read() as session:
        used = {token.name: token.last_used_at for token in api_tokens.every(session)}
    assert used == {"robot": site.now, "brief": None}
    with site.catalog.begin() as session:
        api_tokens.revoke(session, "robot", site.now, actor="test")
    assert client.get("/api/v1/jobs", headers=bearer(text)).status_code == 401


def test_a_token_is_nothing_but_itself(site: Scene, client: TestClient) -> None:
    with site.catalog.begin() as session:
        row, text = api_tokens.add(session, "robot", ["admin"], site.now + timedelta(days=2), site.now, actor="test")
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    for other in (wrong, row.digest, row.id, f"whyray_{row.id}_", text.upper()):
        assert client.get("/api/v1/jobs", headers=bearer(other)).status_code == 401
    assert log_in(client, "robot", text) == 401  # a person's form takes no program's token
    assert client.get("/api/v1/jobs", headers=bearer(text)).status_code == 200
    listed = client.get("/api/v1/tokens", headers=bearer(text)).text
    assert row.digest not in listed
    assert text not in listed


@pytest.mark.parametrize(
    ("name", "scopes", "days"),
    [("robot", [], 1), ("robot", ["read"], 0), ("a b", ["read"], 1), ("x" * 17, ["read"], 1)],
)
def test_a_token_needs_a_name_a_scope_and_an_end(site: Scene, name: str, scopes: list[str], days: int) -> None:
    with site.catalog.begin() as session, pytest.raises(ConfigError):
        api_tokens.add(session, name, scopes, site.now + timedelta(days=days), site.now, actor="test")  # type: ignore[arg-type]


def test_logging_out_is_an_event(site: Scene, client: TestClient) -> None:
    log_in(client)
    assert client.post("/logout").status_code == 303
    assert client.get("/api/v1/me").status_code == 401
    assert told(site, "admin.logout") == [("ada", "")]
