"""`whyray serve` and its roles, one process each."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from whyray.app.role_program import for_its_own_user_alone, light_by_day_and_night, run_jobs, run_role
from whyray.app.stop_signals import set_by_signals
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile


def serve(
    file: Annotated[
        Path | None, typer.Argument(help="The configuration file; as --config.", show_default=False)
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Run all roles of this machine, with an embedded Redis where the configuration names none.

    Tells first where the admin page is, and a link that makes the first administrator where there is no account (in a
    file that it names, where the output is no terminal); then each role as it begins to work. Each is a process of
    its own and is started again when it ends; `whyray status` tells why it did. Stop with Ctrl-C or SIGTERM.

    Example: `whyray serve /etc/whyray/whyray.yaml`.

    Exit code 2: the configuration can't be obeyed, and none that was in force before is kept; or the role can't do
    its work, for the reason told.
    """
    for_its_own_user_alone()
    light_by_day_and_night()
    from whyray.app.context import Context
    from whyray.app.first_start import first_start_words
    from whyray.app.readiness import ROLES, admin_url, tell_when_ready
    from whyray.app.standard_output import say
    from whyray.app.supervisor import supervisor_of

    path = file or config
    # faults of the file are told once, here, not by every role
    context = Context.open(path, check_apart=True, one_machine=True)
    say(f"admin page: {admin_url(context.config())}")
    if (words := first_start_words(context)) is not None:
        say(words)
    supervisor = supervisor_of(path, context.config())
    stop = set_by_signals()
    started = context.catalog.clock()

    def tell() -> None:
        tell_when_ready(context.catalog, ROLES, started, stop, say)
        context.close()

    supervisor.start()
    threading.Thread(target=tell, name="ready", daemon=True).start()
    supervisor.watch(stop)


def intake(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Receive studies (C-STORE), decide when they are complete, and queue jobs.

    One of several roles, each for a machine of its own; `whyray serve` runs all on one.

    Example: `whyray intake --config /etc/whyray/whyray.yaml`.

    Exit code 2: the configuration can't be obeyed, and none that was in force before is kept; or the role can't do
    its work, for the reason told.
    """
    run_role("intake", config)


def worker(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Run queued jobs: model, explanation, quality, results. One process a GPU.

    Start as many as there are GPUs; all share one catalog, storage and Redis.

    Example: `whyray worker --config /etc/whyray/whyray.yaml`.

    Exit code 2: the configuration can't be obeyed, and none that was in force before is kept; or the role can't do
    its work, for the reason told.
    """
    run_role("worker", config)


def delivery(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Send results to their destinations, each at its own pace.

    A destination that is down holds up no other.

    Example: `whyray delivery --config /etc/whyray/whyray.yaml`.

    Exit code 2: the configuration can't be obeyed, and none that was in force before is kept; or the role can't do
    its work, for the reason told.
    """
    run_role("delivery", config)


def admin(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Serve the admin API and page.

    Where it listens is in the section `admin` of the configuration.

    Example: `whyray admin --config /etc/whyray/whyray.yaml`.

    Exit code 2: the configuration can't be obeyed, and none that was in force before is kept; or the role can't do
    its work, for the reason told.
    """
    run_role("admin", config)


def job_process(
    connection: Annotated[int, typer.Argument(help="The number of the file that leads to the worker.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Work on a worker's jobs: started by `whyray worker`, not by hand."""
    run_jobs(config, connection)


def receiving_process(
    messages: Annotated[int, typer.Argument(help="The number of the file that leads to the process that listens.")],
    connections: Annotated[int, typer.Argument(help="The number of the socket by which it hands connections over.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Serve associations beside the process that listens: started by `whyray intake`, not by hand."""
    for_its_own_user_alone()
    light_by_day_and_night()
    from whyray.app.receiving import run_receiving_process

    run_receiving_process(config, messages, connections)
