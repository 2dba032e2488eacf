"""`whyray status`: is it alive, what is stuck, what to do."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from whyray.commands.options import DEFAULT_CONFIG, ConfigFile
from whyray.pipeline.overview import Overview


def status(
    config: ConfigFile = DEFAULT_CONFIG,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for health checks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Roles, jobs, deliveries and what failed, read from the catalog.

    Exit code 0: at least one role is alive and none is lost; 1: a role is lost, or none runs.
    """
    from whyray.pipeline.house import House
    from whyray.pipeline.overview import overview

    house = House.open(config)
    try:
        found = overview(house.catalog)
    finally:
        house.close()
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    elif not quiet:
        _print(Console(highlight=False), found)
    if not found.healthy:
        raise typer.Exit(1)


def _print(console: Console, found: Overview) -> None:
    roles = Table(title="roles")
    for name in ("role", "process", "seen", "state"):
        roles.add_column(name)
    for role in found.roles:
        words = "[green]alive[/]" if role.alive else "[red]lost[/]"
        roles.add_row(role.role, role.name, f"{role.silent_for:.0f} s ago", words)
    console.print(roles)
    tallies = Table(title="work")
    for name in ("what", "state", "number"):
        tallies.add_column(name)
    for what, state, number in found.tallies:
        tallies.add_row(what, state, str(number))
    console.print(tallies)
    for each in found.failures:
        console.print(f"[red]{each.what}[/] {each.id}: {each.error}\n  {each.advice}")
