"""`whyray demo`: the whole path on this machine, with real studies and an embedded PACS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Leave DICOM results and pictures here; a folder whyray-demo by default."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all results are back, instead of at Ctrl-C.")] = False,
    pacs: Annotated[
        str, typer.Option(help="auto (Orthanc where it is installed), orthanc, or archive (a small one of our own).")
    ] = "auto",
    port: Annotated[int, typer.Option(help="Port of the admin page; 0 takes a free one.")] = 8080,
    within: Annotated[int, typer.Option(help="Give up when results are not back after so many seconds.")] = 600,
) -> None:
    """Send real studies to a PACS, which routes them to WhyRay; watch the explanations come back into it.

    Everything runs on this machine and listens on loopback only; Ctrl-C ends it.

    Examples: `whyray demo`, `whyray demo --once --out results/`.

    Exit code 0: with --once, every expected result came back into the PACS; 1: some did not.
    """
    from whyray.demo.run import run_demo

    if pacs not in ("auto", "orthanc", "archive"):
        raise typer.BadParameter(f"{pacs} is not one of auto, orthanc, archive", param_hint="--pacs")
    raise typer.Exit(run_demo(out or Path("whyray-demo"), once=once, pacs=pacs, admin_port=port, within=within))
