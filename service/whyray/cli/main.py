"""One command, `whyray`: from a first try on files to a service of several machines."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from typing import Annotated, NoReturn

import typer

import whyray
from whyray.base.errors import InternalError, PermanentError, WhyRayError
from whyray.base.failures import activity_of, typed_error
from whyray.base.shown import shown_path
from whyray.cli import (
    account,
    audit,
    concepts,
    config,
    demo,
    explain,
    package,
    reader_study,
    roles,
    route,
    send,
    status,
    storage,
    template,
)

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
app.command(rich_help_panel="Run")(status.status)
app.add_typer(config.app, name="config", rich_help_panel="Set up")
app.add_typer(account.app, name="account", rich_help_panel="Set up")
app.add_typer(route.app, name="route", rich_help_panel="Set up")
app.add_typer(package.app, name="package", rich_help_panel="Set up")
app.add_typer(concepts.app, name="concepts", rich_help_panel="Set up")
app.add_typer(template.app, name="template", rich_help_panel="Set up")
app.add_typer(audit.app, name="audit", rich_help_panel="Run")
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
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    if level != "DEBUG":
        # these log data sets, connections or SQL at INFO
        for noisy in ("alembic", "httpx", "kombu", "celery", "amqp", "PIL", "uvicorn"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # a level would not do: pydicom sets its own when it is imported
        for handler in logging.getLogger().handlers:
            handler.addFilter(_quotes_nothing)
        for quoting in _QUOTING:
            warnings.filterwarnings("ignore", module=quoting)


_QUOTING = ("pydicom", "pynetdicom", "highdicom")
"""What these log quotes data elements; what matters of it is told as WhyRay's own errors."""


def _quotes_nothing(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] not in _QUOTING


def main() -> None:
    """Run the command; whatever goes wrong is told in two lines, never as a trace."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another character set must not end a command
    try:
        app()
    except WhyRayError as error:
        _tell(error)
    except OSError as error:
        where = "" if error.filename is None else f" ({shown_path(error.filename)})"
        doing = f" while {words}" if (words := activity_of(error)) else ""
        _tell(PermanentError(f"{type(error).__name__}: {error.strerror}{where}{doing}", advice=_OF_FILES))
    except Exception as error:  # two lines for whatever a library raises
        typed = typed_error(error, advice=_OF_DEFECTS)
        if isinstance(typed, InternalError):
            # the exception's own text may quote a data set: it is shown only to who asks for it
            logging.getLogger("whyray").debug("the command failed", exc_info=True)
        _tell(typed)


_OF_FILES = "Check that the file or folder exists, that you may read or write it, and that the disk has room."
_OF_DEFECTS = "This is a defect in WhyRay. Run it again with `whyray --log-level debug …` and report the trace."


def _tell(error: WhyRayError) -> NoReturn:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{error.code}: {error.message}", style="bold red", markup=False)
    console.print(error.advice, markup=False)
    sys.exit(2)
