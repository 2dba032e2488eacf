"""`whyray account`: who may come in, and as what."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyray.base.errors import ConfigError
from whyray.base.roles import SCOPES
from whyray.base.shown import shown_path
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

if TYPE_CHECKING:
    from rich.table import Table

    from whyray.catalog import Catalog
    from whyray.config import Config

app = typer.Typer(no_args_is_help=True, help="Who may log in, and which programs may: accounts and API tokens.")
tokens = typer.Typer(no_args_is_help=True, help="API tokens: what programs send as `Authorization: Bearer …`.")
app.add_typer(tokens, name="token")


class RoleName(StrEnum):
    """What somebody may do; docs/security.md has the table."""

    viewer = "viewer"
    operator = "operator"
    administrator = "administrator"
    reader = "reader"


class ScopeName(StrEnum):
    """What a program may do; docs/security.md has the table."""

    read = "read"
    steer = "steer"
    admin = "admin"
    stow = "stow"


Name = Annotated[str, typer.Argument(help="Name of the account.", show_default=False)]
AsRole = Annotated[RoleName, typer.Option("--role", "-r", help="What it may do.", show_default=False)]


@app.command()
def add(name: Name, role: AsRole, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Make an account: a name, a role, and a password of 12 characters or more, kept as an argon2id hash.

    The password is asked for twice, or read from the first line of the standard input where that is no terminal: it is
    never an argument, which others could see in the list of processes.

    Examples: `whyray account add ada --role administrator`, `whyray account add eve --role viewer < eve.password`.
    Exit code 2: there is one of that name, it can't be called so, or the password won't do.
    """
    from whyray.base.passwords import hashed
    from whyray.catalog import accounts

    with _opened(config) as (catalog, settings):
        if any(login.user.lower() == name.lower() for login in settings.admin.logins):
            raise ConfigError(
                f"the configuration has a log-in {name}", advice="Take another name, or take it out there."
            )
        kept = hashed(_password(name))
        with catalog.begin() as session:
            accounts.add(session, name, role.value, kept, catalog.clock(), actor=_actor())
    typer.echo(f"{name} can log in as {role.value}")


