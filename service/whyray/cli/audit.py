"""`whyray audit`: is the trail of who saw and did what whole, and what does it say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from whyray.base.errors import NotFound
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from whyray.catalog import Catalog
    from whyray.config import Config

app = typer.Typer(no_args_is_help=True, help="Look at the audit trail: who saw and did what.")
_AT_A_TIME = 500


@app.command()
def verify(
    config: ConfigFile = DEFAULT_CONFIG,
    expect: Annotated[
        str | None, typer.Option(metavar="NUMBER:HASH", help="A record and its hash, as this command once told them.")
    ] = None,
) -> None:
    """Say whether the chain of records is whole, and where it breaks.

    A record that was changed, or taken out, breaks it. Keep the number and hash that are printed at another place: with
    `--expect` they tell of records that were taken away from the end, or of a chain that was written anew as a whole.

    Examples: `whyray audit verify`, `whyray audit verify --expect 1207:5f0c…`.
    Exit code 0: it is whole; 1: it is broken; 2: the configuration or the catalog can't be read.
    """
    from whyray.catalog import audit

    with _catalog(config) as (catalog, _), catalog.read() as session:
        chain = audit.verify(session)
        why = chain.why or (None if expect is None else _unexpected(session, expect))
    if why is not None and (chain.broken_at is not None or expect is not None):
        at = "" if chain.broken_at is None else f" at record {chain.broken_at}"
        typer.echo(f"the audit trail is broken{at}: {why}")
        raise typer.Exit(1)
    typer.echo(f"the audit trail is whole: {chain.records} records")
    if chain.records:
        typer.echo(f"the last one: {chain.records}:{chain.last_hash}")


def _unexpected(session: Session, expect: str) -> str | None:
    from whyray.catalog import AuditRecord

    number, _, wanted = expect.partition(":")
    if not number.isdecimal() or not wanted:
        raise typer.BadParameter("write NUMBER:HASH, as `whyray audit verify` tells it")
    row = session.get(AuditRecord, int(number))
    if row is None:
        return f"record {number} is gone"
    return None if row.hash == wanted else f"record {number} has another hash than it had"


@app.command()
def export(
    config: ConfigFile = DEFAULT_CONFIG,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file; the terminal where left out.")] = None,
    start: Annotated[int, typer.Option("--from", min=1, help="The first record.")] = 1,
) -> None:
    """Write the trail as DICOM audit messages (PS3.15 A.5), one XML document a line.

    They hold patient identifiers, so the file is for its owner alone.
    Examples: `whyray audit export --out audit.xml`, `whyray audit export --from 1200`.
    Exit code 0: written; 2: the configuration or the catalog can't be read, or a key is missing.
    """
    from whyray.audit import audit_message
    from whyray.catalog import audit

    with _catalog(config) as (catalog, settings), _out(out) as write:
        source, site = settings.audit.source or settings.listener.ae_title, settings.audit.site
        number = start - 1
        while True:
            with catalog.read() as session:
                rows = audit.after(session, number, _AT_A_TIME)
            for row in rows:
                write.write(audit_message(audit.event_of(row, catalog.keys), source=source, site=site) + b"\n")
            if len(rows) < _AT_A_TIME:
                return
            number = rows[-1].number


@contextmanager
def _out(file: Path | None) -> Iterator[BinaryIO]:
    if file is None:
        yield sys.stdout.buffer
        return
    with open(file, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        yield opened


@app.command()
def resend(
    start: Annotated[int, typer.Argument(metavar="NUMBER", help="The first record to be sent again.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Have the receiver sent the trail again from a record on, e.g. after it has lost what it had.

    Example: `whyray audit resend 1200`. Exit code 0: the delivery role will do so; 2: there is no receiver yet.
    """
    from whyray.catalog import audit

    with _catalog(config) as (catalog, _), catalog.begin() as session:
        if not audit.resend_from(session, max(1, start)):
            raise NotFound("nothing was sent to any receiver yet", advice="Name one under audit.syslog.")


@contextmanager
def _catalog(config: Path) -> Iterator[tuple[Catalog, Config]]:
    from whyray.app.context import sealing_keys
    from whyray.app.kept_config import config_to_ask_by
    from whyray.catalog import Catalog

    settings = config_to_ask_by(config)
    catalog = Catalog(settings.catalog_url, keys=sealing_keys(settings))
    try:
        yield catalog, settings
    finally:
        catalog.close()
