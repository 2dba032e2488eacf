"""One command, `whyray`: from a first try on files to a service of several machines."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

import whyray
from whyray.cli import (
    account,
    audit,
    concepts,
    config,
    demo,
    explain,
    package,
    reader_study,
    rejection,
    roles,
    route,
    send,
    status,
    storage,
    template,
)
from whyray.cli.failures import run_reporting_failures
from whyray.cli.log_output import log_to_stderr

app = typer.Typer(
    name="whyray",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Answers *why*: runs ONNX models on studies that the PACS sends, explains every answer, checks the
explanation, and sends overlays and measurements back as DICOM. **Not for diagnostic use.**

First steps:

* `whyray demo`: the whole path on an embedded PACS, with real studies
* `whyray explain FILE.dcm --package cxr-findings --out out/`: one file, no PACS
* `whyray package init MODEL.onnx`, then `whyray package onboard`: an ONNX file of your own
* `whyray config example > whyray.yaml`, then `whyray config check`, then `whyray serve`
""",
)
app.command(rich_help_panel="Try")(demo.demo)
app.command(rich_help_panel="Try")(explain.explain)
app.command(rich_help_panel="Try")(send.send)
app.command(rich_help_panel="Run")(roles.serve)
app.command(rich_help_panel="Run")(roles.intake)
app.command(rich_help_panel="Run")(roles.worker)
app.command(rich_help_panel="Run")(roles.delivery)
app.command(rich_help_panel="Run")(roles.admin)
app.command("job-process", hidden=True)(roles.job_process)
app.command("receiving-process", hidden=True)(roles.receiving_process)
app.command(rich_help_panel="Run")(status.status)
app.add_typer(config.app, name="config", rich_help_panel="Set up")
app.add_typer(account.app, name="account", rich_help_panel="Set up")
app.add_typer(route.app, name="route", rich_help_panel="Set up")
app.add_typer(package.app, name="package", rich_help_panel="Set up")
app.add_typer(concepts.app, name="concepts", rich_help_panel="Set up")
app.add_typer(template.app, name="template", rich_help_panel="Set up")
app.add_typer(audit.app, name="audit", rich_help_panel="Run")
app.add_typer(rejection.app, name="rejection", rich_help_panel="Run")
app.add_typer(storage.app, name="storage", rich_help_panel="Set up")
app.add_typer(reader_study.app, name="study", rich_help_panel="Evaluate")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"whyray {whyray.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    log_level: Annotated[
        str, typer.Option(help="debug, info, warning or error. [default: info]", envvar="WHYRAY_LOG_LEVEL")
    ] = "",
    _: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    level = (log_level or "info").upper()
    if level not in logging.getLevelNamesMapping():
        raise typer.BadParameter(f"{log_level} is not one of debug, info, warning, error")
    log_to_stderr(level)


def main() -> None:
    """Run the command; whatever goes wrong is told in two lines, never as a trace."""
    run_reporting_failures(app)