@app.command()
def password(name: Name, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Give an account another password; what it is logged in with ends.

    The password is asked for as in `whyray account add`. Example: `whyray account password ada`.
    Exit code 2: there is no such account, or the password won't do.
    """
    from whyray.base.passwords import hashed
    from whyray.catalog import accounts

    with _opened(config) as (catalog, _):
        kept = hashed(_password(name))
        with catalog.begin() as session:
            accounts.set_password(session, name, kept, catalog.clock(), actor=_actor())
    typer.echo(f"{name} has another password; sessions of the former one have ended")


@app.command(name="role")
def set_role(name: Name, role: AsRole, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Give an account another role, from its next request on.

    Example: `whyray account role ada --role operator`. Exit code 2: there is no such account.
    """
    from whyray.catalog import accounts

    with _opened(config) as (catalog, _), catalog.begin() as session:
        accounts.set_role(session, name, role.value, catalog.clock(), actor=_actor())
    typer.echo(f"{name} is {role.value} now")


@app.command()
def remove(name: Name, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Remove an account; what it is logged in with ends, what it did stays among the events.

    Without any account left, the next start of `whyray serve` names a link again that makes the first administrator.
    Example: `whyray account remove eve`. Exit code 2: there is no such account.
    """
    from whyray.catalog import accounts

    with _opened(config) as (catalog, _), catalog.begin() as session:
        accounts.remove(session, name, catalog.clock(), actor=_actor())
    typer.echo(f"{name} is removed")


@app.command(name="list")
def list_accounts(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show all accounts, and the log-ins of the configuration; no password can be shown.

    Example: `whyray account list`. Exit code 2: the catalog can't be read.
    """
    from whyray.catalog import accounts

    table = _table("name", "role", "made", "by", "password of", "last log-in")
    with _opened(config) as (catalog, settings), catalog.read() as session:
        for row in accounts.every(session):
            last = "never" if row.last_login_at is None else f"{row.last_login_at:%Y-%m-%d}"
            made, since = f"{row.created_at:%Y-%m-%d}", f"{row.password_at:%Y-%m-%d}"
            table.add_row(row.name, row.role, made, row.created_by, since, last)
        for login in settings.admin.logins:
            table.add_row(login.user, login.role, "–", "the configuration", "–", "–")
    _print(table, "no account: `whyray account add NAME --role administrator` makes the first")


@tokens.command(name="add")
def add_token(
    name: Annotated[str, typer.Argument(help="What it is for, in up to 16 characters.", show_default=False)],
    scope: Annotated[list[ScopeName], typer.Option("--scope", "-s", help="What it may do; may be repeated.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is good.")] = 90,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make an API token. It is shown now, on the standard output alone, and never again: only its digest is kept.

    When it ends, who comes with it is refused: a sender's STOW-RS, or what Prometheus asks. "Needs attention" (`whyray
    status`) says so from 14 days before.

    The name stands as calling AE of what it sends by STOW-RS, where `listener.dicomweb.api_tokens` lets it send.

    Example: `whyray account token add prometheus --scope read --days 365 > prometheus.token`.
    Exit code 2: one that is in force is called so, or it can't be called so.
    """
    from whyray.catalog import api_tokens

    with _opened(config) as (catalog, _), catalog.begin() as session:
        now = catalog.clock()
        ends, wanted = now + timedelta(days=days), {choice.value for choice in scope}
        scopes = [known_scope for known_scope in SCOPES if known_scope in wanted]
        row, text = api_tokens.add(session, name, scopes, ends, now, actor=_actor())
    typer.echo(f"{name}, id {row.id}, scopes {', '.join(row.scopes)}, good until {ends:%Y-%m-%d}:", err=True)
    typer.echo(text)


@tokens.command(name="list")
def list_tokens(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show all tokens that there ever were; none can be shown itself.

    Example: `whyray account token list`. Exit code 2: the catalog can't be read.
    """
    from whyray.catalog import api_tokens

    table = _table("id", "name", "scopes", "made", "by", "good until", "last used", "state")
    with _opened(config) as (catalog, _), catalog.read() as session:
        now = catalog.clock()
        for row in api_tokens.every(session):
            state = "revoked" if row.revoked_at is not None else "in force" if api_tokens.in_force(row, now) else "over"
            made, until = f"{row.created_at:%Y-%m-%d}", f"{row.expires_at:%Y-%m-%d}"
            used = "–" if row.last_used_at is None else f"{row.last_used_at:%Y-%m-%d}"
            table.add_row(row.id, row.name, ", ".join(row.scopes), made, row.created_by, until, used, state)
    _print(table, "no token: `whyray account token add NAME --scope read` makes one")


@tokens.command()
def revoke(
    which: Annotated[str, typer.Argument(help="Id or name of the token.", show_default=False)],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """End a token, at once.

    Example: `whyray account token revoke prometheus`. Exit code 2: none that is in force is called so.
    """
    from whyray.catalog import api_tokens

    with _opened(config) as (catalog, _), catalog.begin() as session:
        row = api_tokens.revoke(session, which, catalog.clock(), actor=_actor())
    typer.echo(f"the token {row.name} {row.id} is revoked")


def _password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    given = getpass.getpass(f"password of {name}: ")
    if getpass.getpass("the same again: ") != given:
        raise ConfigError("the two passwords differ", advice="Write the same twice.")
    return given


def _actor() -> str:
    """Who acts, as far as the machine knows; that is not proved."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"command line, {user}"[:64]


@contextmanager
def _opened(path: ConfigFile) -> Iterator[tuple[Catalog, Config]]:
    from sqlalchemy.engine import make_url

    from whyray.app.kept_config import config_to_ask_by
    from whyray.catalog import Catalog

    os.umask(0o077)
    settings = config_to_ask_by(path)
    url = make_url(settings.catalog_url)
    if url.get_backend_name() == "sqlite" and url.database:
        _as_its_owner(Path(url.database))
    catalog = Catalog(url)
    try:
        yield catalog, settings
    finally:
        catalog.close()


def _as_its_owner(database: Path) -> None:
    """Refuse to touch another user's catalog: what root leaves beside it, the service could not write any more."""
    if database.is_file() and database.stat().st_uid != os.geteuid():
        raise ConfigError(
            f"the catalog {shown_path(database)} belongs to another user",
            advice=f"Run it as that user: sudo -u '#{database.stat().st_uid}' whyray account …",
        )


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table, nothing: str) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if table.row_count:
        console.print(table)
    else:
        console.print(nothing, markup=False, soft_wrap=True)
