"""`whyray status`: is it alive, what is stuck, what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from whyray.base.errors import NotFound, PeerUnreachable
from whyray.base.failures import trouble_of_catalog
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy.orm import Session

    from whyray.catalog import Catalog
    from whyray.catalog.overview import Overview, RoleState
    from whyray.catalog.shortages import Disks
    from whyray.config import Config

_Told = TypeVar("_Told")


def status(
    config: ConfigFile = DEFAULT_CONFIG,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for health checks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    study: Annotated[
        str | None,
        typer.Option("--study", help="Show one study instead: its Study Instance UID, or how that begins or ends."),
    ] = None,
) -> None:
    """Show roles, what stands where, and what needs attention, as the admin page does but for drift.

    With `--study`, show one study: its state, why it waits or failed, its jobs and deliveries with their errors and
    next try, and its events. It is told by UIDs; no patient is named.

    Nothing is started or changed, and no package is loaded: fit for health checks.

    Examples: `whyray status`, `whyray status --study 1.2.840.113619.2.55.3`, `whyray status --quiet || systemctl
    restart whyray`, `whyray status --json | jq .attention`.

    Exit code 0: roles run and none is lost, or the study is here; 1: a role is lost, or none runs, or the study is not
    here; 2: the configuration or the catalog can't be read, or UID is of several studies or of none that there can be.
    """
    from rich.console import Console

    from whyray.app.kept_config import config_to_ask_by
    from whyray.catalog.overview import overview

    settings = config_to_ask_by(config)
    console = Console(highlight=False)
    if study is not None:
        _show_study(console, settings, study, as_json=as_json, quiet=quiet)
        return
    installation = _read(
        settings,
        lambda session, catalog: overview(
            session, catalog.clock(), destinations=settings.destinations, disks=_disks(settings, catalog)
        ),
    )
    if as_json:
        typer.echo(json.dumps(_as_json(installation), indent=2))
    elif not quiet:
        _print(console, installation)
    if installation is None or not installation.healthy:
        raise typer.Exit(1)


def _show_study(console: Console, settings: Config, uid: str, *, as_json: bool, quiet: bool) -> None:
    from whyray.catalog.one_study import one_study
    from whyray.cli import study_status

    told = _read(
        settings,
        lambda session, catalog: one_study(session, uid, catalog.clock(), destinations=settings.destinations),
    )
    if told is None:
        raise NotFound("there is no catalog yet", advice="Start `whyray serve`, and have the PACS send the study.")
    if as_json:
        typer.echo(json.dumps(study_status.as_json(told), indent=2))
    elif not quiet:
        study_status.print_study(console, told)
    if told.study is None:
        raise typer.Exit(1)


def _read(settings: Config, read: Callable[[Session, Catalog], _Told]) -> _Told | None:
    """What `read` gives of the catalog, which nothing is changed in; None where there is none yet."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from whyray.catalog import Catalog, is_newest

    url = make_url(settings.catalog_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return None
    catalog = Catalog(url, migrate=False)
    try:
        is_newest(catalog.engine)  # tells of a later version's; of an earlier version's, the reading fails
        with catalog.read() as session:
            return read(session, catalog)
    except SQLAlchemyError as error:
        raise trouble_of_catalog(error) or PeerUnreachable(
            f"the catalog can't be read: {type(error).__name__}",
            advice="Check that its server runs, and that `whyray serve` of this version has run once.",
        ) from error
    finally:
        catalog.close()


def _disks(config: Config, catalog: Catalog) -> Disks:
    """What storage and catalog can still take; nothing is made to find out."""
    from whyray.base.disk_space import disk_space, why_unusable
    from whyray.catalog.shortages import Disks

    folder = config.storage_folder
    if (words := why_unusable(folder / "incoming")) is not None:
        return Disks(None, catalog.disk_space(), storage_away=f"storage at {folder} {words}")
    return Disks(disk_space(folder), catalog.disk_space(), refused_below=config.listener.limits.min_free_disk)


def _as_json(installation: Overview | None) -> dict[str, Any]:
    """What a script reads; `installation` is None where there is no catalog yet."""
    if installation is None:
        return {"healthy": False, "roles": [], "tallies": [], "attention": []}
    return {
        "healthy": installation.healthy,
        "roles": [
            {
                "role": role.role,
                "name": role.name,
                "silent_for": _silent_for(role, installation.at),
                "alive": role.alive,
                "reason": None if role.error is None else f"{role.error.code}: {role.error.message}",
                "advice": None if role.error is None else role.error.advice,
                "config_refused": role.config_refused,
            }
            for role in installation.roles
        ],
        "tallies": _tallies(installation),
        "attention": [
            {
                "severity": item.severity,
                "kind": item.kind,
                "title": item.title,
                "message": item.message,
                "advice": item.advice,
                "count": item.count,
                "since": None if item.since is None else item.since.isoformat(),
            }
            for item in installation.attention
        ],
    }


def _silent_for(role: RoleState, now: datetime) -> float:
    """Seconds since its last sign of life."""
    return max(0.0, (now - role.seen_at).total_seconds())


def _tallies(installation: Overview) -> list[tuple[str, str, int]]:
    """(what, state, number)."""
    rows: list[tuple[str, str, int]] = [("studies", state, number) for state, number in installation.studies.items()]
    rows += [("jobs", state.value, number) for state, number in installation.jobs.items()]
    for worklist, standing in installation.workitems.items():
        name = f"workitems of {worklist}" if worklist else "workitems"
        rows += [(name, state.value.lower(), number) for state, number in standing.items()]
    for destination in installation.destinations:
        name = f"deliveries to {destination.destination}"
        rows += [(name, state.value, number) for state, number in destination.states.items()]
    return rows


def _state_words(role: RoleState) -> str:
    if role.alive:
        return "[red]hindered[/]" if role.error else "[green]alive[/]"
    return "[red]ended[/]" if role.error else "[red]lost[/]"


def _print(console: Console, installation: Overview | None) -> None:
    """In the words of the admin page's first view."""
    from rich.table import Table

    if installation is None or not installation.roles:
        console.print("no role runs: start `whyray serve`")
    if installation is None:
        return
    roles = Table(title="Processes")
    for name in ("role", "process", "state", "last sign of life"):
        roles.add_column(name, overflow="fold")
    for role in installation.roles:
        roles.add_row(role.role, role.name, _state_words(role), _ago(_silent_for(role, installation.at)))
    console.print(roles)
    tallies = Table(title="Work")
    for name in ("what", "state", "number"):
        tallies.add_column(name, overflow="fold")
    for what, state, number in _tallies(installation):
        tallies.add_row(what, state, str(number))
    console.print(tallies)
    console.print("Needs attention", style="bold")
    if not installation.attention:
        console.print("Nothing is stuck.")
    for item in installation.attention:
        style = "red" if item.severity == "error" else "yellow"
        began = "" if item.since is None else f" (began {_ago((installation.at - item.since).total_seconds())})"
        words = ": ".join(filter(None, (item.title + began, item.message)))
        console.print(words, style=style, markup=False, soft_wrap=True)
        console.print(f"  What to do: {item.advice}", markup=False, soft_wrap=True)


def _ago(seconds: float) -> str:
    """As the page says it (`span` in dom.js)."""
    if seconds < 5:
        return "now"
    for length, most, unit in ((1, 90, "s"), (60, 5400, "min"), (3600, 129600, "h")):
        if seconds < most:
            return f"{round(seconds / length)} {unit} ago"
    return f"{round(seconds / 86400)} d ago"
