"""`whyray template`: what a site may edit of the results: wording, codes, layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from whyray.base.shown import shown_path

app = typer.Typer(no_args_is_help=True, help="Templates of results: wording, coded concepts, page layout.")
Folder = Annotated[Path | None, typer.Argument(help="The site's folder; the shipped templates where left out.")]


@app.command()
def check(folder: Folder = None) -> None:
    """Tell everything that is wrong with a folder of templates, with file and line.

    Languages that no installed font can write are named, too: their pages would be in English.

    Example: `whyray template check /etc/whyray/templates`.

    Exit code 0: in order; 2: something is wrong.
    """
    from whyray.results import load_templates
    from whyray.results.page import illegible_languages

    templates = load_templates(folder)
    for language in illegible_languages(templates):
        typer.echo(f"{language}: no font of layout.yaml holds all characters of this wording; its pages are in English")
    typer.echo(f"{folder or 'the shipped templates'}: in order, version {templates.version}")


@app.command()
def preview(
    out: Annotated[Path, typer.Argument(help="Folder for the pictures, one below it for each language.")],
    folder: Folder = None,
) -> None:
    """Draw every kind of page in every language, as PNG, about an image that exists nowhere.

    Example: `whyray template preview pages/ /etc/whyray/templates`.

    Exit code 0: drawn; 2: the templates are wrong.
    """
    from PIL import Image

    from whyray.results import load_templates, previews

    number = 0
    for name, picture in previews(load_templates(folder)):
        path = out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        number += 1
    typer.echo(f"{number} pages in {shown_path(out)}")


@app.command()
def schema(
    file: Annotated[
        str | None, typer.Argument(help="A template file, e.g. layout.yaml or wording/en.yaml; all where left out.")
    ] = None,
) -> None:
    """Print the JSON Schema of a template file, for editors that complete and check while you type.

    Without a file, one object with the schema of each.

    Example: `whyray template schema layout.yaml > layout.schema.json`
    """
    from whyray.results import template_schema, template_schemas

    typer.echo(json.dumps(template_schemas() if file is None else template_schema(file), indent=2))
