"""`whyray status`: is it alive, what is stuck, what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from whyray.base.errors import PeerUnreachable
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

if TYPE_CHECKING:
    from whyray.catalog.overview import Overview, RoleState


def status(
    config: ConfigFile = DEFAULT_CONFIG,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for health checks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show roles, jobs, deliveries and what failed, read from the catalog.

    Nothing is started or changed, and no package is loaded: fit for health checks. Examples: `whyray status`,
    `whyray status --quiet || systemctl restart whyray`, `whyray status --json | jq .failures`.
    Exit code 0: roles run and none is lost; 1: a role is lost, or none runs; 2: the configuration or the catalog can't
    be read.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from whyray.app.kept_config import config_to_ask_by
    from whyray.catalog import Catalog
    from whyray.catalog.overview import Overview, overview

    url = make_url(config_to_ask_by(config).catalog_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        found = Overview((), (), ())
    else:
        catalog = Catalog(url, migrate=False)
        try:
            found = overview(catalog)
        except SQLAlchemyError as error:
            raise PeerUnreachable(
                f"the catalog can't be read: {type(error).__name__}",
                advice="Check that its server runs, and that `whyray serve` of this version has run once.",
            ) from error
        finally:
            catalog.close()
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    elif not quiet:
        _print(Console(highlight=False), found)
    if not found.healthy:
        raise typer.Exit(1)


def _state_words(role: RoleState) -> str:
    if role.alive:
        return "[red]hindered[/]" if role.reason else "[green]alive[/]"
    return "[red]ended[/]" if role.reason else "[red]lost[/]"


def _print(console: Console, found: Overview) -> None:
    if not found.roles:
        console.print("no role runs: start `whyray serve`")
    roles = Table(title="roles")
    for name in ("role", "process", "seen", "state"):
        roles.add_column(name, overflow="fold")
    for role in found.roles:
        words = _state_words(role)
        roles.add_row(role.role, role.name, f"{role.silent_for:.0f} s ago", words)
    console.print(roles)
    for role in found.roles:
        if role.reason:
            verb = "can't work" if role.alive else "does not run"
            console.print(f"{role.name} {verb}: {role.reason}", style="red", markup=False, soft_wrap=True)
            console.print(f"  {role.advice}", markup=False, soft_wrap=True)
    for words in dict.fromkeys(role.config_refused for role in found.roles if role.config_refused):
        console.print(words, style="red", markup=False, soft_wrap=True)
    tallies = Table(title="work")
    for name in ("what", "state", "number"):
        tallies.add_column(name, overflow="fold")
    for what, state, number in found.tallies:
        tallies.add_row(what, state, str(number))
    console.print(tallies)
    for failure in found.failures:
        console.print(f"{failure.what} {failure.id}: {failure.error}", style="red", markup=False, soft_wrap=True)
        console.print(f"  {failure.advice}", markup=False, soft_wrap=True)
