"""What a command says of whatever goes wrong: two lines, never a trace."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from typing import NoReturn

from whyray.base.errors import InternalError, PermanentError, WhyRayError
from whyray.base.failures import activity_of, typed_error
from whyray.base.shown import shown_path

_OF_FILES = "Check that the file or folder exists, that you may read or write it, and that the disk has room."
_OF_DEFECTS = "This is a defect in WhyRay. Run it again with `whyray --log-level debug …` and report the trace."


def run_reporting_failures(command: Callable[[], object]) -> None:
    """Run it; where it fails, tell code, message and advice, and exit with code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another character set must not end a command
    try:
        command()
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


def _tell(error: WhyRayError) -> NoReturn:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{error.code}: {error.message}", style="bold red", markup=False)
    console.print(error.advice, markup=False)
    sys.exit(2)
