"""The program of one role's process: what is done around its work, whichever command started it."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from whyray.base.child_process import end_with_parent
from whyray.base.uncollected import uncollected

Role = Literal["intake", "worker", "delivery", "admin"]


def run_role(name: Role, config: Path) -> None:
    """Be this role until told to stop; why it ends by an error is entered in the catalog.

    Raises
    ------
    ConfigError
        If the configuration can't be obeyed, and none that was in force before is kept.
    """
    for_its_own_user_alone()
    if name == "worker":
        _run_worker(config)
        return
    with uncollected():
        light_by_day_and_night()
        from whyray.app import roles
        from whyray.app.ended_role import telling_why
        from whyray.app.stop_signals import set_by_signals

    with telling_why(name, config):
        runs = {"intake": roles.run_intake, "delivery": roles.run_delivery, "admin": roles.run_admin}
        runs[name](config, set_by_signals())


def _run_worker(config: Path) -> None:
    """As `run_role`. The process of its jobs starts first of all: it takes the longest, and meanwhile all else is done.

    This thread starts it, since it lives as long as the worker (see `JobProcess.start`).
    """
    from whyray.app.job_programs import job_process

    first = job_process(config)
    with suppress(OSError):  # `run_worker` tries again, where it is told what keeps it from starting
        first.start()
    try:
        with uncollected():
            light_by_day_and_night()
            from whyray.app.ended_role import telling_why
            from whyray.app.worker_role import run_worker

        with telling_why("worker", config):
            run_worker(config, first)
    finally:
        first.stop()


def run_jobs(config: Path, connection: int) -> None:
    """Be the process of a worker's jobs, at the other end of this connection, until the worker is gone."""
    # here and not between fork and exec, where Python must not run beside threads; and before all that takes time
    end_with_parent(signal.SIGKILL)
    if _is_left(connection):
        return
    from whyray.base.allocator import share_arenas

    for_its_own_user_alone()
    share_arenas()
    with uncollected():
        from whyray.base.pydicom_without_pixels import import_pydicom_to_decode

        import_pydicom_to_decode()
        from whyray.app.job_program import run_job_program

    run_job_program(config, connection)


def _is_left(connection: int) -> bool:
    """Whether nobody has the other end of a connection any more."""
    ended = select.poll()
    ended.register(connection, 0)  # its end is told unasked
    return bool(ended.poll(0))


def for_its_own_user_alone() -> None:
    """What the service writes holds patients' images and names: nobody else on this machine reads it."""
    os.umask(0o077)


def light_by_day_and_night() -> None:
    """For a process that runs for months and decodes no pixels: leave out what it never uses, keep little for later."""
    from whyray.base.allocator import stay_small
    from whyray.base.pydicom_without_pixels import import_pydicom_without_pixels

    stay_small()
    import_pydicom_without_pixels()
    # FastAPI asks of each model whether it is one of pydantic's first version, and would load all of that to say no
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # how Python itself says: not to be had
