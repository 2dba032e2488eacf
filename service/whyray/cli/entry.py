"""The entry of `whyray`: roles that run day and night start without the command line's own libraries.

These are 6 MB and a tenth of a second; a role is started by a supervisor, systemd or a container, most often with
nothing but its configuration. Whatever else is asked for goes to the command line, which reads the same options.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from whyray.app.role_program import Role, run_jobs, run_role
from whyray.base.uncollected import uncollected

_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class PlainRole:
    """A role asked for with no more than a configuration and a level of the log."""

    name: Role
    config: Path
    level: str


def plain_role(arguments: Sequence[str]) -> PlainRole | None:
    """What the arguments after `whyray` ask for, if it is a role and nothing that the command line has to explain."""
    level, config = os.environ.get("WHYRAY_LOG_LEVEL") or "info", os.environ.get("WHYRAY_CONFIG") or "whyray.yaml"
    waiting = list(arguments)
    if len(waiting) > 2 and waiting[0] == "--log-level":
        level = waiting[1]
        del waiting[:2]
    names: dict[str, Role] = {name: name for name in get_args(Role)}
    if not waiting or waiting[0] not in names or level.lower() not in _LEVELS:
        return None
    name = names[waiting.pop(0)]
    if len(waiting) == 2 and waiting[0] in ("--config", "-c"):
        config = waiting[1]
        waiting.clear()
    return None if waiting else PlainRole(name, Path(config), level)


def main() -> None:
    """Run what the arguments of this process ask for."""
    match sys.argv[1:]:
        case ["--log-level", level, "job-process", "--config", config, connection]:  # as a worker starts it
            _run(level, lambda: run_jobs(Path(config), int(connection)))
        case arguments if (asked := plain_role(arguments)) is not None:
            _run(asked.level, lambda: run_role(asked.name, asked.config))
        case _:
            with uncollected(for_good=True):
                from whyray.cli.main import main as command_line

            command_line()


def _run(level: str, program: Callable[[], None]) -> None:
    from whyray.cli.failures import run_reporting_failures
    from whyray.cli.log_output import log_to_stderr

    log_to_stderr(level.upper())
    run_reporting_failures(program)
