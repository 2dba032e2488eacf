"""`whyray rejection`: which images notes of a PACS reject (IHE IOCM), and lifting that."""

from __future__ import annotations

from typing import Annotated

import typer

from whyray.cli.opened_catalog import acting_user, opened_catalog
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

app = typer.Typer(
    no_args_is_help=True, help="Images that a PACS has rejected (IHE IOCM): which, by which note; lift it."
)
_MOST = 1000


@app.command("list")
def list_rejections(
    study: Annotated[str | None, typer.Option(metavar="UID", help="Of this Study Instance UID alone.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Show what is rejected of which study, by which key object selection; the newest 1,000 where there are more.

    A line each: since when, how many instances, the document title (with `, lifted` where it was), the study, and the
    note's SOP Instance UID, apart by tabs.

    Examples: `whyray rejection list`, `whyray rejection list --study 1.2.3`.
    Exit code 0: shown, or there is none; 2: the configuration or the catalog can't be read.
    """
    from whyray.catalog import lifted_rejections

    with opened_catalog(config) as catalog, catalog.read() as session:
        rows = lifted_rejections.listed(session, study_uid=study, limit=_MOST)
    for row in rows:
        since = row.since.strftime("%Y-%m-%d %H:%M:%SZ")
        title = f"{row.title}, lifted" if row.is_lifted else row.title
        typer.echo(f"{since}\t{row.instances}\t{title}\t{row.study_instance_uid}\t{row.document_uid}")
    if not rows:
        typer.echo("nothing is rejected", err=True)


@app.command()
def lift(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Its Study Instance UID.", show_default=False)],
    reason: Annotated[
        str, typer.Option(help="Why, without the name of a patient: it stands in the audit trail.", show_default=False)
    ],
    note: Annotated[
        str | None, typer.Option(metavar="UID", help="Only what this note rejects: its SOP Instance UID.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Use images again that were rejected by mistake; the study is routed anew, and the reason is audited.

    No route is asked about images that were fetched for a workitem alone: order them anew.
    What the notes here said of these images is passed over from now on. A note that comes later rejects them anew.

    Example: `whyray rejection lift 1.2.3 --reason "rejected in the wrong study, PACS team, ticket 4711"`.
    Exit code 0: lifted; 2: nothing of the study is rejected, no reason is given, or the catalog can't be written.
    """
    from whyray.catalog import conflicts, lifted_rejections

    with opened_catalog(config) as catalog, catalog.begin() as session:
        lifted = lifted_rejections.lift(
            session,
            study,
            catalog.clock(),
            actor=acting_user(),
            reason=reason,
            document_uid=note,
        )
    typer.echo(f"{conflicts.instances_in_words(lifted.instances)} rejected no more: {lifted.becomes}")
