"""`whyray send`: files to an AE by C-STORE."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_TARGET = re.compile(r"(?P<ae>[^@]{1,16})@(?P<host>\[[^\]]+\]|[^:]+):(?P<port>\d{1,5})")


def send(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.", exists=True)],
    to: Annotated[str, typer.Argument(help="AE@host:port, e.g. WHYRAY@127.0.0.1:11112.")],
    calling: Annotated[str, typer.Option(help="AE title that this side calls itself.")] = "WHYRAY_SEND",
) -> None:
    """Send files by C-STORE and tell the peer's own status for each; exit code 1 if any was not taken."""
    from whyray.commands.screen import progress_bar
    from whyray.delivery import send_files
    from whyray.pipeline.files import instance_files

    match = _TARGET.fullmatch(to)
    if match is None:
        raise typer.BadParameter(f"{to!r} is not AE@host:port", param_hint="TO")
    files = instance_files(paths)
    with progress_bar() as progress:
        sent = send_files(
            files,
            ae_title=match["ae"],
            host=match["host"].strip("[]"),
            port=int(match["port"]),
            calling_ae_title=calling,
            progress=lambda done, total: progress(done / max(total, 1), f"{done} of {total} sent"),
        )
    console = Console(highlight=False)
    failed = [each for each in sent if not each.ok]
    for each in failed:
        console.print(f"{each.path}: {each.words}", markup=False, style="red")
    console.print(f"{len(sent) - len(failed)} of {len(sent)} taken by {match['ae']}", markup=False)
    if failed:
        raise typer.Exit(1)
