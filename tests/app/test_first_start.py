"""How the first administrator gets in: a link, told where nobody else reads it, while there is nobody else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from whyray.admin import create_app
from whyray.app.context import Context
from whyray.app.first_start import demo_link, first_start_words
from whyray.catalog import accounts

PASSWORD = "correct horse battery"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "whyray.yaml").write_text("state: state\n")
    return Context.open(tmp_path / "whyray.yaml")


def browser(context: Context) -> TestClient:
    app = create_app(context.catalog, context.storage, context.config)
    return TestClient(app, base_url="http://127.0.0.1:8080", follow_redirects=False)


def test_where_the_output_is_kept_the_link_is_left_in_a_file_of_the_services_user(context: Context) -> None:
    words = first_start_words(context)
    file = context.config().state / "first-administrator"
    assert words is not None
    assert "first-administrator" in words
    assert "code=" not in words
    assert file.stat().st_mode & 0o777 == 0o600
    link = file.read_text().strip()
    assert link.startswith("http://127.0.0.1:8080/welcome?code=")
    form = {"code": link.partition("code=")[2], "user": "ada", "password": PASSWORD, "again": PASSWORD}
    client = browser(context)
    assert client.get(link).status_code == 200
    assert client.post("/welcome", data=form).status_code == 303
    assert client.get("/api/v1/me").json()["name"] == "ada"
    assert first_start_words(context) is None
    assert not file.exists()


def test_on_a_terminal_the_link_is_told_and_nothing_is_left(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    words = first_start_words(context)
    assert words is not None
    link = next(word for word in words.split() if "welcome?code=" in word)
    assert browser(context).get(link).status_code == 200
    assert not (context.config().state / "first-administrator").exists()


@pytest.mark.parametrize("admin", ["{token: {file: secret}}", "{local_access: true}"])
def test_where_somebody_can_come_in_there_is_no_link(tmp_path: Path, admin: str) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef0123")
    (tmp_path / "whyray.yaml").write_text(f"state: state\nadmin: {admin}\n")
    assert first_start_words(Context.open(tmp_path / "whyray.yaml")) is None


def test_the_link_of_the_demo_logs_in(context: Context) -> None:
    client = browser(context)
    assert client.get(demo_link(context.catalog, context.config())).headers["location"] == "/"
    assert client.get("/api/v1/me").json()["kind"] == "administrator"
    with context.catalog.read() as session:
        (account,) = accounts.every(session)
    assert account.password_hash.startswith("$argon2id$")
