"""`whyray account`: who may come in, made on the command line, and nothing said that would let anybody else in."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Cli, Said
from whyray.base.passwords import is_password
from whyray.catalog import Catalog, Event, accounts, api_tokens, sqlite_url

PASSWORD, OTHER = "correct horse battery", "another horse battery"
Typed = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "whyray.yaml").write_text("state: state\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def typed(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """The command with a line on its standard input."""

    def run(*words: str, line: str = "") -> Said:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{line}\n"))
        return cli("account", *words)

    return run


def catalog_of(folder: Path) -> Catalog:
    return Catalog(sqlite_url(folder / "state" / "catalog.sqlite"))


def test_an_account_is_made_changed_and_removed_and_no_password_is_told(folder: Path, typed: Typed) -> None:
    said = [
        typed("list"),
        typed("add", "ada", "--role", "administrator", line=PASSWORD),
        typed("password", "ada", line=OTHER),
        typed("role", "ada", "--role", "operator"),
        typed("list"),
    ]
    assert [outcome.code for outcome in said] == [0] * 5, said
    assert "whyray account add" in said[0].everything
    assert "ada │ operator" in said[4].everything
    catalog = catalog_of(folder)
    with catalog.read() as session:
        account = accounts.find(session, "ada")
        assert account is not None
        assert is_password(OTHER, account.password_hash)
        told = [(event.kind, event.message, event.actor.startswith("command line")) for event in session.query(Event)]
    assert told == [
        ("account.added", "ada, administrator", True),
        ("account.password", "ada", True),
        ("account.role", "ada: administrator, now operator", True),
    ]
    assert not any(secret in outcome.everything for outcome in said for secret in (PASSWORD, OTHER, "argon2"))
    assert typed("remove", "ada").code == 0
    with catalog.read() as session:
        assert accounts.every(session) == []
    catalog.close()
    assert (folder / "state" / "catalog.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_can_not_be_done_is_told(folder: Path, typed: Typed) -> None:
    typed("add", "ada", "--role", "viewer", line="short").refused("12 to 1000")
    typed("password", "ada", line=PASSWORD).refused("no account ada")
    typed("remove", "ada").refused("no account ada")
    typed("token", "revoke", "robot").refused("no token robot")
    assert typed("add", "ada", "--role", "root", line=PASSWORD).code == 2
    assert typed("add", "ada", PASSWORD, "--role", "viewer").code == 2  # never as an argument
    (folder / "password").write_text(PASSWORD)
    logins = "admin: {logins: [{user: ada, password: {file: password}}]}\n"
    (folder / "whyray.yaml").write_text("state: state\n" + logins)
    typed("add", "Ada", "--role", "viewer", line=PASSWORD).refused("the configuration has a log-in")
    assert "the configuration" in typed("list").everything


def test_a_token_is_shown_once_and_revoked(folder: Path, typed: Typed) -> None:
    made = typed("token", "add", "robot", "--scope", "stow", "--scope", "read", "--days", "2")
    text = made.out.strip()
    assert made.code == 0
    catalog = catalog_of(folder)
    with catalog.read() as session:
        row = api_tokens.holder(session, text, catalog.clock())
        assert row is not None
        assert row.scopes == ["read", "stow"]
    assert text not in made.err
    typed("token", "add", "robot", "--scope", "read").refused("there is a token robot already")
    listed = typed("token", "list")
    assert "in force" in listed.everything
    assert row.digest not in listed.everything
    assert typed("token", "revoke", row.id).code == 0
    with catalog.read() as session:
        assert api_tokens.holder(session, text, catalog.clock()) is None
    catalog.close()
    assert "revoked" in typed("token", "list").everything
    assert typed("token", "add", "robot", "--scope", "read").code == 0
