"""`whyray template`: what a site may edit of the results: wording, codes, layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Templates of results: wording, coded concepts, page layout.")
Folder = Annotated[Path | None, typer.Argument(help="The site's folder; the shipped templates where left out.")]


@app.command()
def check(folder: Folder = None) -> None:
    """Tell what is wrong with a folder of templates, with file and line.

    Example: `whyray template check /etc/whyray/templates`. Exit code 0: in order; 2: something is wrong.
    """
    from whyray.results import load_templates

    templates = load_templates(folder)
    typer.echo(f"{folder or 'the shipped templates'}: in order, version {templates.version}")
