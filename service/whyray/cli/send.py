"""`whyray send`: files to an AE by C-STORE."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whyray.base.shown import shown_path


def send(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.")],
    to: Annotated[str, typer.Argument(help="AE@host:port, e.g. WHYRAY@127.0.0.1:11112.")],
    calling: Annotated[str, typer.Option(help="AE title that this side calls itself.")] = "WHYRAY_SEND",
) -> None:
    """Send files by C-STORE, as they are, and tell the peer's own status for each that it did not take.

    Example: `whyray send study/ WHYRAY@127.0.0.1:11112`.

    Exit code 0: all were taken; 1: some were not.
    """
    from rich.console import Console

    from whyray.cli.screen import progress_bar
    from whyray.delivery import Caller, parse_peer, send_files

    peer = parse_peer(to)
    with progress_bar() as progress:
        outcomes = send_files(
            paths,
            peer,
            caller=Caller(calling),
            progress=lambda _outcome, done, total: progress(done / max(total, 1), f"{done} of {total}"),
        )
    console = Console(highlight=False, soft_wrap=True)
    refused = [outcome for outcome in outcomes if not outcome.stored]
    for outcome in refused:
        console.print(f"{shown_path(outcome.file.path)}: {outcome.words}", markup=False, style="red")
    for advice in dict.fromkeys(outcome.error.advice for outcome in refused if outcome.error is not None):
        console.print(advice, markup=False)
    console.print(f"{len(outcomes) - len(refused)} of {len(outcomes)} taken by {peer.ae_title}", markup=False)
    if refused:
        raise typer.Exit(1)
