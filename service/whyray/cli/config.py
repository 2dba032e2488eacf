"""`whyray config`: check the file, print its schema, print an example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from whyray.base.shown import shown_path
from whyray.cli.options import DEFAULT_CONFIG

app = typer.Typer(no_args_is_help=True, help="The configuration file, whyray.yaml.")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The configuration file.")] = DEFAULT_CONFIG,
    secrets: Annotated[bool, typer.Option(help="Also read the secrets from environment and files.")] = True,
) -> None:
    """Tell everything that is wrong with the file, with line numbers and suggestions.

    Packages and methods that routes ask for are looked up, too. What is seldom meant, such as a listener that lets
    nobody in, is told as a warning; so is a port that intake and admin have both, which `whyray serve` refuses.

    Example: `whyray config check whyray.yaml`.

    Exit code 0: it can be obeyed; 2: something is wrong.
    """
    from whyray.app.checked_config import load_checked_config
    from whyray.config import warnings_of

    config = load_checked_config(path, read_secrets=secrets)
    for warning in warnings_of(config):
        typer.echo(f"{shown_path(path)}: warning: {warning}", err=True)
    there_are = f"{_several(len(config.routes), 'route')}, {_several(len(config.destinations), 'destination')}"
    typer.echo(f"{shown_path(path)} is in order: {there_are}")


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@app.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors that complete and check while you type.

    Example: `whyray config schema > whyray.schema.json`
    """
    from whyray.config import config_schema

    typer.echo(json.dumps(config_schema(), indent=2))


@app.command()
def example() -> None:
    """Print a commented configuration to begin with.

    Example: `whyray config example > whyray.yaml`
    """
    from whyray.config import example_config

    typer.echo(example_config(), nl=False)
